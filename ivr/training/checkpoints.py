"""Checkpoints that are whole or absent.

    checkpoints/<identity>/step-00000100/   weights and optimizer (training.pt, or DeepSpeed's own files),
                                            metrics.jsonl up to that step, and complete.json
    checkpoints/unfinished.json             the card of the run that was begun last, while it is not finished

A checkpoint is staged, marked by `complete.json` (sizes and hashes of all its files) and renamed into place. One
folder per identity (options and input hashes), so that trying another learning rate costs no earlier run its state.
A run's card names everything that decides its arithmetic: a run with another card does not go on from its checkpoints.
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.artifacts import atomic_directory, files_below, sha256_file, write_json
from ivr.console import LOG
from ivr.errors import ConfigError
from ivr.training.launch.processes import Team

MARKER, WEIGHTS, METRICS, DEEPSPEED_TAG = "complete.json", "training.pt", "metrics.jsonl", "deepspeed"
UNFINISHED = "unfinished.json"

_STEP = re.compile(r"step-\d+")
_NOT_WHOLE = (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError)

Card = dict[str, Any]  # what -> its value, in the words of an error message


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on disk."""

    path: Path
    step: int
    card: Card


def save(folder: Path, step: int, card: Card, team: Team, model: Any, optimizer: Any, metrics: Path, keep: int) -> Path:
    """Write the checkpoint of `step`, then drop what `superfluous` names. Every rank calls this."""
    target = folder / f"step-{step:08d}"
    if not team.is_main:
        _write_state(Path(team.share()), team, model, optimizer)
        team.wait()
        team.wait()
        return target
    with atomic_directory(target) as staging:
        team.share(str(staging))
        _write_state(staging, team, model, optimizer)
        shutil.copyfile(metrics, staging / METRICS)
        team.wait()  # every rank has written its part
        files = {
            str(path.relative_to(staging)): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
            for path in files_below(staging)
        }
        write_json(staging / MARKER, {"step": step, "card": card, "files": files})
    for old in superfluous(folder, step, keep):
        shutil.rmtree(old)
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
            marker = _read_marker(path)
            damaged = [name for name, facts in marker["files"].items() if not _is_file_as(path / name, facts)]
            if not damaged:
                return Checkpoint(path, marker["step"], marker["card"])
            LOG.warning("train: %s is damaged (%s), looking for an older one", path, damaged[0])
        except _NOT_WHOLE as error:
            LOG.warning("train: %s is no whole checkpoint (%r), looking for an older one", path, error)
    return None


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
    note = checkpoints / UNFINISHED
    before = _read_note(note) if resume else None
    if before is not None and before["identity"] != identity:
        found = newest_whole(checkpoints / before["identity"])
        if found is not None:
            check_fits(found.path, before["card"], card)
    write_json(note, {"identity": identity, "card": card})


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


def _read_marker(path: Path) -> dict[str, Any]:
    """complete.json; what it may raise is _NOT_WHOLE."""
    marker = json.loads((path / MARKER).read_text(encoding="utf-8"))
    if not isinstance(marker["step"], int) or not isinstance(marker["card"], dict) or not marker["files"]:
        raise ValueError(f"{MARKER} names no step, no card or no file")
    return dict(marker)


def _looks_whole(path: Path) -> bool:
    """Whether the marker's files are there in their sizes; hashing them all would take as long as writing them."""
    try:
        sizes = [(path / name, facts["bytes"]) for name, facts in _read_marker(path)["files"].items()]
        return all(file.stat().st_size == size for file, size in sizes)
    except _NOT_WHOLE:
        return False


def _read_note(note: Path) -> dict[str, Any] | None:
    """The card of the run that was begun last; None where there is none that can be read."""
    try:
        before = json.loads(note.read_text(encoding="utf-8"))
        return {"identity": str(before["identity"]), "card": dict(before["card"])}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        LOG.warning("train: %s cannot be read (%r), and is written anew", note, error)
        return None


def _is_file_as(path: Path, facts: dict[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == facts["bytes"] and sha256_file(path) == facts["sha256"]
