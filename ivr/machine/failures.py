"""What the machine refused, in one sentence with its mend, and the exit code of that kind of refusal.

Libraries wrap what the system said: as an OSError, in another exception's text ("os error 28"), or as a class of their
own. `explain` looks at all of these; what it does not know is a fault of this program.
"""

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ivr.errors import DISK_FAILS, EXHAUSTED, FULL, NO_PERMISSION, TRY_AGAIN


@dataclass(frozen=True)
class Failure:
    """exit_code: one of ivr.errors.EXIT_CODES; sentence: what is wrong, where, and what to do."""

    exit_code: int
    sentence: str


USAGE, DEVICE = 2, 5
_FULL = (FULL, "make room there, or name another place with --artifacts-dir; what was finished before stands")
_QUOTA = (FULL, "your quota there is used up: make room, or name another place with --artifacts-dir")
_NO_PERMISSION = (NO_PERMISSION, "make it readable and writable for this user, or name another place")
_READ_ONLY = (NO_PERMISSION, "name another place with --artifacts-dir, or mount this one writable")
_NO_LOCKS = (
    EXHAUSTED,
    "its file system has no file locks: mount it with them (Lustre: -o flock), or use another place",
)
_CANNOT = (EXHAUSTED, "its file system cannot do that: use another place")
_MANY_FILES = (EXHAUSTED, "raise the limit of open files (`ulimit -n 4096`) and run it again")
_FEW_PROCESSES = (EXHAUSTED, "raise the limit of processes (`ulimit -u`), or take fewer --threads and --processes")
_NO_MEMORY = (EXHAUSTED, "give it more memory, or less to do at once (--threads, --batch-size)")
_DISK_FAILS = (DISK_FAILS, "the disk or its file server failed: look at `dmesg`, then run it again")
_LATER = (TRY_AGAIN, "run it again in a while")
_NETWORK = (TRY_AGAIN, "check the network and run it again")
_NAME = (USAGE, "use a shorter name for it")
_PATH = (USAGE, "check the path")

MENDS: dict[int, tuple[int, str]] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _QUOTA,
    errno.EFBIG: (FULL, "the file system or `ulimit -f` allows no larger file: name another place"),
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: _READ_ONLY,
    errno.ENOLCK: _NO_LOCKS,
    errno.ENOSYS: _CANNOT,
    errno.EOPNOTSUPP: _CANNOT,
    errno.EMFILE: _MANY_FILES,
    errno.ENFILE: _MANY_FILES,
    errno.ENOMEM: _NO_MEMORY,
    errno.EAGAIN: _FEW_PROCESSES,
    errno.EIO: _DISK_FAILS,
    errno.ENXIO: _DISK_FAILS,
    errno.EREMOTEIO: _DISK_FAILS,
    errno.ESTALE: (TRY_AGAIN, "its file server has forgotten it: run it again"),
    errno.EBUSY: _LATER,
    errno.ETXTBSY: _LATER,
    errno.EHOSTDOWN: _NETWORK,
    errno.ENETDOWN: _NETWORK,
    errno.ENETUNREACH: _NETWORK,
    errno.EHOSTUNREACH: _NETWORK,
    errno.ETIMEDOUT: _NETWORK,
    errno.ECONNREFUSED: _NETWORK,
    errno.ECONNRESET: _NETWORK,
    errno.EADDRINUSE: _LATER,
    errno.ENAMETOOLONG: _NAME,
    errno.ENOENT: _PATH,
    errno.ENOTDIR: _PATH,
    errno.EISDIR: _PATH,
    errno.EEXIST: _PATH,
    errno.ENOTEMPTY: _PATH,
    errno.ELOOP: (USAGE, "its symbolic links go in circles; name a path that leads somewhere"),
    errno.ENODEV: _PATH,
}
_MACHINE = {FULL, EXHAUSTED, DISK_FAILS, NO_PERMISSION}
# beneath another exception only these are the reason: a missing file may have been expected there
_BENEATH = {number for number, (code, _) in MENDS.items() if code in _MACHINE}
_NUMBER = re.compile(r"(?:os error |\[Errno |\bcode: )(\d+)")
_UNFINISHED_WRITE = re.compile(r"file write failed|unexpected pos \d+ vs \d+|PytorchStreamWriter failed")
_NO_MEMORY_TEXT = re.compile(
    r"out of memory|can(?:'|no)t allocate memory|std::bad_alloc|failed to map segment", re.IGNORECASE
)
_RANK_GONE = re.compile(r"gloo/|NCCL|Connection (?:closed|reset) by peer|ProcessGroup")
_DEVICE_TEXT = re.compile(r"\bCUDA error\b|\bcu(?:DNN|BLAS)\b.*\berror\b|CUBLAS_STATUS|CUDNN_STATUS")
_FEWER_BLOCKS = (EXHAUSTED, "read fewer blocks at once: a smaller --batch-size with more --gradient-accumulation")


