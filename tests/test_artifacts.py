"""Artifacts are whole or absent, whatever happens to the process that writes them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ivr.artifacts import ArtifactPaths
from ivr.disk.digest import sha256_file, sha256_json
from ivr.disk.leftovers import remove_leftovers
from ivr.disk.writer import atomic_directory, atomic_file, files_below, write_json, write_text

# each program writes "new" in part, says so, and waits to be killed
WRITE_FILE = """
import sys, time
from pathlib import Path
from ivr.disk.writer import atomic_file
with atomic_file(Path(sys.argv[1])) as stream:
    stream.write("new" * 100_000)
    stream.flush()
    print("half", flush=True)
    time.sleep(60)
"""
WRITE_DIRECTORY = """
import sys, time
from pathlib import Path
from ivr.disk.writer import atomic_directory
with atomic_directory(Path(sys.argv[1])) as staging:
    (staging / "a.txt").write_text("new")
    print("half", flush=True)
    time.sleep(60)
"""
# the rename has happened, the rest has not
KILLED_AFTER_RENAME = """
import os, signal, sys
from pathlib import Path
import ivr.disk.writer as artifacts
artifacts._sync_directory = lambda path: os.kill(os.getpid(), signal.SIGKILL)
with artifacts.atomic_directory(Path(sys.argv[1])) as staging:
    (staging / "a.txt").write_text("new")
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kill_midway(program: str, target: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", program, str(target)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("old", [None, "old"])
def test_killed_while_writing_a_file(tmp_path: Path, old: str | None) -> None:
    target = tmp_path / "target.txt"
    if old:
        target.write_text(old)
    kill_midway(WRITE_FILE, target)
    assert (target.read_text() if target.exists() else None) == old
    assert len(names(tmp_path)) == 1 + bool(old), "the kill left a temporary file, else this proves nothing"
    remove_leftovers(tmp_path)
    assert names(tmp_path) == (["target.txt"] if old else [])


@pytest.mark.parametrize("old", [None, "old"])
def test_killed_while_writing_a_directory(tmp_path: Path, old: str | None) -> None:
    target = tmp_path / "target"
    if old:
        with atomic_directory(target) as staging:
            (staging / "a.txt").write_text(old)
            (staging / "b.txt").write_text(old)
    kill_midway(WRITE_DIRECTORY, target)
    assert [path.name for path in files_below(target)] == (["a.txt", "b.txt"] if old else [])
    remove_leftovers(tmp_path)
    assert names(tmp_path) == (["target"] if old else [])


def test_killed_just_after_the_exchange_of_directories(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with atomic_directory(target) as staging:
        (staging / "old.txt").write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED_AFTER_RENAME, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in files_below(target)] == ["a.txt"]
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["target"]


def test_an_exception_leaves_the_old_artifact_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "file.txt", "old")
    with atomic_directory(tmp_path / "folder") as staging:
        (staging / "a.txt").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "file.txt") as stream:
        stream.write("new")
        1 / 0
    with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "folder") as staging:
        (staging / "a.txt").write_text("new")
        1 / 0
    assert names(tmp_path) == ["file.txt", "folder"]
    assert (tmp_path / "file.txt").read_text() == (tmp_path / "folder" / "a.txt").read_text() == "old"


def test_a_directory_is_replaced_without_an_exchange_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def refuse(first: Path, second: Path) -> None:
        raise OSError(errno.EINVAL, "no exchange on this file system")

    monkeypatch.setattr("ivr.disk.writer.exchange", refuse)
    for text in ("old", "new"):
        with atomic_directory(tmp_path / "folder") as staging:
            (staging / f"{text}.txt").write_text(text)
    assert [path.name for path in files_below(tmp_path)] == ["new.txt"]
    assert names(tmp_path) == ["folder"]


def test_killed_between_two_renames_the_old_directory_comes_back(tmp_path: Path) -> None:
    aside = tmp_path / ".folder.ivr-old-123"
    aside.mkdir()
    (aside / "a.txt").write_text("old")
    remove_leftovers(tmp_path)
    assert (tmp_path / "folder" / "a.txt").read_text() == "old"


def test_only_our_leftovers_go_and_never_what_a_person_brought(tmp_path: Path) -> None:
    raw = ArtifactPaths(tmp_path).raw_corpora
    kept = [raw / ".a.txt.ivr-12", raw / "deep" / ".a.txt.ivr-12", tmp_path / ".ivr-notes", tmp_path / ".a.ivr-x"]
    kept += [tmp_path / "my" / ".a.txt.ivr-12", raw.parent / "general" / "raw" / ".a.txt.ivr-12"]
    kept += [tmp_path / ".a.txt.tmp-12", tmp_path / "models" / ".b.tmp-3"]  # as other programs name theirs
    ours = [tmp_path / ".a.txt.ivr-12", tmp_path / "corpora" / "cleaned" / ".b.txt.ivr-3"]
    for path in kept + ours:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    remove_leftovers(tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in ours)


def test_text_is_utf8_with_lf(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "é\n한\r\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\n한\r\n".encode()


def test_json_is_readable_and_its_hash_ignores_key_order(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": "é", "a": 1})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "b": "é",\n  "a": 1\n}\n'
    assert sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1}) != sha256_json({"a": 2, "b": 1})


def test_files_below_is_sorted_and_leaves_dot_files_out(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/1.txt", "a.txt", ".hidden", ".git/x", "b/.x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in files_below(tmp_path)] == ["a.txt", "b/1.txt", "b/2.txt"]
    assert files_below(tmp_path / "a.txt") == [tmp_path / "a.txt"]
    assert files_below(tmp_path / "none") == []


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert sha256_file(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
