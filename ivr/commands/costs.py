"""What a stage takes, scaled from records of earlier runs of the same machine.

Time and memory grow with different things: reading with the text; fitting and selecting with the distinct pretokens, of
which a text of n bytes has about n^0.6 (Heaps' law); models with their parameters and the tokens they read. The record
that is nearest in size is scaled by that; far from it the figure is a guess, so the factor is shown.
"""

import math
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.artifacts import ArtifactPaths
from ivr.errors import CorruptInputError
from ivr.manifest import Manifest
from ivr.report.status import read_manifests

HEAPS = 0.6
READS_TEXT, READS_TYPES, RUNS_MODELS = (
    ("init", "analyze"),
    ("distill-tokenizer", "select", "remap"),
    ("align", "evaluate"),
)
START_SECONDS = 1.0  # of any stage, whatever it reads
FARTHEST = 100.0  # a run so many times smaller or larger tells nothing
SIBLINGS = 50  # folders beside a run that are looked into


@dataclass(frozen=True)
class Scale:
    """The sizes of a run that decide what its stages take; 0 where one is not known."""

    text_bytes: float = 0  # of all cleaned text
    parameters: float = 0  # of the model
    trained_tokens: float = 0
    scored_bytes: float = 0  # by each model in `evaluate`


@dataclass(frozen=True)
class Run:
    """An earlier run of this machine."""

    name: str
    scale: Scale
    manifests: Mapping[str, Manifest]


@dataclass(frozen=True)
class Cost:
    """An estimate. source: the run it is scaled from, by `ratio` in time."""

    seconds: float
    memory_bytes: int
    disk_bytes: int
    source: str
    ratio: float


def earlier_runs(root: Path, named: Sequence[Path] | None) -> list[Run]:
    """The runs of this machine in the folders that are named, or at and beside `root`."""
    folders = list(named) if named is not None else [root, *_beside(root)]
    found = []
    for folder in folders:
        try:
            manifests = read_manifests(ArtifactPaths(folder))
        except CorruptInputError:  # `ivr check` of that run says so; here it is only nothing to learn from
            continue
        own = {stage: row for stage, row in manifests.items() if row.host == socket.gethostname()}
        if own:
            found.append(Run(str(folder), _scale_of(own), own))
    return found


def _beside(root: Path) -> list[Path]:
    parent = root.absolute().parent
    places = sorted(path.parent for path in parent.glob("*/manifests") if path.parent != root.absolute())
    return places[:SIBLINGS]


def _scale_of(manifests: Mapping[str, Manifest]) -> Scale:
    """Of a run that was made."""
    made = manifests.get("init")
    corpora = made.results.get("corpora", {}) if made else {}
    text = sum(figures.get("bytes", 0) + figures.get("heldout_bytes", 0) for figures in corpora.values())
    parameters = made.results.get("model", {}).get("num_parameters", 0) if made else 0
    trained, evaluated = manifests.get("train"), manifests.get("evaluate")
    return Scale(
        text,
        parameters or 0,
        trained.results.get("tokens", 0) if trained else 0,
        evaluated.config.get("max_bytes", 0) if evaluated else 0,
    )


def scale_of_next(paths: ArtifactPaths, manifests: Mapping[str, Manifest], configs: Mapping[str, Any]) -> Scale:
    """Of the run that would be made: its text and model as far as they are there, its options."""
    known = _scale_of(manifests)
    init, train, evaluate = (configs.get(stage) for stage in ("init", "train", "evaluate"))
    text, parameters = known.text_bytes, known.parameters
    if init is not None and not text:
        text = sum(map(_bytes_below, (init.raw_corpora_dir or paths.raw_corpora, init.general_corpora_dir)))
        model = Path(init.model_name)
        parameters = parameters or (_bytes_below(model) / 4 if model.is_dir() else 0)
    tokens = known.trained_tokens
    if train is not None and train.block_size and train.epochs is None and train.max_bytes is None:
        a_step = train.batch_size * train.gradient_accumulation * train.processes * train.block_size
        tokens = train.max_tokens or train.max_steps * a_step
    elif train is not None and (made := manifests.get("train")) and made.results.get("steps"):
        tokens = made.results["tokens"] / made.results["steps"] * train.max_steps
    return Scale(text, parameters, tokens, evaluate.max_bytes if evaluate is not None else known.scored_bytes)


def _bytes_below(place: Path | None) -> int:
    if place is None:
        return 0
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def estimate(stage: str, scale: Scale, runs: Sequence[Run]) -> Cost | None:
    """From the run that is nearest in what this stage's time grows with.

    None where none has this stage, or the nearest is more than FARTHEST times as large or as small.
    """
    known = [run for run in runs if stage in run.manifests]
    if not known:
        return None
    nearest = min(known, key=lambda run: abs(math.log(_ratio(stage, scale, run.scale))))
    ratio, manifest = _ratio(stage, scale, nearest.scale), nearest.manifests[stage]
    if not 1 / FARTHEST <= ratio <= FARTHEST:
        return None
    start = min(START_SECONDS, manifest.wall_seconds)
    written = sum(row.bytes for row in manifest.outputs)
    grows = ratio if stage in READS_TEXT else _over(scale.parameters, nearest.scale.parameters)
    memory = 1.0 if stage in READS_TEXT else ratio if stage in READS_TYPES else grows
    return Cost(
        start + (manifest.wall_seconds - start) * ratio,
        int(manifest.peak_memory_bytes * max(1.0, memory)),
        int(written * grows),
        nearest.name,
        ratio,
    )


def _ratio(stage: str, scale: Scale, other: Scale) -> float:
    """How many times the work of another run this one's is, where both are known; else 1.

    >>> _ratio("analyze", Scale(text_bytes=4e6), Scale(text_bytes=1e6))
    4.0
    """
    text, parameters = _over(scale.text_bytes, other.text_bytes), _over(scale.parameters, other.parameters)
    if stage in READS_TEXT:
        return text
    if stage in READS_TYPES:
        return text**HEAPS
    if stage == "train":
        return parameters * _over(scale.trained_tokens, other.trained_tokens)
    if stage == "evaluate":
        return parameters * _over(scale.scored_bytes, other.scored_bytes)
    return parameters if stage in RUNS_MODELS else 1.0


def _over(one: float, other: float) -> float:
    return one / other if one and other else 1.0
