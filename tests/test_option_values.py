"""Every option of every stage, taken from the parsers: a value that nobody can mean ends with 2 and one sentence.

What is refused is refused before any work and before a directory is made; a new option is tried by itself.
"""

import argparse
import os
import re
from pathlib import Path
from unittest.mock import patch

import pytest

from ivr.cli import STAGES, build_parser, main
from ivr.options import number, path, whole_number, worker_count

NUMBERS = ("", "x", "nan", "inf", "-inf", "-1", "-9", "9" * 30, "9" * 400, "1_0", "１", "0x10")
WORDS = {
    "whole number": (*NUMBERS, "1e3", "1.5"),
    "number": (*NUMBERS, "1e400", "--1"),
    "choice": ("nonsense", "", "ALL"),
    "path": ("", "/", "/dev/null", "/dev/full", "PIPE", "LOOP", "FILE/below", "x" * 300, "~nobody-has-this-name/x"),
}
FREE_TEXT = {  # what each means is the stage's own business, and tested there
    "--model-name", "--revision", "--text-key", "--encoding", "--superword-boundaries", "--exclude", "--device",
    "--model", "--text", "--leave-out", "--after", "--attach",
}  # fmt: skip


def kind_of(action: argparse.Action) -> str:
    if action.choices:
        return "choice"
    if action.type in (whole_number, worker_count) or getattr(action.type, "__name__", "") == "_swaps":
        return "whole number"
    return {number: "number", path: "path"}.get(action.type, "")  # type: ignore[call-overload, no-any-return]


def options_of(stage: str) -> list[argparse.Action]:
    parser = build_parser(stage)[0]
    child = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices[stage]
    return [action for action in child._actions if action.option_strings and action.nargs != 0]


CASES = [
    pytest.param(stage, action, id=f"{stage}{action.option_strings[0]}")
    for stage in STAGES
    for action in options_of(stage)
]


@pytest.mark.parametrize(("stage", "action"), CASES)
def test_a_value_that_nobody_can_mean_ends_with_2_and_a_sentence(
    stage: str,
    action: argparse.Action,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    option, kind = action.option_strings[0], kind_of(action)
    if not kind:
        assert option in FREE_TEXT, f"{option} has no reader that refuses anything: see ivr.options.harden"
        return
    (tmp_path / "odd").mkdir()
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "odd" / "PIPE")
    (tmp_path / "odd" / "LOOP").symlink_to("LOOP")
    (tmp_path / "odd" / "FILE").write_text("x")
    monkeypatch.chdir(tmp_path / "empty")
    for value in WORDS[kind]:
        named = value if value[:4] not in ("PIPE", "LOOP", "FILE") else f"{tmp_path}/odd/{value}"
        with patch("sys.argv", ["ivr"]):
            try:
                code: object = main([stage, f"{option}={named}"])
            except SystemExit as end:
                code = end.code
        said = capsys.readouterr().err
        last = said.rstrip().splitlines()[-1]
        assert code == 2, (value, said)
        assert option in last and "Traceback" not in said and len(last) < 400, (value, last)
        assert re.search(r"invalid \w+ value", last) is None, last  # argparse's words for a reader's name
        assert list(Path().iterdir()) == [], value


def test_home_is_meant_by_a_tilde_and_a_name_that_is_not_there_yet_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path("~/run") == tmp_path / "run"
    assert path("./~") == Path("./~") and path("new\nline") == Path("new\nline")
    assert path(str(tmp_path)) == tmp_path


def test_numbers_at_their_limits_are_taken() -> None:
    assert [whole_number("0"), whole_number(str(2**53)), worker_count("1024")] == [0, 2**53, 1024]
    assert [number("0"), number("-0.0"), number("1e-320"), number(str(2**53))] == [0, 0, 1e-320, 2**53]
    for reader, value in ((whole_number, 2**53 + 1), (worker_count, 1025)):
        with pytest.raises(argparse.ArgumentTypeError):
            reader(str(value))
