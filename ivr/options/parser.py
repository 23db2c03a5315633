"""From declared options to argparse and back: what is not given is not in the namespace, so that a file may give it."""

import argparse
from collections.abc import Callable, Iterable
from typing import Any

from ivr.options.declared import CommandConfig, Option, options_of, with_default


def add_options(parser: argparse.ArgumentParser, options: Iterable[Option]) -> dict[str, Any]:
    """Declare the options to a parser, below their headings; returns the headings' argparse groups."""
    groups: dict[str, Any] = {}
    exclusive: dict[tuple[str, str], Any] = {}
    for item in options:
        place: Any = parser
        if not item.facts.get("positional"):
            title, either = item.facts["group"], item.facts.get("either", "")
            if title not in groups:
                groups[title] = parser.add_argument_group(title)
            place = groups[title]
            if either:
                if (title, either) not in exclusive:
                    exclusive[title, either] = place.add_mutually_exclusive_group()
                place = exclusive[title, either]
        _add(place, item)
    return groups


def _add(place: Any, item: Option) -> None:
    facts = item.facts
    how: dict[str, Any] = {"default": argparse.SUPPRESS, "help": with_default(item).replace("%", "%%")}
    if item.kind is bool:
        _add_switch(place, item, how)
        return
    how["type"] = _reader(item)
    if "choices" in facts:
        how["choices"] = facts["choices"]
    elif "metavar" not in facts:
        how["metavar"] = "N" if item.kind is int else "X"
    if "metavar" in facts:
        how["metavar"] = facts["metavar"]
    if facts.get("repeat"):
        how["action"] = "append"
    elif item.many:
        how["nargs"] = "+"
    if facts.get("positional"):
        place.add_argument(item.name, nargs="?", **how | {"default": item.default})
    else:
        place.add_argument(item.flag, dest=item.name, **how)


def _add_switch(place: Any, item: Option, how: dict[str, Any]) -> None:
    if not item.default:
        place.add_argument(item.flag, dest=item.name, action="store_true", **how)
    elif off := item.facts.get("flag"):
        place.add_argument(off, dest=item.name, action="store_false", **how)
    else:
        place.add_argument(item.flag, dest=item.name, action=argparse.BooleanOptionalAction, **how)


def _reader(item: Option) -> Callable[[str], Any]:
    """The option's own reader; argparse passes on what an ArgumentTypeError says."""

    def read(text: str) -> Any:
        try:
            return item.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def command_line(config: CommandConfig, options: Iterable[Option] | None = None) -> list[str]:
    """The options that make this config, less those that have their defaults; of `options` alone where they are given.

    >>> from pathlib import Path
    >>> command_line(CommandConfig(Path("runs/a")))
    ['--artifacts-dir=runs/a']
    """
    words = []
    for item in options_of(type(config)) if options is None else options:
        value = getattr(config, item.name)
        if value is None or value == item.default:
            continue
        if isinstance(value, bool):
            words.append(item.flag if value else item.facts.get("flag", f"--no-{item.flag[2:]}"))
        elif not item.many:
            words.append(f"{item.flag}={value}")
        elif item.facts.get("repeat"):
            words += [f"{item.flag}={one}" for one in value]
        else:
            words += [item.flag, *map(str, value)]
    return words
