"""The command line: answers at once, exits as documented, and its help texts are frozen.

After a wanted change of the options: IVR_UPDATE_GOLDEN=1 pytest tests/test_cli.py
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from ivr import errors
from ivr.cli import STAGES, build_parser, main, parse
from ivr.options.declared import StageConfig, option

GOLDEN = Path(__file__).parent / "golden"
HELP_SECONDS = 0.3
HEAVY = {"torch", "transformers", "numpy", "pyarrow", "tokenizers", "matplotlib", "accelerate", "deepspeed", "numba"}
MEASURE = """
import sys
from ivr.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert end.code == 0, end.code
print(sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)
"""

every_stage = pytest.mark.parametrize("stage", list(STAGES))


def help_of(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments, "--help"], capture_output=True, text=True, check=True
    )


def cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["", *STAGES])
def test_help_answers_at_once_and_imports_nothing_heavy(stage: str) -> None:
    seconds = []
    for _ in range(3):
        start = cpu_seconds_of_children()  # other work on the machine makes the wall time say nothing
        done = help_of(*([stage] if stage else []))
        seconds.append(cpu_seconds_of_children() - start)
    assert done.stdout.startswith(f"usage: ivr {stage}".rstrip())
    imported = set(json.loads(done.stderr.splitlines()[-1].replace("'", '"')))
    assert "argparse" in imported
    assert imported & HEAVY == set()
    assert min(seconds) < HELP_SECONDS


def described(parser: argparse.ArgumentParser) -> str:
    """What a help text says, without argparse's own layout, which differs from Python to Python."""
    lines = [str(parser.description), ""]
    for group in parser._action_groups:
        shown = [action for action in group._group_actions if action.help is not argparse.SUPPRESS]
        if shown:
            lines.append(f"{group.title}:")
        for action in shown:
            if isinstance(action, argparse._SubParsersAction):
                lines += [f"  {choice.dest}: {choice.help}" for choice in action._choices_actions]
                continue
            names = ", ".join(action.option_strings) or action.dest
            metavar = action.metavar or ("|".join(map(str, action.choices)) if action.choices else "")
            values = "" if action.nargs == 0 else f" {metavar or action.dest.upper()}"
            lines.append(f"  {names}{values}")
            lines.append(f"      {parser._get_formatter()._expand_help(action)}")
    return "\n".join([*lines, "", str(parser.epilog).rstrip(), ""])


@pytest.mark.parametrize("stage", ["", *STAGES])
def test_help_texts_are_frozen(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    parser, _ = build_parser(stage)
    if stage:
        parser = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices[stage]
    golden = GOLDEN / f"{stage or 'ivr'}.txt"
    text = described(parser)
    if os.environ.get("IVR_UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert golden.is_file(), "IVR_UPDATE_GOLDEN=1 writes the golden text of a new stage"
    assert text == golden.read_text(encoding="utf-8")


@every_stage
def test_every_option_says_its_default_and_every_stage_shows_two_commands(stage: str) -> None:
    parser, module = build_parser(stage)
    child = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices[stage]
    assert module is not None
    assert child.epilog is not None and child.epilog.count(f"ivr {stage}") >= 2
    for action in child._actions:
        assert action.help, action.option_strings
        takes_a_value = action.nargs != 0 and not action.required
        if takes_a_value and action.option_strings:
            assert "default" in action.help, f"{action.option_strings[0]} does not say its default"


@pytest.mark.parametrize("command", ["status", "check", "tokens", "doctor", "completion"])
def test_force_is_refused_where_nothing_is_made(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--force"])
    assert end.value.code == 2 and "--force" in capsys.readouterr().err


@every_stage
def test_the_examples_parse(stage: str) -> None:
    import shlex

    _, module = build_parser(stage)
    assert module is not None
    examples = [line.strip() for line in module.EPILOG.splitlines() if line.strip().startswith(f"ivr {stage}")]
    for example in examples:
        parse(shlex.split(example, comments=True)[1:])


@dataclass(frozen=True)
class FakeConfig(StageConfig):
    word: str = option("a", "any word", metavar="WORD", group="words")


def fake_stage(monkeypatch: pytest.MonkeyPatch, outcome: BaseException | None = None) -> list[FakeConfig]:
    """Put a stage named `fake` on the command line; returns the configs it was run with."""
    ran: list[FakeConfig] = []

    def run(config: FakeConfig) -> None:
        ran.append(config)
        if outcome is not None:
            raise outcome

    module = SimpleNamespace(DESCRIPTION="d", EPILOG="e", Config=FakeConfig, run=run, __name__="fake_stage")
    monkeypatch.setitem(sys.modules, "fake_stage", module)  # type: ignore[arg-type]
    monkeypatch.setitem(STAGES, "fake", ("fake_stage", "a fake"))
    return ran


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (None, 0),
        (errors.ConfigError("x"), 2),
        (errors.StaleInputError("x"), 3),
        (errors.CorruptInputError("x"), 4),
        (errors.ClusterError("x"), 5),
        (errors.TryAgainError("x"), 75),
        (KeyboardInterrupt(), 130),
        (errors.DeviceError("x"), 5),
        (FileNotFoundError(2, "gone", "a.txt"), 2),
        (OSError(28, "No space left on device"), 73),
        (PermissionError(13, "Permission denied", "a.txt"), 77),
        (MemoryError(), 71),
        (BrokenPipeError(), 71),  # a worker's pipe; that of standard output never comes so far
        (ZeroDivisionError(), 70),
    ],
)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outcome: BaseException | None, code: int) -> None:
    fake_stage(monkeypatch, outcome)
    assert main(["fake", "--artifacts-dir", str(tmp_path)]) == code
    assert code in errors.EXIT_CODES and f"  {code:<5}" in build_parser()[0].format_help()


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (ValueError("not JSON"), 4),
        (FileNotFoundError(2, "gone", "a.txt"), 4),
        (MemoryError(), 71),
        (PermissionError(13, "Permission denied", "a.txt"), 77),
        (OSError(5, "Input/output error", "a.txt"), 74),
    ],
)
def test_a_file_that_the_machine_could_not_read_is_not_corrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, cause: Exception, code: int
) -> None:
    try:
        try:
            raise cause
        except Exception:
            raise errors.CorruptInputError("a.txt cannot be loaded") from None
    except errors.CorruptInputError as error:
        fake_stage(monkeypatch, error)
    assert main(["fake", "--artifacts-dir", str(tmp_path)]) == code
    said = capsys.readouterr().err
    assert "a.txt cannot be loaded" in said and ("The reason: " in said) == (code != 4)


def test_options_reach_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = fake_stage(monkeypatch)
    assert main(["fake", "--word", "b", "--artifacts-dir", "else where", "--force", "-q"]) == 0
    assert main(["fake"]) == 0
    assert ran == [FakeConfig(Path("else where"), True, "b"), FakeConfig(Path("artifacts"), False, "a")]


@pytest.mark.parametrize("arguments", [["nonsense"], ["fake", "--nonsense"], ["fake", "--wor", "b"], ["--nonsense"]])
def test_wrong_usage_is_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: Sequence[str]
) -> None:
    fake_stage(monkeypatch)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "ivr" in capsys.readouterr().err


def test_no_argument_shows_the_stages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    assert all(stage in said for stage in STAGES)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("gpt2-ivr 0.")
