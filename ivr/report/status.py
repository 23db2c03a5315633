"""Which stages are done, missing or stale, from the manifests and file sizes alone; hashes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ivr.artifacts import ArtifactPaths
from ivr.manifest import EVERY_STAGE, PIPELINE, Manifest, package_versions
from ivr.versions import package_remark, why_outdated

UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


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
    remark: str = ""  # what a reader should know of one that is done


def read_manifests(paths: ArtifactPaths) -> dict[str, Manifest]:
    """The manifests that are there, in the order of the pipeline."""
    found = {stage: Manifest.read(paths.manifest(stage)) for stage in EVERY_STAGE}
    return {stage: manifest for stage, manifest in found.items() if manifest is not None}


def stage_statuses(root: Path, manifests: Mapping[str, Manifest]) -> list[StageStatus]:
    """One row for each stage of the pipeline, and one for `verify` where it has run."""
    # path -> (stage that wrote it last, sha256 or "" where a person may change it)
    written: dict[str, tuple[str, str]] = {}
    for stage, manifest in manifests.items():
        for row in manifest.outputs:
            written[row.path] = (stage, "" if row.editable else row.sha256)
    rows: list[StageStatus] = []
    not_done: set[str] = set()
    here = package_versions()
    for stage in EVERY_STAGE:
        if stage not in manifests and stage not in PIPELINE:
            continue
        if stage not in manifests:
            not_done.add(stage)
            rows.append(StageStatus(stage, "missing"))
            continue
        manifest = manifests[stage]
        reason = why_outdated(stage, manifest.version, manifest.versions, here)
        reason = reason or _stale_reason(root, manifest, written, not_done)
        if stage == "report" and not reason:
            reason = _not_reported(manifest, manifests, not_done)
        if reason and stage != "verify":
            not_done.add(stage)
        rows.append(
            StageStatus(
                stage,
                "stale" if reason else "done",
                reason,
                manifest.started_at,
                manifest.wall_seconds,
                manifest.peak_memory_bytes,
                sum(row.bytes for row in manifest.outputs),
                "" if reason else package_remark(stage, manifest.versions, here),
            )
        )
    return rows


def _stale_reason(root: Path, manifest: Manifest, written: Mapping[str, tuple[str, str]], not_done: set[str]) -> str:
    for row in manifest.inputs:
        maker, sha256 = written.get(row.path, ("", ""))
        if sha256 and sha256 != row.sha256:
            return f"{row.path} is another since `ivr {maker}` ran"
        if maker in not_done:
            return f"rests on {maker}, which is not current"
        if _size(root / row.path) not in (None, row.bytes):
            return f"{row.path} has changed"
    for row in manifest.outputs:
        size = _size(root / row.path)
        if size is None:
            return f"{row.path} is gone"
        if size != row.bytes and not row.editable:
            return f"{row.path} was altered"
    return ""


def _not_reported(report: Manifest, manifests: Mapping[str, Manifest], not_done: set[str]) -> str:
    """The report reads the manifests that are there; one that came or changed later is not in it."""
    read = {Path(row.path).name for row in report.inputs}
    for stage, manifest in manifests.items():
        if stage == "report":
            continue
        if stage in not_done and stage in PIPELINE:
            return f"rests on {stage}, which is not current"
        if f"{stage}.json" not in read or manifest.started_at > report.started_at:
            return f"{stage} has run since"
    return ""


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def status_table(
    rows: Sequence[StageStatus], more: Sequence[str] = (), cells_of: Mapping[str, Sequence[str]] | None = None
) -> str:
    """The rows as aligned text; `more` columns are headed so, their cells given by stage."""
    lines = [["stage", "state", "started (UTC)", "time", "memory", "output", *more]]
    for row in rows:
        when = row.started_at.replace("T", " ").removesuffix("Z")
        figures = (duration(row.wall_seconds), size(row.peak_memory_bytes), size(row.output_bytes))
        others = (cells_of or {}).get(row.stage) or [""] * len(more)
        lines.append([row.stage, row.state, when, *(figures if when else ("", "", "")), *others])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = []
    for line, reason in zip(lines, ["", *(row.reason or row.remark for row in rows)], strict=True):
        padded = [
            cell.rjust(width) if column in (3, 4, 5) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join([*padded, reason]).rstrip())
    return "\n".join(text)


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
