"""An option is declared once, as a field of its stage's config: default, help, bounds, heading.

    @dataclass(frozen=True)
    class Config(StageConfig):
        swaps: int = option(500, "ids to reassign", group="how much", metavar="K", bounds="[1, 1e7]")
        processes: int = option(0, "that count; the result is the same", bounds=WORKERS_OR_ALL, identity=False)

From it follow the parser and `--help` (ivr.options.parser), the check of every value when a config is made, and what
the manifest records. Imports nothing heavy: `--help` answers at once.
"""

import types
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypedDict, Union, Unpack, get_args, get_origin

from ivr.errors import ConfigError
from ivr.options.values import impossible_path, read_value, shown_value

DECLARED = "option"  # the key in a field's metadata
SEEDS = "[0, 9007199254740992]"  # 2^53: exact as a float, too
WORKERS, WORKERS_OR_ALL = "[1, 1024]", "[0, 1024]"  # a slip of a zero must not fill a machine with processes


class Facts(TypedDict, total=False):
    """What an option may have besides its default and its help.

    group: heading in `--help`; the options after it stand below it too, until another names one.
    metavar: stands for the value in `--help`; N for a whole number and X for another where none is given.
    bounds: an interval such as "[1, 1e9]" that holds a number which is given; every number has one, with two ends.
    choices: the values there are.
    parse: reads the text of a value where the field's type does not say how; raises ValueError.
    flag: of a switch that is on by default, the one that turns it off; `--x` and `--no-x` where none is given.
    either: of the options of a group with the same word here, only one is given at a time.
    repeat: the option may be given several times, for one value each.
    positional: given without its name.
    identity: False where no value changes the result, so that another one makes nothing stale.
    since: of an option that came later, the value that stands for what was done before: it makes no older run stale.
    """

    group: str
    metavar: str
    bounds: str
    choices: tuple[str, ...]
    parse: Callable[[str], Any]
    flag: str
    either: str
    repeat: bool
    positional: bool
    identity: bool
    since: Any


def option(default: Any, help: str, **facts: Unpack[Facts]) -> Any:
    """A dataclass field that is an option of the command line. `help` says the default where the value does not."""
    seen_by_manifests = {"identity": facts.get("identity", True)} | (
        {"since": facts["since"]} if "since" in facts else {}
    )
    return field(default=default, metadata={DECLARED: {"help": help, **facts}, **seen_by_manifests})


@dataclass(frozen=True)
class Option:
    """An option as it was declared. `kind`: type of a value, of each one where there are `many`."""

    name: str
    kind: type
    many: bool
    default: Any
    help: str
    facts: Facts

    @property
    def flag(self) -> str:
        """As it is written: `--max-steps`."""
        return option_of(self.name)

    @property
    def key(self) -> str:
        """As it stands in a file: `max-steps`."""
        return self.flag[2:]

    def read(self, text: str) -> Any:
        """One value from its text. Raises ValueError saying what is needed."""
        if parse := self.facts.get("parse"):
            return parse(text)
        return read_value(self.kind, text)


@dataclass(frozen=True)
class CommandConfig:
    """What every command has; the base of the Config of one that makes nothing which could be made again.

    Raises ConfigError when made with an impossible value.
    """

    artifacts_dir: Path = option(
        Path("artifacts"), "ARTIFACTS: where a run's outputs lie", group="every command", metavar="DIR", identity=False
    )

    def __post_init__(self) -> None:
        for item in options_of(type(self)):
            for value in each(item, getattr(self, item.name)):
                if wrong := fault(item, value):
                    raise ConfigError(f"{item.flag} {shown_value(value)}: {wrong}")


@dataclass(frozen=True)
class StageConfig(CommandConfig):
    """The base of each stage's Config."""

    force: bool = option(False, "run again even when nothing changed", identity=False)


def options_of(config: type) -> list[Option]:
    """The options of a config class, in the order in which they are declared, each with its heading.

    >>> [item.flag for item in options_of(StageConfig)]
    ['--artifacts-dir', '--force']
    """
    found, group = [], ""
    for item in fields(config):
        if DECLARED not in item.metadata:
            continue
        facts = dict(item.metadata[DECLARED])
        group = facts["group"] = facts.get("group", group)
        kind, many = _kind(item.type)
        found.append(Option(item.name, kind, many, item.default, facts.pop("help"), Facts(**facts)))
    return found


