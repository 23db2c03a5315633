"""One holder at a time: with file locks, without them, and where they end at the machine's edge."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ivr.errors import TryAgainError
from ivr.machine import locks
from ivr.machine.locks import Holder, directory_lock, this_process

HOLD = """
import errno, fcntl, os, sys
from pathlib import Path
from ivr.machine.locks import directory_lock
if sys.argv[2] != "with":
    def fail(*_):
        raise OSError(int(sys.argv[2]), "none here")
    fcntl.flock = fail
with directory_lock(Path(sys.argv[1]), "train"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[[object], subprocess.Popen[str]]]:
    """holder("with"), holder(ENOSYS): another process that holds tmp_path/.lock, with file locks or without."""
    started = []

    def hold(flock: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(tmp_path / ".lock"), str(flock)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def without_flock(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_file_locks_a_second_process_is_refused_and_a_dead_one_is_not_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: Callable[[object], subprocess.Popen[str]], number: int
) -> None:
    process = holder(number)
    without_flock(monkeypatch, number)
    for _ in range(2):
        with (
            pytest.raises(TryAgainError, match=rf"in use by `ivr train`, process {process.pid} on "),
            directory_lock(tmp_path / ".lock", "align"),
        ):
            pass
    process.kill()
    process.wait()
    with directory_lock(tmp_path / ".lock", "align"):
        assert json.loads((tmp_path / ".lock.held").read_text())["pid"] == os.getpid()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock"]


def test_one_with_file_locks_and_one_without_exclude_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: Callable[[object], subprocess.Popen[str]]
) -> None:
    holder("with")
    without_flock(monkeypatch, errno.ENOSYS)
    with pytest.raises(TryAgainError, match="`ivr train`"), directory_lock(tmp_path / ".lock", "align"):
        pass


def elsewhere(path: Path, **facts: str) -> Holder:
    """A record as a process of another machine left it."""
    record = replace(this_process("train"), host="n2", pid=77, boot_id="another kernel", **facts)
    path.with_name(f"{path.name}.held").write_text(json.dumps(asdict(record)))
    return record


def test_a_lock_that_ends_at_the_machines_edge_lets_no_second_node_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lustre with localflock: the flock of another node is not seen here. Its record is, while it is touched."""
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.05)
    lock = tmp_path / ".lock"
    elsewhere(lock)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.05):
            os.utime(tmp_path / ".lock.held")

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(TryAgainError, match="`ivr train`, process 77 on n2"), directory_lock(lock, "train"):
            pass
    finally:
        stop.set()
        thread.join()
    monkeypatch.setattr(locks, "SILENT_SECONDS", 0.2)
    with directory_lock(lock, "train"):  # it has fallen silent
        assert json.loads((tmp_path / ".lock.held").read_text())["pid"] == os.getpid()


def test_a_holder_that_was_silent_for_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: pytest.fail("waited"))
    elsewhere(tmp_path / ".lock")
    os.utime(tmp_path / ".lock.held", (0, 0))
    with directory_lock(tmp_path / ".lock", "train"):
        pass


def test_the_record_is_touched_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.01)
    touched = threading.Event()
    utime = os.utime

    def seen(path: Path) -> None:
        utime(path)
        touched.set()

    monkeypatch.setattr(locks.os, "utime", seen)
    with directory_lock(tmp_path / ".lock", "train"):
        assert touched.wait(30)


def test_a_process_of_a_reused_number_is_not_the_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_flock(monkeypatch, errno.ENOSYS)
    me = this_process("train")
    record = tmp_path / ".lock.held"
    record.write_text(json.dumps(asdict(replace(me, started="1"))))
    with directory_lock(tmp_path / ".lock", "align"):
        pass
    record.write_text(json.dumps(asdict(me)))  # our own number, started when we were: that is us, alive
    with pytest.raises(TryAgainError), directory_lock(tmp_path / ".lock", "align"):
        pass


@pytest.mark.parametrize("flock", [True, False])
def test_what_is_shared_is_held_by_many_and_keeps_one_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flock: bool
) -> None:
    if not flock:
        without_flock(monkeypatch, errno.ENOLCK)
    lock = tmp_path / ".lock"
    with (
        directory_lock(lock, "analyze", shared=True),
        directory_lock(lock, "analyze", shared=True),
        pytest.raises(TryAgainError, match="`ivr analyze`"),
        directory_lock(lock, "init"),
    ):
        pass
    with (
        directory_lock(lock, "init"),
        pytest.raises(TryAgainError, match="`ivr init`"),
        directory_lock(lock, "analyze", shared=True),
    ):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock"]


@pytest.mark.slow
@pytest.mark.parametrize("content", ["", "[]", "{", '{"what": 1}'])
def test_a_record_that_was_cut_short_is_not_in_the_way_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(locks, "SILENT_SECONDS", 0.1)
    (tmp_path / ".lock.held").write_text(content)
    with directory_lock(tmp_path / ".lock", "init"):
        pass


def test_a_full_disk_leaves_no_empty_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(locks.os, "write", full)
    with pytest.raises(OSError, match="No space"), directory_lock(tmp_path / ".lock", "init"):
        pass
    assert not (tmp_path / ".lock.held").exists()


def test_many_at_once_only_ever_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_flock(monkeypatch, errno.ENOSYS)
    inside, most, done = 0, 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most, done
        for _ in range(5):
            with directory_lock(tmp_path / ".lock", "submit", patience=60):
                with guard:
                    inside += 1
                    most = max(most, inside)
                with guard:
                    inside, done = inside - 1, done + 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, done) == (1, 20)