def explain(error: BaseException, root: Path | None = None) -> Failure | None:
    """What the machine refused; None where `error` is none of that.

    root: the artifacts directory, named where the system did not say which file it was.

    >>> explain(OSError(28, "No space left on device", "a.txt"))
    Failure(exit_code=73, sentence='a.txt: No space left on device: make room there, or name another place with \
--artifacts-dir; what was finished before stands')
    """
    for depth, part in enumerate(_chain(error)):
        if found := _explain_one(part, root, beneath=depth > 0):
            return found
    return None


def explain_corrupt(error: BaseException, root: Path | None = None) -> Failure | None:
    """Where a file was called corrupt: what the machine refused while it was read, if that was the reason.

    A file that could not be read for want of memory, of permission or because the disk failed is not damaged.
    """
    cause = error.__cause__ or error.__context__
    failure = explain(cause, root) if cause is not None else None
    return failure if failure is not None and failure.exit_code in _MACHINE else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and those beneath it, ten at most."""
    seen: list[BaseException] = []
    part: BaseException | None = error
    while part is not None and len(seen) < 10 and not any(part is other for other in seen):
        seen.append(part)
        yield part
        part = part.__cause__ or (None if part.__suppress_context__ else part.__context__)


def _explain_one(error: BaseException, root: Path | None, beneath: bool) -> Failure | None:
    text = str(error)
    names = {kind.__name__ for kind in type(error).__mro__}
    where = f"{root}: " if root else ""
    first_line = text.strip().partition("\n")[0]
    if isinstance(error, MemoryError):
        return _failure(f"out of memory{f' ({first_line})' if first_line else ''}", _NO_MEMORY)
    if "OutOfMemoryError" in names or (isinstance(error, RuntimeError | ImportError) and _NO_MEMORY_TEXT.search(text)):
        device = "CUDA" in text or "OutOfMemoryError" in names
        return _failure(f"out of memory ({first_line})", _FEWER_BLOCKS if device else _NO_MEMORY)
    if "PanicException" in names and "bad split" in text:
        mend = "set lstrip and rstrip of these to false in added_tokens of its tokenizer.json"
        what = "the `tokenizers` library fails at a text in which added tokens that take blanks beside them overlap"
        return _failure(what, (USAGE, mend))
    if "BrokenProcessPool" in names or isinstance(error, BrokenPipeError):
        return _failure("a worker process was killed, which mostly is for want of memory", _NO_MEMORY)
    if isinstance(error, RuntimeError) and "can't start new thread" in text:
        return _failure("no more threads can be started", _FEW_PROCESSES)
    if isinstance(error, ImportError) and not (error.name or "").startswith("ivr"):
        return _failure(first_line, (USAGE, "the installation is not whole; `make setup` mends it"))
    if "AcceleratorError" in names or (isinstance(error, RuntimeError) and _DEVICE_TEXT.search(text)):
        return _failure(f"the GPU failed ({first_line})", (DEVICE, "look at `nvidia-smi`, then run it again"))
    if names & {"DistError", "DistBackendError", "DistNetworkError", "DistStoreError"} or (
        isinstance(error, RuntimeError) and _RANK_GONE.search(text)
    ):
        mend = (
            "set MASTER_PORT to a port that nobody listens at, or run it again"
            if "EADDRINUSE" in text
            else "the first rank that failed says why; where none did, check MASTER_ADDR and the network between nodes"
        )
        return _failure(f"the processes lost each other ({first_line})", (DEVICE, mend))
    if isinstance(error, OSError) and error.errno in MENDS and not (beneath and error.errno not in _BENEATH):
        assert error.errno is not None
        files = " -> ".join(os.fsdecode(name) for name in (error.filename, error.filename2) if _is_path(name))
        return _failure(f"{files + ': ' if files else where}{os.strerror(error.errno)}", MENDS[error.errno])
    number = _number_in(text)
    if number is not None:
        return _failure(f"{where}{first_line}", MENDS[number])
    if _UNFINISHED_WRITE.search(text):
        return _failure(f"{where}a file could not be written to its end", _FULL)
    return None


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes | os.PathLike)


def _failure(what: str, mend: tuple[int, str]) -> Failure:
    code, how = mend
    return Failure(code, f"{what}: {how}")


def _number_in(text: str) -> int | None:
    """The errno that a library wrote into its message, where it is one of the machine's refusals."""
    numbers = [int(number) for number in _NUMBER.findall(text) if len(number) < 5]
    numbers += [number for number in sorted(_BENEATH) if os.strerror(number) in text]
    return next((number for number in numbers if number in _BENEATH), None)
