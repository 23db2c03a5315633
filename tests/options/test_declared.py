"""Options declared once: what follows from a field of a config, on the command line and when a config is made."""

import argparse
import importlib
import shlex
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from ivr.cli import STAGES
from ivr.errors import ConfigError
from ivr.evaluation import evaluate
from ivr.options.declared import DECLARED, StageConfig, fault, option, options_of, own_options
from ivr.options.parser import add_options, command_line
from ivr.stage import config_identity
from ivr.training import options as training


@dataclass(frozen=True)
class Config(StageConfig):
    swaps: int | None = option(None, "ids (default: all)", group="how much", bounds="[1, 16]", either="amount")
    share: float | None = option(None, "of 100 % of the ids (default: none)", either="amount", bounds="[0, 1)")
    kind: str = option("a", "which", group="what", choices=("a", "b"))
    texts: tuple[Path, ...] = option((), "to read (default: none)", metavar="PATH")
    resume: bool = option(True, "go on (default: --resume)", identity=False)
    dry: bool = option(False, "only say what would be done")
    loud: bool = option(True, "say nothing (default: say it)", flag="--hush", identity=False)
    note: str = ""  # a field that is no option


def parsed(line: str) -> dict[str, object]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_options(parser, own_options(Config))
    return vars(parser.parse_args(shlex.split(line)))


def test_what_is_not_given_is_not_there() -> None:
    assert parsed("") == {}
    assert parsed("--swaps 3 --texts a b --no-resume --hush --dry") == {
        "swaps": 3, "texts": [Path("a"), Path("b")], "resume": False, "loud": False, "dry": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--swaps many", "--swaps: 'many': a whole number is needed"),
        ("--share 0,5", "--share: '0,5': a number is needed"),
        ("--kind c", "--kind: invalid choice: 'c'"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_the_parser(line: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentError) as caught:
        parsed(line)
    assert said in str(caught.value)


def test_of_options_that_exclude_each_other_one_is_given() -> None:
    with pytest.raises(argparse.ArgumentError, match="not allowed with argument --swaps"):
        parsed("--swaps 3 --share 0.5")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"swaps": 0}, "--swaps 0: must be a number from 1 to 16"),
        ({"share": 1.0}, "--share 1.0: must be a number at least 0 and below 1"),
        ({"share": float("nan")}, "--share nan: must be"),
        ({"kind": "c"}, "--kind c: must be one of a, b"),
    ],
)
def test_no_config_is_made_with_an_impossible_value(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Config(**given)  # type: ignore[arg-type]


def test_headings_last_until_the_next_and_defaults_are_said() -> None:
    headings = {item.name: item.facts["group"] for item in own_options(Config)}
    assert headings["share"] == "how much" and headings["texts"] == headings["loud"] == "what"
    parser = argparse.ArgumentParser()
    add_options(parser, own_options(Config))
    shown = parser.format_help()
    assert "which (default: a)" in shown and "of 100 % of the ids (default: none)" in shown


def test_an_option_that_came_later_is_identity_only_where_it_is_used() -> None:
    @dataclass(frozen=True)
    class Later(StageConfig):
        swaps: int = option(1, "ids")
        dropout: float = option(0.1, "share", since=0.0)

    assert config_identity(Later(dropout=0.0)) == {"swaps": 1}, "as a manifest of before has it"
    assert config_identity(Later()) == {"swaps": 1, "dropout": 0.1}


def test_what_cannot_change_the_result_is_not_identity() -> None:
    assert set(config_identity(Config())) == {"swaps", "share", "kind", "texts", "dry", "note"}


@pytest.mark.parametrize(
    "config",
    [
        Config(Path("a b"), force=True, swaps=3, kind="b", texts=(Path("a"), Path("b c")), resume=False, loud=False),
        training.Config(
            Path("a b"), max_tokens=7, lr=3e-4, rows_only=True, resume=False, deepspeed=Path("z.json"), processes=2
        ),
        evaluate.Config(model=("a=b", "c=d"), samples=0),
    ],
)
def test_a_config_is_made_again_by_its_own_command_line(config: StageConfig) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, options_of(type(config)))
    given = vars(parser.parse_args(command_line(config)))
    made = type(config)(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
    assert made == config


@pytest.mark.parametrize("stage", STAGES)
def test_every_option_of_every_stage_is_declared(stage: str) -> None:
    config = importlib.import_module(STAGES[stage][0]).Config
    undeclared = {item.name for item in fields(config) if DECLARED not in item.metadata}
    assert undeclared <= {"arguments", "sent_config", "parser", "configs", "compares", "config"}, "what is handed over"
    config()  # its defaults lie within its bounds
    for item in options_of(config):
        assert item.facts["group"] or item.facts.get("positional"), item.name
        assert fault(item, item.default) == ""
