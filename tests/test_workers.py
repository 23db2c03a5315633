"""Worker processes end with their parent, even when that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from ivr.workers import end_with_parent

def pid(_):
    time.sleep(0.05)
    return os.getpid()

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with ProcessPoolExecutor(2, context, end_with_parent) as pool:
        found = set()
        while len(found) < 2:
            found |= set(pool.map(pid, range(8)))
        print(*found, flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_a_killed_parent(method: str, number: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script), method], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 2
    parent.send_signal(number)
    parent.wait()
    until = time.monotonic() + 30
    while (alive := [worker for worker in workers if _is_alive(worker)]) and time.monotonic() < until:
        time.sleep(0.05)
    for worker in alive:
        os.kill(worker, signal.SIGKILL)
    assert not alive


def _is_alive(pid: int) -> bool:
    """A zombie that nobody waits for is not."""
    try:
        with Path(f"/proc/{pid}/stat").open(encoding="ascii") as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
