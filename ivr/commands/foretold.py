"""Before a long stage begins: what it will take here, from what earlier runs took, and whether that is there."""

import shutil
from pathlib import Path
from typing import Any

from ivr.artifacts import ArtifactPaths
from ivr.commands.costs import Cost, earlier_runs, estimate, scale_of_next
from ivr.commands.plan import reasons
from ivr.errors import CorruptInputError
from ivr.report.status import duration, read_manifests, size

WORTH_SAYING = 60.0  # seconds; what ends sooner says so by itself


def foretell(stage: str, config: Any, available_memory: int | None = None) -> str:
    """What a stage of the pipeline will take with this config, as one sentence.

    Empty where it would not run, where no earlier run of this machine tells, or where it takes less than a minute.
    `available_memory`: in bytes, None for what the kernel says.
    """
    paths = ArtifactPaths(config.artifacts_dir)
    try:
        manifests = read_manifests(paths) if paths.root.is_dir() else {}
        why = reasons(paths.root, manifests, {stage: config}, config.force)[stage]
    except CorruptInputError:  # the stage itself says so
        return ""
    if not why or why.startswith("if "):
        return ""
    cost = estimate(stage, scale_of_next(paths, manifests, {stage: config}), earlier_runs(paths.root, None))
    if cost is None or cost.seconds < WORTH_SAYING:
        return ""
    scaled = "" if cost.ratio == 1 else f", times {cost.ratio:.2g}"
    return (
        f"about {duration(cost.seconds)}, {size(cost.memory_bytes)} of memory, {size(cost.disk_bytes)} of disk, as "
        f"{cost.source} took{scaled}{_shortage(cost, paths.root, available_memory)}"
    )


def _shortage(cost: Cost, root: Path, available_memory: int | None) -> str:
    place = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    there = {
        "memory": (cost.memory_bytes, _available_memory() if available_memory is None else available_memory),
        "disk": (cost.disk_bytes, shutil.disk_usage(place).free),
    }
    short = [f"{size(has)} of {what}" for what, (needs, has) in there.items() if has is not None and has < needs]
    return f"; only {' and '.join(short)} is free" if short else ""


def _available_memory() -> int | None:
    """Bytes that processes can still have; None where there is no /proc."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None
