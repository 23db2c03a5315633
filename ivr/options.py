"""Declaring and checking the numbers that stages take as options. Imports nothing heavy."""

from collections.abc import Mapping
from typing import Any

from ivr.errors import ConfigError


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
