"""Every option of every stage, taken from the parsers: a value that nobody can mean ends with 2 and one sentence.

What is refused is refused before any work and before a directory is made; a new option is tried by itself.
"""

import math
import os
import re
from pathlib import Path
from unittest.mock import patch

import pytest

from ivr.cli import STAGES, build_parser, main
from ivr.errors import ConfigError
from ivr.options.config_file import read_config_file
from ivr.options.declared import CommandConfig, Option, fault, in_words, own_options
from ivr.options.declared import options_of as all_options
from ivr.options.values import read_value

NUMBERS = ("", "x", "nan", "inf", "-inf", "-1", "-9", "9" * 30, "9" * 400, "1_0", "１", "0x10")
WORDS = {
    "whole number": (*NUMBERS, "1e3", "1.5"),
    "number": (*NUMBERS, "1e400", "--1"),
    "choice": ("nonsense", "", "ALL"),
    "path": ("", "/", "/dev/null", "/dev/full", "PIPE", "LOOP", "FILE/below", "x" * 300, "~nobody-has-this-name/x"),
}
FREE_TEXT = {  # what each means is the stage's own business, and tested there
    "--model-name", "--revision", "--text-key", "--encoding", "--superword-boundaries", "--exclude", "--device",
    "--model", "--text", "--leave-out", "--after", "--attach", "--compare",
}  # fmt: skip


def options_of(stage: str) -> list[Option]:
    module = build_parser(stage)[1]
    assert module is not None
    items = [*own_options(module.Config), *all_options(CommandConfig)]
    return [item for item in items if item.kind is not bool]


def kind_of(item: Option) -> str:
    if item.facts.get("choices"):
        return "choice"
    if item.name == "swaps":
        return "whole number"
    return {int: "whole number", float: "number", Path: "path"}.get(item.kind, "")


CASES = [pytest.param(stage, item, id=f"{stage}{item.flag}") for stage in STAGES for item in options_of(stage)]


@pytest.mark.parametrize(("stage", "item"), CASES)
def test_a_value_that_nobody_can_mean_ends_with_2_and_a_sentence(
    stage: str,
    item: Option,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    option, kind = item.flag, kind_of(item)
    if not kind:
        assert option in FREE_TEXT, f"{option} has a type that refuses nothing: see ivr.options.values"
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
    assert read_value(Path, "~/run") == tmp_path / "run"
    assert read_value(Path, "./~") == Path("./~")
    item = Option("output", Path, False, None, "", {})
    assert fault(item, Path("new\nline")) == fault(item, tmp_path) == ""


@pytest.mark.parametrize(
    ("stage", "item"), [case for case in CASES if kind_of(case.values[1]) in ("whole number", "number")]
)
def test_every_number_has_two_ends_and_is_taken_up_to_them(stage: str, item: Option) -> None:
    bounds = item.facts.get("bounds", "")
    assert bounds, f"{item.flag} of {stage}: declare bounds, which a slip of some zeros oversteps"
    low, high = (float(end) for end in bounds[1:-1].split(","))
    assert 0 <= low < high < math.inf
    kind = int if item.kind is not float else float
    assert fault(item, kind(high)) == ("" if bounds[-1] == "]" else fault(item, math.nan))
    assert fault(item, kind(low)) == ("" if bounds[0] == "[" else fault(item, math.nan))
    for beyond in (-1, kind(high + max(1.0, high / 1000)), 10**400):
        assert fault(item, beyond) == f"must be {in_words(bounds)}", beyond


def test_a_file_of_options_is_held_to_the_same(tmp_path: Path) -> None:
    module = build_parser("train")[1]
    assert module is not None
    path = tmp_path / "run.toml"
    for text in ("threads = 5000", "seed = -1", "lr = nan", 'cleaned-corpora-dir = ""', 'deepspeed = "/dev/null"'):
        path.write_text(f"[train]\n{text}\n")
        with pytest.raises(ConfigError, match=text.partition(" ")[0]):
            read_config_file(path, {"train": module.Config})
