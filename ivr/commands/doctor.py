"""`ivr doctor`: what of this machine stages need, what is missing, and what mends it."""

import dataclasses
import json
from dataclasses import dataclass

from ivr.artifacts import ArtifactPaths
from ivr.console import say
from ivr.errors import ConfigError
from ivr.options.declared import CommandConfig, option

DESCRIPTION = """\
Look over this machine: Python and packages, PyTorch, GPU and driver, DeepSpeed, the Hub or its cache, disk, memory,
locks, Slurm, containers, variables of the shell. Each line says what is there and, where something is wrong, what mends
it. Ends with 2 where a stage could not run at all. Changes nothing.
"""
EPILOG = """\
examples:
  ivr doctor
  ivr doctor --json --artifacts-dir runs/korean
"""


@dataclass(frozen=True)
class Config(CommandConfig):
    """Options of `ivr doctor`."""

    json: bool = option(False, "print a JSON list, one object a check (default: print a list)", group="output")


def run(config: Config) -> None:
    """Print what was found. Raises ConfigError where something keeps stages from running."""
    from ivr.commands.checks import BROKEN, NOTE, all_checks

    found = all_checks(ArtifactPaths(config.artifacts_dir))
    if config.json:
        say(json.dumps([dataclasses.asdict(check) for check in found], indent=2))
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            say(f"{check.state:<6}  {check.name:<{width}}  {check.found}")
            if check.mend:
                say(f"{'':<6}  {'':<{width}}  -> {check.mend}")
        notes = sum(check.state == NOTE for check in found)
        say(f"\n{len(found)} checks, {notes} with a remark")
    if broken := [check for check in found if check.state == BROKEN]:
        raise ConfigError("; ".join(f"{check.name}: {check.mend or check.found}" for check in broken))
