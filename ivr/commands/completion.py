"""`ivr completion`: the script that lets a shell complete stages, options and their values."""

from dataclasses import dataclass
from typing import Any

from ivr.console import say
from ivr.errors import ConfigError
from ivr.options.declared import CommandConfig, option

SHELLS = ("bash", "zsh")
DESCRIPTION = """\
Print a script that lets bash or zsh complete the stages, their options and the values that these may have.
"""
EPILOG = """\
examples:
  ivr completion bash   # > ~/.local/share/bash-completion/completions/ivr, or in ~/.bashrc: eval "$(...)"
  ivr completion zsh    # > ~/.zfunc/_ivr, with ~/.zfunc in fpath
"""
USAGE = "ivr completion bash|zsh"


@dataclass(frozen=True)
class Config(CommandConfig):
    """Options of `ivr completion`."""

    shell: str | None = option(None, "for which shell: bash or zsh", metavar="SHELL", choices=SHELLS, positional=True)
    parser: Any = None  # of the whole command line, which the command line itself hands over


def run(config: Config) -> None:
    """Print the script."""
    if config.shell is None:
        raise ConfigError("name the shell: `ivr completion bash` or `ivr completion zsh`")
    import shtab

    say(shtab.complete(_with_files(config.parser), config.shell).removesuffix("\n"))


def _with_files(parser: Any) -> Any:
    """The parser, with every option and word that takes a path told so."""
    import argparse

    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                _with_files(child)
        elif action.metavar in ("FILE", "PATH"):
            action.complete = shtab.FILE
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY
    return parser
