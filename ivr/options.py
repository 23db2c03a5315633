"""Declaring and checking the numbers and names that stages take as options. Imports nothing heavy."""

import argparse
import stat
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from ivr.errors import ConfigError

LARGEST_NUMBER = 1 << 53  # exact as a float, too; nothing that can be counted here comes near
MOST_WORKERS = 1024
SHOWN_CHARACTERS = 60


def add_number(group: Any, config: type, name: str, what: str, kind: type = int) -> None:
    """Add option `name` (`--max-steps`) to an argparse group; its default is that of the stage's `config` class."""
    default = getattr(config, field_of(name))
    metavar = "N" if kind is int else "X"
    group.add_argument(name, type=kind, default=default, metavar=metavar, help=f"{what} (default: %(default)s)")


def field_of(option: str) -> str:
    """
    >>> field_of("--max-steps")
    'max_steps'
    """
    return option.removeprefix("--").replace("-", "_")


def option_of(field: str) -> str:
    """
    >>> option_of("max_steps")
    '--max-steps'
    """
    return f"--{field.replace('_', '-')}"


def check_least(config: Any, least: Mapping[str, float]) -> None:
    """Raises ConfigError for a field that is set and smaller than it may be (or no number)."""
    for field, smallest in least.items():
        value = getattr(config, field)
        if value is not None and not value >= smallest:
            raise ConfigError(f"{option_of(field)} {value}: must be at least {smallest}")


def harden(parser: argparse.ArgumentParser) -> None:
    """Give all options of a stage readers that refuse what no stage can mean: see `whole_number` and its neighbours."""
    readers: dict[Any, Any] = {int: whole_number, float: number, Path: path}
    by_name = {"processes": worker_count, "threads": worker_count}
    for action in parser._actions:
        action.type = by_name.get(action.dest) or readers.get(action.type, action.type)


def whole_number(text: str) -> int:
    """A whole number from 0 to LARGEST_NUMBER, in ASCII digits: no option has a use for others.

    >>> whole_number("1e3")
    Traceback (most recent call last):
    argparse.ArgumentTypeError: '1e3' is no whole number
    """
    try:
        value = int(text if text.isascii() and "_" not in text else "")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{_shown(text)} is no whole number") from None
    _check_range(text, value)
    return value


def worker_count(text: str) -> int:
    """A number of processes or threads: a slip of a zero must not fill the machine with them."""
    value = whole_number(text)
    if value > MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{value:,} is more than {MOST_WORKERS:,}")
    return value


def number(text: str) -> float:
    """A finite number from 0 to LARGEST_NUMBER.

    >>> number("nan")
    Traceback (most recent call last):
    argparse.ArgumentTypeError: 'nan' is no finite number
    """
    try:
        value = float(text if text.isascii() and "_" not in text else "")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{_shown(text)} is no number") from None
    if not abs(value) <= LARGEST_NUMBER:
        raise argparse.ArgumentTypeError(
            f"{_shown(text)} is {'beyond 2^53' if isfinite(value) else 'no finite number'}"
        )
    return value


def path(text: str) -> Path:
    """The name of a file or directory, there or not; `~` is the home directory, which a shell leaves to the program in
    `--corpus=~/text`. Refused: a device, a pipe, a link to itself, a name that no file can have, the root directory.

    >>> path("")
    Traceback (most recent call last):
    argparse.ArgumentTypeError: it is empty: perhaps a variable of the shell that is not set
    """
    if not text:
        raise argparse.ArgumentTypeError("it is empty: perhaps a variable of the shell that is not set")
    try:
        named = Path(text).expanduser() if text[0] == "~" else Path(text)  # Path drops the ./ of a file called ~
        kind = named.stat().st_mode
    except FileNotFoundError:
        return named
    except PermissionError:  # the stage says of what kind, and whom to ask
        return named
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{_shown(text)}: there is no such user") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise argparse.ArgumentTypeError(f"{_shown(text)}: {reason}") from None
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise argparse.ArgumentTypeError(f"{_shown(text)} is neither a file nor a directory, but a device or a pipe")
    if named.samefile("/"):
        raise argparse.ArgumentTypeError(f"{_shown(text)} is the root directory; name one below it")
    return named


def _check_range(text: str, value: float) -> None:
    if value < 0:
        raise argparse.ArgumentTypeError(f"{_shown(text)} is below 0")
    if value > LARGEST_NUMBER:
        raise argparse.ArgumentTypeError(f"{_shown(text)} is beyond 2^53")


def _shown(text: str) -> str:
    return repr(text) if len(text) <= SHOWN_CHARACTERS else repr(text[:SHOWN_CHARACTERS]) + "..."
