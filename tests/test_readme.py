"""What the documents tell a reader to type is accepted, and the README's code and figures hold.

Commands of make are announced by `make -n`, those of ivr parsed by the real parser, scripts asked for their options;
a command of any other kind fails until a check for it is written here.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from documents import DOCUMENTS, ROOT, blocks, commands

from ivr.cli import STAGES, parse
from ivr.errors import EXIT_CODES

if TYPE_CHECKING:
    from ivr.artifacts import ArtifactPaths

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    (name, words)
    for name in DOCUMENTS
    for block in blocks((ROOT / name).read_text(encoding="utf-8"))
    if block.language == "sh"
    for words in commands(block)
]
# of the batch system, which is elsewhere: (command, words it takes at least)
OF_THE_SITE = {"sinfo", "scancel"}


def without_make() -> dict[str, str]:
    """The environment, less what a make around these tests hands on."""
    return {key: value for key, value in os.environ.items() if key not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}


def check_make(words: list[str]) -> None:
    if shutil.which("make") is None:
        pytest.skip("there is no make here (the image has none)")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    variables = set(re.findall(r"^([A-Z_]+) =", makefile, re.MULTILINE))
    given = {word.partition("=")[0] for word in words[1:] if "=" in word}
    assert given <= variables, f"no variable of the Makefile: {given - variables}"
    done = subprocess.run(
        ["make", "-n", *words[1:]], cwd=ROOT, env=without_make(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def check_ivr(words: list[str]) -> None:
    module, _ = parse(words[1:])
    assert module is not None or len(words) == 1


def check_container(words: list[str]) -> None:
    assert "ivr" in words, "a container runs ivr"
    check_ivr(words[words.index("ivr") :])


@cache
def help_of(script: str) -> str:
    # a script finds the modules beside it, whatever the tests themselves run under
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    command = [sys.executable, ROOT / script, "--help"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def check_python(words: list[str]) -> None:
    if words[1:3] == ["-m", "pytest"]:
        check_pytest(words[3:])
    elif words[1] == "-m":
        assert importlib.util.find_spec(words[2]) is not None
    else:
        known = help_of(words[1])
        for option in (word.partition("=")[0] for word in words[2:] if word.startswith("--")):
            assert re.search(rf"{option}\b", known), f"{words[1]} has no {option}"


def check_pytest(words: list[str]) -> None:
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    known = {marker.partition(":")[0] for marker in markers}
    for option, value in zip(words, [*words[1:], ""], strict=True):
        if option == "-m":
            assert set(re.findall(r"\w+", value)) - {"not", "and", "or"} <= known


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "make": check_make,
    "ivr": check_ivr,
    ".venv/bin/ivr": check_ivr,
    ".venv/bin/python": check_python,
    "docker": check_container,
    "apptainer": check_container,
    "srun": check_container,
    "eval": lambda words: None,  # of a script's output: that it exists is checked for every command
} | {name: lambda words: None for name in OF_THE_SITE}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words"), COMMANDS, ids=[f"{name}: {' '.join(words)}" for name, words in COMMANDS])
def test_a_command_is_accepted(name: Path, words: list[str]) -> None:
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    for path in re.findall(r"(?<![\w/.-])(?:ivr|tests|slurm)/[\w./-]+", " ".join(words)):
        assert (ROOT / path).exists(), f"{name} uses {path}, which is not there"
    assert words[0] in CHECKS, f"write a check for `{words[0]}`"
    CHECKS[words[0]](words)


def test_commands_that_cannot_work_are_found() -> None:
    for words in (["ivr", "nothing"], ["ivr", "select", "--no-such"]):
        with pytest.raises(SystemExit):
            check_ivr(words)
    with pytest.raises((AssertionError, pytest.skip.Exception)):
        check_make(["make", "no-such-target"])
    with pytest.raises((AssertionError, pytest.skip.Exception)):
        check_make(["make", "pipeline", "NO_SUCH=1"])
    with pytest.raises(AssertionError):
        check_python([".venv/bin/python", "tests/benchmarks/bench_select.py", "--no-such"])
    with pytest.raises(AssertionError):
        check_pytest(["-m", "no_such_marker"])


def test_the_readme_names_every_command_of_the_pipeline_and_the_others() -> None:
    assert {stage for stage in STAGES if f"ivr {stage}" not in README} == set()


def test_the_readme_tells_every_exit_code() -> None:
    rows = re.findall(r"^\| (\d+(?:, \d+)*) \|", README, re.MULTILINE)
    assert {int(code) for row in rows for code in row.split(", ")} == set(EXIT_CODES)


@pytest.mark.slow
def test_the_python_of_the_readme_runs(world: "ArtifactPaths", tmp_path: Path) -> None:
    from ivr.training import train

    train.run(train.Config(world.root, max_steps=1, block_size=32, batch_size=1, eval_bytes=0))
    (snippet,) = [block.code for block in blocks(README) if block.language == "python"]
    done = subprocess.run(
        [sys.executable, "-c", snippet],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"Returns an.", done.stdout, re.DOTALL), done.stdout


def number(cell: str) -> int:
    return int(cell.replace(",", ""))


def test_the_figures_of_the_worked_example_add_up() -> None:
    rows = re.findall(r"^\| `(.+)` \+ `(.+)` \| ([\d,]+) \| ([\d,]+) \| `(.+)` \| ([\d,]+) \|$", README, re.MULTILINE)
    assert len(rows) == 5
    scores = dict.fromkeys("Ġnary", 0)
    ranks = [number(rank) for _, _, rank, *_ in rows]
    assert ranks == sorted(ranks)
    for left, right, _, weight, token, score in rows:
        assert token == left + right
        scores[token] = number(weight) + scores[left] + scores[right]
        assert scores[token] == number(score)
    best, text = scores["Ġn"] + scores["array"], " ".join(README.split())
    assert f"BPE's split has {best:,}" in text
    assert f"lacks the last merge and has {best - number(rows[-1][3]):,}" in text
    assert f"with the score {best + 1:,}, one more than the best split" in text
