"""`ivr sweep`: runs over numbers of swaps, initialisers and seeds, which share what is equal; then one page of all."""

import itertools
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ivr.artifacts import ArtifactPaths
from ivr.console import LOG, logs_json, say
from ivr.embedding.options import STRATEGIES
from ivr.errors import ConfigError, IvrError, TryAgainError
from ivr.options.declared import SEEDS, StageConfig, option
from ivr.report.status import read_manifests, stage_statuses
from ivr.tokenizer.select.stage import read_swaps

DESCRIPTION = """\
Make a run for each number of swaps, initialiser and seed, below ARTIFACTS; `init`, `analyze` and
`distill-tokenizer` are made once, in shared/, and their files linked into each run. All other options come from
--config. Given again, it goes on: a stage that is current does not run. At the end `ivr report --runs` compares them.
With --profile the stages of each run are queued in Slurm, each behind the one before; when the jobs have ended, the
same command makes what is missing, and the comparison.
"""
EPILOG = """\
examples:
  ivr sweep --artifacts-dir runs/sweep --swaps 500 2000 --init-strategy pieces distill --seed 0 1 --config run.toml
  ivr sweep --artifacts-dir runs/sweep --swaps 500 2000 --profile slurm/profiles/gpu-node.toml
  ivr sweep --artifacts-dir runs/sweep --swaps 500 2000 --dry-run
"""
SHARED = ("init", "analyze", "distill-tokenizer")
OWN = ("select", "remap", "align", "train", "evaluate", "report")


@dataclass(frozen=True)
class Config(StageConfig):
    """Options of `ivr sweep`."""

    swaps: tuple[int | str, ...] = option(
        (500,),
        "ids to reassign, or auto; one run each (default: 500)",
        group="what is swept",
        metavar="K",
        parse=read_swaps,
        bounds="[1, 1e7]",
    )
    init_strategy: tuple[str, ...] = option(
        ("distill",), "how new rows begin; one run each (default: distill)", metavar="NAME", choices=STRATEGIES
    )
    seed: tuple[int, ...] = option((0,), "of new rows and of training; one run each (default: 0)", bounds=SEEDS)
    profile: Path | None = option(
        None,
        "queue the stages of each run in Slurm, by this profile (default: run them here)",
        group="how",
        metavar="FILE",
    )
    dry_run: bool = option(False, "print the commands, and run nothing")
    config: Path | None = None  # the file of --config, which the stages are given too


@dataclass(frozen=True)
class Cell:
    """One run of a sweep."""

    swaps: int | str
    strategy: str
    seed: int

    @property
    def name(self) -> str:
        """
        >>> Cell(500, "pieces", 0).name
        'swaps500-pieces-seed0'
        """
        return f"swaps{self.swaps}-{self.strategy}-seed{self.seed}"

    def options(self, stage: str) -> list[str]:
        """What this run has of its own, on the command line of a stage."""
        swept = {
            "select": [f"--swaps={self.swaps}"],
            "align": [f"--init-strategy={self.strategy}", f"--seed={self.seed}"],
            "train": [f"--seed={self.seed}"],
        }
        return swept.get(stage, [])


def cells(config: Config) -> list[Cell]:
    """Every combination, each once, in the order in which they are given."""
    combinations = itertools.product(config.swaps, config.init_strategy, config.seed)
    return [Cell(*values) for values in dict.fromkeys(combinations)]


def run(config: Config) -> None:
    """Make the runs and the comparison. Raises IvrError naming the runs that failed, once the others are made."""
    root = config.artifacts_dir
    wanted = cells(config)
    if config.dry_run:
        say("\n".join(shlex.join(["ivr", *words]) for words in every_command(config, wanted)))
        return
    if (root / "manifests").exists():
        raise ConfigError(
            f"--artifacts-dir {root} is a run itself; name another folder, which the runs of a sweep go into"
        )
    from ivr.commands.shared_files import link_shared

    LOG.info("sweep: %d runs in %s, after what they share", len(wanted), root)
    for stage in SHARED:
        _must(_words(config, stage, root / "shared"))
    failed: dict[str, str] = {}
    queued: list[Path] = []
    for number, cell in enumerate(wanted, 1):
        folder = root / cell.name
        LOG.info("sweep: run %d of %d, %s", number, len(wanted), folder)
        link_shared(root / "shared", folder, SHARED)
        if config.profile is not None and _is_done(config, folder):
            continue  # no jobs for a run that has all it needs
        for stage in OWN:
            code = _ivr(_words(config, stage, folder, cell))
            if config.profile is not None and code in (0, TryAgainError.exit_code):  # queued now, or was already
                queued.append(folder)
            elif code:
                failed[cell.name] = f"`ivr {stage}` ended with {code}"
                break
    if failed:
        told = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise IvrError(
            f"{len(failed)} of {len(wanted)} runs failed: {told}. The same command goes on with what is missing"
        )
    if queued:
        status = f"ivr status --artifacts-dir {queued[0]}"
        raise TryAgainError(
            f"the stages are queued; `{status}` shows those of a run. When all have ended, give the same command again"
        )
    _must(_compare(config, wanted))


def every_command(config: Config, wanted: Sequence[Cell]) -> list[list[str]]:
    """The words after `ivr` of all that a sweep runs, in order."""
    root = config.artifacts_dir
    return [
        *(_words(config, stage, root / "shared") for stage in SHARED),
        *(_words(config, stage, root / cell.name, cell) for cell in wanted for stage in OWN),
        _compare(config, wanted),
    ]


def _words(config: Config, stage: str, folder: Path, cell: Cell | None = None) -> list[str]:
    """The words after `ivr` for a stage of one run. What is shared is waited for, also in Slurm."""
    words = [stage, f"--artifacts-dir={folder}"]
    if config.config is not None:
        words.append(f"--config={config.config}")
    if config.profile is not None and stage != "init":  # which needs a network
        words = ["submit", *words, f"--profile={config.profile}", *(["--detach"] if cell else [])]
    return words + (cell.options(stage) if cell else []) + (["--force"] if config.force else [])


def _compare(config: Config, wanted: Sequence[Cell]) -> list[str]:
    root = config.artifacts_dir
    return ["report", "--runs", *(str(root / cell.name) for cell in wanted), f"--output={root / 'comparison'}"]


def _is_done(config: Config, folder: Path) -> bool:
    """Whether a run has every stage, none stale, and since the file of options was changed last."""
    paths = ArtifactPaths(folder)
    if {row.state for row in stage_statuses(folder, read_manifests(paths))} != {"done"}:
        return False
    changed = config.config.stat().st_mtime if config.config is not None else 0.0
    return changed < paths.manifest("report").stat().st_mtime


def _must(words: list[str]) -> None:
    if code := _ivr(words):
        error = IvrError(f"`{shlex.join(['ivr', *words])}` ended with {code}; its reason stands above")
        error.exit_code = code
        raise error


def _ivr(words: list[str]) -> int:
    """Run a stage in a process of its own, which says what there is to say; its exit code.

    Standard output is for the comparison; a run's own summary goes beside the log.
    """
    command = [sys.executable, "-m", "ivr", *words, *(["--log-json"] if logs_json() else [])]
    output = None if "--runs" in words else sys.stderr
    code = subprocess.run(command, stdout=output, check=False).returncode  # noqa: S603 - no shell; our own words
    if code in (130, -2):
        raise KeyboardInterrupt
    return code
