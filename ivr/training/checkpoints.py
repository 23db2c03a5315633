"""Checkpoints that are whole or absent.

    checkpoints/<identity>/step-00000100/   weights and optimizer (training.pt, or DeepSpeed's own files),
                                            metrics.jsonl up to that step, and complete.json
    checkpoints/unfinished.json             the card of the run that was begun last, while it is not finished

A checkpoint is staged, marked by `complete.json` (sizes and hashes of all its files) and renamed into place. One
folder per identity (options and input hashes), so that trying another learning rate costs no earlier run its state.
A run's card names everything that decides its arithmetic: a run with another card does not go on from its checkpoints.
"""

import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ivr.console import LOG
from ivr.disk.digest import sha256_file
from ivr.disk.ownership import remove_written
from ivr.disk.writer import atomic_directory
from ivr.errors import ConfigError, CorruptInputError
from ivr.manifest import FileFacts, facts_below
from ivr.schema import read_record, write_sealed
from ivr.training.launch.processes import Team

MARKER, WEIGHTS, METRICS, DEEPSPEED_TAG = "complete.json", "training.pt", "metrics.jsonl", "deepspeed"
UNFINISHED = "unfinished.json"

_STEP = re.compile(r"step-\d+")

Card = dict[str, Any]  # what -> its value, in the words of an error message


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on disk."""

    path: Path
    step: int
    card: Card


@dataclass(frozen=True)
class Marker:
    """complete.json."""

    step: int
    card: Card
    files: dict[str, FileFacts]  # by name below the checkpoint
    checksum: str = ""


@dataclass(frozen=True)
class Note:
    """unfinished.json."""

    identity: str
    card: Card
    checksum: str = ""


@dataclass(frozen=True)
class Trained:
    """What a checkpoint holds of a run."""

    card: Card
    team: Team
    model: Any
    optimizer: Any
    metrics: Path  # what was logged so far, JSON lines


def save(folder: Path, step: int, trained: Trained, keep: int) -> Path:
    """Write the checkpoint of `step`, then drop what `superfluous` names. Every rank calls this.

    Args:
        folder: of all checkpoints.
        step: the steps taken.
        trained: what is saved.
        keep: how many checkpoints there are afterwards, at most.

    Returns:
        The checkpoint's directory.
    """
    team, model, optimizer = trained.team, trained.model, trained.optimizer
    target = folder / f"step-{step:08d}"
    if not team.is_main:
        _write_state(Path(team.share()), team, model, optimizer)
        team.wait()
        team.wait()
        return target
    with atomic_directory(target, contents=False) as staging:
        team.share(str(staging))
        _write_state(staging, team, model, optimizer)
        shutil.copyfile(trained.metrics, staging / METRICS)
        team.wait()  # every rank has written its part
        files = {name: asdict(facts) for name, facts in facts_below(staging).items()}
        write_sealed(staging / MARKER, {"step": step, "card": trained.card, "files": files})
    for old in superfluous(folder, step, keep):
        remove_written(old, contents=False)
    team.wait()  # nobody goes on before the checkpoint is in place
    return target


def superfluous(folder: Path, step: int, keep: int) -> list[Path]:
    """The checkpoints that go once that of `step` is in place: all but it and the newest whole ones before it, `keep`
    together.

    A later step than the one just written is of a turn that this run could not go on from, because it was damaged: it
    must not take the place of a whole one.
    """
    ours = [path for path in _step_folders(folder) if _step_of(path) <= step and _looks_whole(path)]
    kept = set(ours[-keep:])
    return [path for path in _step_folders(folder) if path not in kept]


def newest_whole(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose files are all what its marker says; damaged ones are named and passed over."""
    for path in reversed(_step_folders(folder)):
        try:
            marker = read_marker(path)
            damaged = [name for name, facts in marker.files.items() if not _is_file_as(path / name, facts)]
            if not damaged:
                return Checkpoint(path, marker.step, marker.card)
            LOG.warning("train: %s is damaged (%s), looking for an older one", path, damaged[0])
        except (FileNotFoundError, CorruptInputError) as error:
            LOG.warning("train: %s is no whole checkpoint (%s), looking for an older one", path, error)
    return None


