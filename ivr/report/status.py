"""Stage `status`: which stages are done, missing or stale, from the manifests and file sizes alone; hashes nothing."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ivr.artifacts import ArtifactPaths
from ivr.manifest import PIPELINE, Manifest

DESCRIPTION = """\
Show which stages are done, missing or stale, when they ran, how long, and how large their outputs are.

A stage is stale when an input is no longer what an earlier stage wrote last, when an output is gone, or when a
stage it rests on is stale itself. Sizes are compared, contents are not: `ivr <stage>` checks those.
"""
EPILOG = """\
examples:
  ivr status
  ivr status --json --artifacts-dir runs/korean
"""

UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@dataclass(frozen=True)
class Config:
    artifacts_dir: Path = Path("artifacts")
    force: bool = False
    json: bool = False


@dataclass(frozen=True)
class StageStatus:
    """One line of the table. Without a manifest only `stage` and `state` say something."""

    stage: str
    state: str  # done, stale or missing
    reason: str = ""  # why it is stale
    started_at: str = ""
    wall_seconds: float = 0.0
    peak_memory_bytes: int = 0
    output_bytes: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("output")
    output.add_argument(
        "--json", action="store_true", help="print a JSON list, one object a stage (default: print a table)"
    )


def run(config: Config) -> None:
    """Print the table on standard output. Takes no lock and writes nothing: it may run beside a stage."""
    paths = ArtifactPaths(config.artifacts_dir)
    rows = stage_statuses(config.artifacts_dir, read_manifests(paths))
    print(json.dumps([asdict(row) for row in rows], indent=2) if config.json else status_table(rows))


def read_manifests(paths: ArtifactPaths) -> dict[str, Manifest]:
    """The manifests that are there, in the order of the pipeline."""
    found = {stage: Manifest.read(paths.manifest(stage)) for stage in PIPELINE}
    return {stage: manifest for stage, manifest in found.items() if manifest is not None}


def stage_statuses(root: Path, manifests: Mapping[str, Manifest]) -> list[StageStatus]:
    """One row for each stage of the pipeline."""
    # path -> (stage that wrote it last, sha256 or "" where a person may change it)
    written: dict[str, tuple[str, str]] = {}
    for stage, manifest in manifests.items():
        for row in manifest.outputs:
            written[row["path"]] = (stage, "" if row.get("editable") else row["sha256"])
    rows: list[StageStatus] = []
    not_done: set[str] = set()
    for stage in PIPELINE:
        if stage not in manifests:
            not_done.add(stage)
            rows.append(StageStatus(stage, "missing"))
            continue
        manifest = manifests[stage]
        reason = _stale_reason(root, manifest, written, not_done)
        if stage == "report" and not reason:
            reason = _not_reported(manifest, manifests, not_done)
        if reason:
            not_done.add(stage)
        rows.append(
            StageStatus(
                stage,
                "stale" if reason else "done",
                reason,
                manifest.started_at,
                manifest.wall_seconds,
                manifest.peak_memory_bytes,
                sum(row["bytes"] for row in manifest.outputs),
            )
        )
    return rows


def _stale_reason(root: Path, manifest: Manifest, written: Mapping[str, tuple[str, str]], not_done: set[str]) -> str:
    for row in manifest.inputs:
        maker, sha256 = written.get(row["path"], ("", ""))
        if sha256 and sha256 != row["sha256"]:
            return f"{row['path']} is another since `ivr {maker}` ran"
        if maker in not_done:
            return f"rests on {maker}, which is not current"
        if _size(root / row["path"]) not in (None, row["bytes"]):
            return f"{row['path']} has changed"
    for row in manifest.outputs:
        size = _size(root / row["path"])
        if size is None:
            return f"{row['path']} is gone"
        if size != row["bytes"] and not row.get("editable"):
            return f"{row['path']} was altered"
    return ""


def _not_reported(report: Manifest, manifests: Mapping[str, Manifest], not_done: set[str]) -> str:
    """The report reads the manifests that are there; one that came or changed later is not in it."""
    read = {Path(row["path"]).name for row in report.inputs}
    for stage, manifest in manifests.items():
        if stage == "report":
            continue
        if stage in not_done:
            return f"rests on {stage}, which is not current"
        if f"{stage}.json" not in read or manifest.started_at > report.started_at:
            return f"{stage} has run since"
    return ""


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def status_table(rows: Sequence[StageStatus]) -> str:
    """The rows as aligned text."""
    cells = [("stage", "state", "started (UTC)", "time", "memory", "output")]
    for row in rows:
        when = row.started_at.replace("T", " ").removesuffix("Z")
        figures = (duration(row.wall_seconds), size(row.peak_memory_bytes), size(row.output_bytes))
        cells.append((row.stage, row.state, when, *(figures if when else ("", "", ""))))
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    lines = []
    for line, reason in zip(cells, ["", *(row.reason for row in rows)], strict=True):
        left = [text.ljust(width) for text, width in zip(line[:3], widths[:3], strict=True)]
        right = [text.rjust(width) for text, width in zip(line[3:], widths[3:], strict=True)]
        lines.append("  ".join([*left, *right, reason]).rstrip())
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(num_bytes: int) -> str:
    """`512 B`, `1.5 KiB`, `2.0 GiB`."""
    if num_bytes < 1024:
        return f"{num_bytes} B"
    unit = next((unit for unit in ("KiB", "MiB") if num_bytes < 1000 * UNITS[unit]), "GiB")
    return f"{num_bytes / UNITS[unit]:.1f} {unit}"
