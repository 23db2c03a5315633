"""Stage `check`: every byte of a finished run against the hashes that its stages recorded."""

import contextlib
import dataclasses
import json
import os
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ivr.artifacts import ArtifactPaths, check_there
from ivr.console import Progress, say
from ivr.errors import CorruptInputError, StaleInputError
from ivr.options.declared import WORKERS, CommandConfig, option
from ivr.stage import artifacts_lock

if TYPE_CHECKING:
    from ivr.report.integrity import Checked, Finding

DESCRIPTION = """\
Read every file of a run and compare it with its recorded size and hash; check the records themselves, too.

Says what is damaged or missing and which command makes it again (exit 4), what was edited and may be, which raw file
has changed since it was read, and what lies in the run's folders that no stage wrote. Writes nothing."""
EPILOG = """\
examples:
  ivr check
  ivr check --json --artifacts-dir runs/korean
"""


@dataclass(frozen=True)
class Config(CommandConfig):
    """Options of `ivr check`."""

    json: bool = option(False, "print one JSON object (default: print a list)", group="output")
    threads: int = option(
        min(8, os.cpu_count() or 1),
        "files read at once (default: one a core, at most 8)",
        group="machine",
        bounds=WORKERS,
    )


def run(config: Config) -> None:
    """Print what was found. Raises CorruptInputError when something is damaged or missing."""
    paths = ArtifactPaths(config.artifacts_dir)
    check_there(paths.root)
    from ivr.report.integrity import check, expected_files

    with _quiet_run(paths):
        total = sum(file.bytes for file in expected_files(paths)[0])
        with Progress("check", total, "B") as bar:
            checked = check(paths, config.threads, bar.update)
    if not checked.files and not checked.findings:
        raise StaleInputError(f"no stage has run in {paths.root}; `ivr init --artifacts-dir {paths.root}` is the first")
    commands = [_command(stage, paths.root) for stage in checked.stages]
    if config.json:
        findings = [dataclasses.asdict(finding) for finding in checked.findings]
        say(
            json.dumps(
                {"files": checked.files, "bytes": checked.bytes, "findings": findings, "commands": commands}, indent=2
            )
        )
    else:
        say("\n".join([*map(_line, checked.findings), _summary(checked)]))
    if checked.damage:
        then = f"; run, in this order: {', '.join(f'`{command}`' for command in commands)}" if commands else ""
        raise CorruptInputError(f"{paths.root}: {len(checked.damage)} files are damaged or missing{then}")


@contextlib.contextmanager
def _quiet_run(paths: ArtifactPaths) -> Iterator[None]:
    """No stage at work meanwhile: half of what it writes would look like damage. Nothing is made for it."""
    if paths.lock.exists() and os.access(paths.lock, os.W_OK):
        with artifacts_lock(paths.lock, "check"):
            yield
    else:
        yield


def _command(stage: str, root: Path) -> str:
    where = [] if root == Config.artifacts_dir else ["--artifacts-dir", str(root)]
    return shlex.join(["ivr", stage, *where])


def _line(finding: "Finding") -> str:
    return f"{finding.state:<9} {finding.path}: {finding.reason}; {finding.mend}"


def _summary(checked: "Checked") -> str:
    from ivr.report.integrity import CHANGED, DAMAGED, EDITED, FOREIGN, MISSING
    from ivr.report.status import size

    counts = Counter(finding.state for finding in checked.findings)
    said = ", ".join(f"{counts[state]} {state}" for state in (DAMAGED, MISSING, EDITED, CHANGED, FOREIGN))
    return f"{checked.files:,} files, {size(checked.bytes)}: {said}"
