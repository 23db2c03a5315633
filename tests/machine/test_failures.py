"""What the machine refuses: each kind its code and its mend, however a library wraps it."""

import errno
import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, models

from ivr.errors import EXIT_CODES
from ivr.machine.failures import MENDS, explain


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class DistBackendError(RuntimeError):
    """As torch names it."""


@pytest.mark.parametrize(
    ("number", "code", "mend"),
    [
        (errno.ENOSPC, 73, "make room"),
        (errno.EDQUOT, 73, "quota"),
        (errno.EACCES, 77, "readable and writable"),
        (errno.EPERM, 77, "readable and writable"),
        (errno.EROFS, 77, "mount this one writable"),
        (errno.ENOLCK, 71, "-o flock"),
        (errno.EMFILE, 71, "ulimit -n"),
        (errno.ENOMEM, 71, "more memory"),
        (errno.EAGAIN, 71, "ulimit -u"),
        (errno.EIO, 74, "dmesg"),
        (errno.ESTALE, 75, "run it again"),
        (errno.ENETUNREACH, 75, "network"),
        (errno.ENAMETOOLONG, 2, "shorter name"),
        (errno.ENOENT, 2, "check the path"),
    ],
)
def test_each_errno_has_its_code_and_its_mend(number: int, code: int, mend: str) -> None:
    failure = explain(OSError(number, os.strerror(number), "some/file"))
    assert failure is not None and failure.exit_code == code
    assert failure.sentence.startswith(f"some/file: {os.strerror(number)}: ") and mend in failure.sentence


def test_every_code_is_in_the_table_and_none_is_that_of_verify() -> None:
    codes = {code for code, _ in MENDS.values()}
    assert codes <= set(EXIT_CODES) and 1 not in codes and 0 not in codes


def test_where_the_system_names_no_file_the_directory_is_named() -> None:
    failure = explain(OSError(errno.ENOSPC, "No space left on device"), Path("runs/korean"))
    assert failure is not None and failure.sentence.startswith("runs/korean: No space left on device")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), 71),
        (np._core._exceptions._ArrayMemoryError((1 << 60,), np.dtype("float64")), 71),  # type: ignore[attr-defined]
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), 71),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), 71),
        (BrokenProcessPool("A process in the process pool was terminated abruptly"), 71),
        (RuntimeError("can't start new thread"), 71),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object", name="torch._C"), 71),
        (Exception("No space left on device (os error 28)"), 73),
        (Exception("Error while serializing: I/O error: IoError(Os { code: 28, kind: StorageFull })"), 73),
        (RuntimeError("PytorchStreamWriter failed writing file data/7: file write failed"), 73),
        (RuntimeError("unexpected pos 64 vs 0"), 73),
        (Exception("Permission denied (os error 13)"), 77),
        (ImportError("libcudart.so.13: cannot open shared object file", name="torch._C"), 2),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), 5),
        (DistBackendError("NCCL error in: ProcessGroupNCCL.cpp"), 5),
        (RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.1]:2"), 5),
    ],
)
def test_what_libraries_make_of_it(error: BaseException, code: int) -> None:
    failure = explain(error)
    assert failure is not None and failure.exit_code == code, failure


def test_the_reason_beneath_is_found_but_what_was_expected_there_is_not_taken_for_it() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "x")
        except OSError as error:
            raise ValueError("a stream could not be closed") from error
    except ValueError as error:
        failure = explain(error)
    assert failure is not None and failure.exit_code == 73
    try:
        try:
            raise FileNotFoundError(errno.ENOENT, "gone", "x")
        except FileNotFoundError:
            {}["a mistake of ours"]
    except KeyError as error:
        assert explain(error) is None


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyError("path"),
        OSError(errno.EINVAL, "Invalid argument"),
        OSError("no number"),
        ModuleNotFoundError("No module named 'ivr.nowhere'", name="ivr.nowhere"),
        AssertionError(),
        RuntimeError("code: 99999999"),
    ],
)
def test_what_is_a_fault_of_ours(error: BaseException) -> None:
    assert explain(error) is None