def read_marker(checkpoint: Path) -> Marker:
    """What a checkpoint says of itself. Raises FileNotFoundError, CorruptInputError."""
    return read_record(checkpoint / MARKER, Marker, f"delete {checkpoint}, and `ivr train` goes on from an older one")


def remove_all(folder: Path) -> None:
    """Remove every checkpoint in `folder`; what else lies there stays."""
    for path in _step_folders(folder):
        remove_written(path, contents=False)


def check_fits(path: Path, before: Card, now: Card) -> None:
    """Refuse to go on from a run with another card, naming every difference."""
    different = [
        f"{what} {before.get(what)}, this run {now.get(what)}"
        for what in sorted({*before, *now})
        if before.get(what) != now.get(what)
    ]
    if different:
        raise ConfigError(
            f"{path} was made with {'; '.join(different)}. Go on with what it was made with, "
            "or begin anew with --no-resume"
        )


def begin(checkpoints: Path, identity: str, card: Card, resume: bool) -> None:
    """Note that this run is under way. Refuses when a run with another card was interrupted and could go on."""
    note, before = checkpoints / UNFINISHED, None
    if resume and note.is_file():
        try:
            before = read_note(checkpoints)
        except CorruptInputError as error:  # a job that is queued again must not end with this for ever
            LOG.warning("train: %s; written anew", error)
    if before is not None and before.identity != identity:
        found = newest_whole(checkpoints / before.identity)
        if found is not None:
            check_fits(found.path, before.card, card)
    write_sealed(note, {"identity": identity, "card": card})


def read_note(checkpoints: Path) -> Note:
    """Which run is under way. Raises FileNotFoundError, CorruptInputError."""
    return read_record(checkpoints / UNFINISHED, Note, "`ivr train --no-resume` begins anew, without it")


def finish(checkpoints: Path) -> None:
    """The run that `begin` noted is finished: another one may follow."""
    (checkpoints / UNFINISHED).unlink(missing_ok=True)


def load(found: Checkpoint, team: Team, model: Any, optimizer: Any) -> None:
    """Put the checkpoint's weights and optimizer state in place. Every rank calls this."""
    import torch

    if team.zero_stage:
        model.load_checkpoint(str(found.path), tag=DEEPSPEED_TAG)
        return
    state = torch.load(found.path / WEIGHTS, map_location="cpu", weights_only=True)
    team.accelerator.unwrap_model(model).load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])


def _write_state(staging: Path, team: Team, model: Any, optimizer: Any) -> None:
    import torch

    if team.zero_stage:
        model.save_checkpoint(str(staging), tag=DEEPSPEED_TAG, save_latest=False)
    elif team.is_main:
        unwrapped = team.accelerator.unwrap_model(model)
        torch.save({"model": unwrapped.state_dict(), "optimizer": optimizer.state_dict()}, staging / WEIGHTS)


def _step_folders(folder: Path) -> list[Path]:
    """In the order of their steps. A folder of another name is not ours."""
    ours = [path for path in folder.glob("step-*") if _STEP.fullmatch(path.name) and path.is_dir()]
    return sorted(ours, key=_step_of)


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _looks_whole(path: Path) -> bool:
    """Whether the marker's files are there in their sizes; hashing them all would take as long as writing them."""
    try:
        sizes = [(path / name, facts.bytes) for name, facts in read_marker(path).files.items()]
        return all(file.stat().st_size == size for file, size in sizes)
    except (FileNotFoundError, CorruptInputError):
        return False


def _is_file_as(path: Path, facts: FileFacts) -> bool:
    return path.is_file() and path.stat().st_size == facts.bytes and sha256_file(path) == facts.sha256
