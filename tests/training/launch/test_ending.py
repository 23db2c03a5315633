"""The end of a process that was in a process group."""

import subprocess
import sys

import pytest

PROCESS = """
import atexit, sys
from ivr.training.launch import ending

class Late:
    def __del__(self):
        print("teardown")

ending.arm(), ending.arm()
atexit.register(print, "other handlers run")
sys.modules["late"] = Late()  # freed by the interpreter's teardown alone
{}
"""


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("ending.was_in_a_group(); ending.ends_with(75); sys.exit(75)", 75, "other handlers run\n"),
        ("ending.was_in_a_group(); ending.ends_with(0)", 0, "other handlers run\n"),
        ("ending.was_in_a_group(); ending.ends_with(0); raise OSError", 70, "other handlers run\n"),
        ("ending.ends_with(75); sys.exit(75)", 75, "other handlers run\nteardown\n"),
        ("ending.was_in_a_group(); sys.exit(3)", 3, "other handlers run\nteardown\n"),
    ],
)
def test_it_keeps_its_code_and_is_not_torn_down(what: str, code: int, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROCESS.format(what)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, said), done.stderr


def test_every_way_in_tells_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from ivr import __main__, cli
    from ivr.training.launch import ending

    monkeypatch.setattr(cli, "main", lambda: 75)
    monkeypatch.setattr(ending._Process, "code", None)
    assert __main__.main() == 75 and ending._Process.code == 75