# as a person meets it ---------------------------------------------------------------------------------------------


def run(*arguments: object, prelude: str = "", **more: object) -> subprocess.CompletedProcess[str]:
    """`ivr ARGUMENTS` in a process of its own, some Python before it."""
    script = f"import sys\n{prelude}\nfrom ivr.__main__ import main\nsys.exit(main())"
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload,no-any-return]


def test_a_fault_of_ours_ends_with_70_and_leaves_its_traceback_in_the_run(tmp_path: Path) -> None:
    prelude = (
        "import os; os.environ['HF_TOKEN'] = 'hf_verysecret'\n"
        "import ivr.cluster.status as s\n"
        "def run(config): raise KeyError('hf_verysecret')\n"
        "s.run = run"
    )
    done = run("status", "--artifacts-dir", tmp_path, prelude=prelude)
    assert done.returncode == 70
    assert "Traceback" not in done.stderr and "fault of gpt2-ivr itself (KeyError: " in done.stderr
    (report,) = (tmp_path / "crash").iterdir()
    assert str(report) in done.stderr and "Please report it" in done.stderr
    text = report.read_text()
    assert "Traceback (most recent call last)" in text and "torch " in text and "status --artifacts-dir" in text
    assert "hf_verysecret" not in text and "<HF_TOKEN>" in text
    elsewhere = {**os.environ, "TMPDIR": str(tmp_path)}
    again = run("status", "--artifacts-dir", tmp_path / "nowhere", prelude=prelude, env=elsewhere)
    assert again.returncode == 70 and not (tmp_path / "nowhere").exists()
    (folder,) = tmp_path.glob("gpt2-ivr-crash-*")
    assert str(folder) in again.stderr and folder.stat().st_mode & 0o077 == 0


def test_even_what_is_no_exception_has_no_traceback(tmp_path: Path) -> None:
    """tokenizers' Rust panics as a BaseException."""
    prelude = (
        "class PanicException(BaseException): pass\n"
        "import ivr.cluster.status as s\n"
        "def run(config): raise PanicException('index out of bounds')\n"
        "s.run = run"
    )
    done = run("status", "--artifacts-dir", tmp_path, prelude=prelude)
    assert done.returncode == 70 and "Traceback" not in done.stderr and "PanicException" in done.stderr


def test_a_file_where_a_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for stage in ("analyze", "status", "report"):
        done = run(stage, "--artifacts-dir", tmp_path / "file")
        assert done.returncode == 2 and "that is a file" in done.stderr


def test_ctrl_c_while_the_program_is_being_loaded() -> None:
    prelude = (
        "import builtins\n"
        "real = builtins.__import__\n"
        "def late(name, *rest):\n"
        "    if name == 'argparse': raise KeyboardInterrupt\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = late"
    )
    done = run("status", prelude=prelude)
    assert (done.returncode, done.stderr) == (130, "")


def test_an_argument_that_is_no_text(tmp_path: Path) -> None:
    done = run("status", "--artifacts-dir", os.fsdecode(b"\xff\xfe"))
    assert done.returncode == 2 and "holds bytes that are no text in utf-8" in done.stderr


def test_a_text_that_the_tokenizers_library_fails_at_is_told_with_its_reason() -> None:
    """`a` takes the blanks behind it, the line end those before: the two overlap."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.add_tokens([AddedToken("a", single_word=True, rstrip=True, normalized=True)])
    tokenizer.add_tokens([AddedToken("\n", single_word=True, lstrip=True, normalized=True)])
    with pytest.raises(BaseException, match="bad split") as caught:
        tokenizer.encode("a \n b")
    failure = explain(caught.value)
    assert failure is not None and failure.exit_code == 2 and "set lstrip and rstrip" in failure.sentence
