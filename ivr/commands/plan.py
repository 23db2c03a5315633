"""`ivr plan`: which stages would run and why, and what each will take here, from what earlier runs took."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.artifacts import ArtifactPaths
from ivr.console import LOG, say
from ivr.disk.digest import sha256_json
from ivr.manifest import PIPELINE, Manifest
from ivr.options.declared import StageConfig, option
from ivr.report.status import read_manifests, stage_statuses
from ivr.stage import config_identity

if TYPE_CHECKING:
    from ivr.commands.costs import Cost

DESCRIPTION = """\
Say which stages `make pipeline` would run, and why; and what each will take here: time, memory and disk, scaled from
the records of earlier runs of this machine. With --config its options are compared with those of the run, too. Sizes of
files are compared, contents are not. Runs nothing and writes nothing.
"""
EPILOG = """\
examples:
  ivr plan
  ivr plan --config run.toml --earlier runs/korean runs/legal
"""


@dataclass(frozen=True)
class Config(StageConfig):
    """Options of `ivr plan`."""

    earlier: tuple[Path, ...] | None = option(
        None,
        "artifacts directories of earlier runs, to estimate from (default: this one, and those that lie beside it)",
        group="estimates",
        metavar="DIR",
    )
    json: bool = option(False, "print a JSON list, one object a stage (default: print a table)", group="output")
    configs: Any = None  # of every stage, as ivr.options.config_file.Chosen; the command line hands them over
    compares: bool = False  # whether they are what the next run is to have, and not defaults alone


@dataclass(frozen=True)
class Step:
    """One stage. why: empty where it would not run."""

    stage: str
    why: str
    cost: "Cost | None"


def run(config: Config) -> None:
    """Print the table or the list."""
    from ivr.commands.costs import earlier_runs, estimate, scale_of_next

    paths = ArtifactPaths(config.artifacts_dir)
    configs = {stage: chosen.config for stage, chosen in (config.configs or {}).items()}
    manifests = read_manifests(paths) if paths.root.is_dir() else {}
    why = reasons(paths.root, manifests, configs if config.compares else {}, config.force)
    runs = earlier_runs(paths.root, config.earlier)
    scale = scale_of_next(paths, manifests, configs)
    steps = [Step(stage, why[stage], estimate(stage, scale, runs) if why[stage] else None) for stage in PIPELINE]
    if config.json:
        say(json.dumps([dataclasses.asdict(step) for step in steps], indent=2))
        return
    say(table(steps))
    say(f"\n{total(steps, paths)}")
    if not runs:
        LOG.info("plan: no record of an earlier run of this machine; --earlier names folders of some")


def reasons(
    root: Path, manifests: Mapping[str, Manifest], configs: Mapping[str, Any], force: bool = False
) -> dict[str, str]:
    """Stage -> why it would run; empty where it would not. `configs`: the next run's options, of stages to compare."""
    statuses = {row.stage: row for row in stage_statuses(root, manifests)}
    found: dict[str, str] = {}
    first = ""
    for stage in PIPELINE:
        row, manifest = statuses[stage], manifests.get(stage)
        if force:
            found[stage] = "--force"
        elif manifest is None:
            found[stage] = "has not run"
        elif stage in configs and manifest.identity != sha256_json(config_identity(configs[stage])):
            found[stage] = f"options changed: {_changes(manifest.config, configs[stage])}"
        elif row.state == "stale":
            found[stage] = row.reason
        elif first:
            found[stage] = f"if {first} writes something else"
        else:
            found[stage] = ""
        first = first or (stage if found[stage] else "")
    return found


def _changes(recorded: Mapping[str, Any], config: Any) -> str:
    """`swaps 500 -> 1000, seed 0 -> 1`."""
    now = config_identity(config)
    changed = [
        f"{name.replace('_', '-')} {recorded.get(name)} -> {now[name]}"
        for name in now
        if recorded.get(name) != now[name]
    ]
    return ", ".join(changed) or "their set is another version's"


def table(steps: list[Step]) -> str:
    """The steps as aligned text."""
    from ivr.report.status import duration, size

    rows = [["stage", "time", "memory", "disk", "why"]]
    for step in steps:
        cost = step.cost
        figures = ["", "", ""] if not step.why else ["?", "?", "?"]
        if cost is not None:
            figures = [f"about {duration(cost.seconds)}", size(cost.memory_bytes), size(cost.disk_bytes)]
        learnt = f" (from {cost.source}{'' if cost.ratio == 1 else f', times {cost.ratio:.2g}'})" if cost else ""
        rows.append([step.stage, *figures, (step.why + learnt) if step.why else "current, would not run"])
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(row[place].rjust(widths[place]) for place in (1, 2, 3)), row[4]])
        for row in rows
    )


def total(steps: list[Step], paths: ArtifactPaths) -> str:
    """One sentence on all that would run."""
    import shutil

    from ivr.report.status import duration, size

    wanted = [step for step in steps if step.why]
    if not wanted:
        return "Nothing would run."
    costs = [step.cost for step in wanted if step.cost is not None]
    place = paths.root.absolute()
    while not place.exists():
        place = place.parent
    free = f"{size(shutil.disk_usage(place).free)} are free at {place}"
    if not costs:
        return f"{len(wanted)} stages would run; what they take is not known here. {free}."
    unknown = "" if len(costs) == len(wanted) else f", without {len(wanted) - len(costs)} stages not known here"
    time, disk = sum(cost.seconds for cost in costs), sum(cost.disk_bytes for cost in costs)
    return (
        f"{len(wanted)} stages would run, about {duration(time)} in all{unknown}; at most "
        f"{size(max(cost.memory_bytes for cost in costs))} of memory; {size(disk)} of disk, {free}."
    )