def own_options(config: type) -> list[Option]:
    """Those that not every stage has."""
    return [item for item in options_of(config) if item.name not in _SHARED]


def shared_options(config: type) -> list[Option]:
    """Those of it that every stage has, or every command.

    >>> [item.flag for item in shared_options(CommandConfig)]
    ['--artifacts-dir']
    """
    return [item for item in options_of(config) if item.name in _SHARED]


_SHARED = {item.name for item in fields(StageConfig)}


def _kind(annotation: Any) -> tuple[type, bool]:
    """(type of a value, whether it is a list of them).

    >>> _kind(int | None), _kind(tuple[str, ...])
    ((<class 'int'>, False), (<class 'str'>, True))
    """
    if get_origin(annotation) in (Union, types.UnionType):
        return _kind(next(part for part in get_args(annotation) if part is not type(None)))
    if get_origin(annotation) is not None:
        return get_args(annotation)[0], True
    return annotation, False


def option_of(name: str) -> str:
    """
    >>> option_of("max_steps"), option_of("for_")  # a word of Python's has a bar behind it
    ('--max-steps', '--for')
    """
    return f"--{name.rstrip('_').replace('_', '-')}"


def each(item: Option, value: Any) -> tuple[Any, ...]:
    """The one value, or the values where an option takes several."""
    return tuple(value) if item.many and value is not None else (value,)


def fault(item: Option, value: Any) -> str:
    """What is wrong with a value, outside of the option's bounds or choices; empty where nothing is.

    >>> fault(Option("seed", int, False, 0, "of all draws", {"bounds": "[0, 1e9]"}), -1)
    'must be a number from 0 to 1,000,000,000'
    """
    choices, bounds = item.facts.get("choices"), item.facts.get("bounds")
    if value is None:  # an option that was not given
        return ""
    if item.many and isinstance(value, list | tuple):
        one = replace(item, many=False)
        return next(filter(None, (fault(one, each) for each in value)), "")
    if choices and value not in choices:
        return f"must be one of {', '.join(choices)}"
    if bounds and isinstance(value, int | float) and not within(value, bounds):
        return f"must be {in_words(bounds)}"
    return impossible_path(value) if isinstance(value, Path) else ""


def within(value: float, bounds: str) -> bool:
    """Whether an interval holds a number; none holds NaN.

    >>> within(0, "(0, 1]"), within(1, "(0, 1]"), within(float("nan"), "[0, 1e9]")
    (False, True, False)
    """
    low, high = _ends(bounds)
    return (low <= value if bounds[0] == "[" else low < value) and (
        value <= high if bounds[-1] == "]" else value < high
    )


def in_words(bounds: str) -> str:
    """An interval as a sentence's end.

    >>> [in_words(bounds) for bounds in ("[1, 1e6]", "(0, 100]", "[0, 1)")]
    ['a number from 1 to 1,000,000', 'a number above 0 and at most 100', 'a number at least 0 and below 1']
    """
    low, high = (f"{end:,.16g}" for end in _ends(bounds))
    if (bounds[0], bounds[-1]) == ("[", "]"):
        return f"a number from {low} to {high}"
    least = "at least" if bounds[0] == "[" else "above"
    return f"a number {least} {low} and {'at most' if bounds[-1] == ']' else 'below'} {high}"


def _ends(bounds: str) -> tuple[float, float]:
    low, high = bounds[1:-1].split(",")
    return float(low), float(high)


def with_default(item: Option) -> str:
    """The help of an option with its default at the end, where the value itself says it.

    >>> with_default(Option("seed", int, False, 0, "of all draws", {}))
    'of all draws (default: 0)'
    """
    says_nothing = item.default is None or isinstance(item.default, bool) or item.many
    if says_nothing or "(default:" in item.help:
        return item.help
    return f"{item.help} (default: {item.default})"
