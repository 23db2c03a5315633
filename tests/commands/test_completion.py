"""`ivr completion`: bash completes stages, options and values; zsh's script is whole; both come at once."""

import resource
import shutil
import subprocess
import sys

import pytest

from ivr.cli import main

SECONDS = 0.5  # of processor time on a busy machine; idle 0.25
COMPLETE = (
    'source /dev/stdin <<< "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_ivr; echo "${COMPREPLY[*]}"'
)


@pytest.fixture(scope="module")
def script() -> str:
    return subprocess.run(
        [sys.executable, "-m", "ivr", "completion", "bash"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ivr", "distill"], "distill-tokenizer"),
        (["ivr", "train", "--max-st"], "--max-steps"),
        (["ivr", "align", "--init-strategy", "pie"], "pieces"),
        (["ivr", "completion", "z"], "zsh"),
    ],
)
def test_bash_completes(script: str, words: list[str], expected: str) -> None:
    done = subprocess.run(["bash", "-c", COMPLETE, "-", script, *words], capture_output=True, text=True, check=True)
    assert expected in done.stdout.split()


def test_zsh_takes_its_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("#compdef ivr") and "--max-steps" in said
    if shutil.which("zsh"):
        subprocess.run(["zsh", "-n"], input=said, text=True, check=True)


def test_a_shell_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion"]) == 2
    assert "name the shell" in capsys.readouterr().err


def test_the_script_comes_at_once() -> None:
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "ivr", "completion", "bash"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < SECONDS
