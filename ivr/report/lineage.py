"""What came from what: every file of a run with its hash, the stage that made it and those that read it."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from ivr.disk.digest import sha256_json
from ivr.manifest import Manifest
from ivr.report.integrity import maker_of

MOST_FILES = 12  # of one folder, made and read by the same stages; more are told as one


@dataclass(frozen=True)
class Artifact:
    """A file, or a folder of many. made_by: empty for what a person brought. sha256 of a folder: over its files'."""

    path: str
    sha256: str
    bytes: int
    made_by: str
    read_by: tuple[str, ...]
    files: int = 1


def lineage(manifests: Mapping[str, Manifest]) -> list[Artifact]:
    """In the order of the stages that made them, what was brought first."""
    made: dict[str, Artifact] = {}
    readers: dict[str, list[str]] = {}
    for stage, manifest in manifests.items():
        for row in manifest.inputs:
            if not row.path.startswith("manifests/"):
                by = readers.setdefault(row.path, [])
                if stage not in by:  # it may be named twice: alone, and as part of a folder
                    by.append(stage)
                # an edited table, or what no manifest says who made it
                made.setdefault(row.path, Artifact(row.path, row.sha256, row.bytes, maker_of(row.path), ()))
        for row in manifest.outputs:
            made[row.path] = Artifact(row.path, row.sha256, row.bytes, stage, ())
    order = {"": 0} | {stage: place for place, stage in enumerate(manifests, start=1)}
    found = [
        Artifact(one.path, one.sha256, one.bytes, one.made_by, tuple(readers.get(path, ())))
        for path, one in sorted(made.items(), key=lambda item: (order.get(item[1].made_by, 0), item[0]))
    ]
    return _grouped(found)


def commands(manifests: Mapping[str, Manifest]) -> list[str]:
    """Lines for a shell that repeat the run on the same inputs: the stages' command lines as they were given, and,
    before the first of each commit, what brings the program as it was."""
    lines, commit = [], ""
    for stage, manifest in manifests.items():
        if manifest.git_commit not in ("", commit):
            commit = manifest.git_commit
            lines.append(f"git checkout {shlex.quote(commit)} && make setup && . .venv/bin/activate")
        if stage != "report":
            lines.append(manifest.argv)
    return lines


def _grouped(artifacts: list[Artifact]) -> list[Artifact]:
    """Many files of one folder as one row."""
    groups: dict[tuple[str, str, tuple[str, ...]], list[Artifact]] = {}
    for one in artifacts:
        groups.setdefault((str(PurePath(one.path).parent), one.made_by, one.read_by), []).append(one)
    rows = []
    for (folder, made_by, read_by), members in groups.items():
        if len(members) <= MOST_FILES:
            rows += members
        else:
            digest = sha256_json([one.sha256 for one in members])
            size = sum(one.bytes for one in members)
            rows.append(Artifact(f"{folder}/", digest, size, made_by, read_by, len(members)))
    return rows
