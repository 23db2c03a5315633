"""Checkpoints that are whole or absent.

    checkpoints/<identity>/step-00000100/   weights and optimizer (training.pt, or DeepSpeed's own files),
                                            metrics.jsonl up to that step, and complete.json

A checkpoint is staged, marked by `complete.json` (sizes and hashes of all its files) and renamed into place. One
folder per identity (options and input hashes), so that trying another learning rate costs no earlier run its state.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.artifacts import atomic_directory, files_below, sha256_file, write_json
from ivr.console import LOG
from ivr.errors import ConfigError
from ivr.training.processes import Team

MARKER, WEIGHTS, METRICS, DEEPSPEED_TAG = "complete.json", "training.pt", "metrics.jsonl", "deepspeed"


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on disk."""

    path: Path
    step: int
    world_size: int
    kind: str
    zero_stage: int


def save(folder: Path, step: int, team: Team, model: Any, optimizer: Any, metrics: Path, keep: int) -> Path:
    """Write the checkpoint of `step` and drop all but the newest `keep`. Every rank calls this."""
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
        facts = {"step": step, "world_size": team.size, "kind": team.kind, "zero_stage": team.zero_stage}
        write_json(staging / MARKER, {**facts, "files": files})
    for old in _step_folders(folder)[:-keep]:
        shutil.rmtree(old)
    team.wait()  # nobody goes on before the checkpoint is in place
    return target


def newest_whole(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose files are all what its marker says; damaged ones are named and passed over."""
    for path in reversed(_step_folders(folder)):
        try:
            marker = json.loads((path / MARKER).read_text(encoding="utf-8"))
            damaged = [name for name, facts in marker["files"].items() if not _is_file_as(path / name, facts)]
            if not damaged:
                return Checkpoint(path, marker["step"], marker["world_size"], marker["kind"], marker["zero_stage"])
            LOG.warning("train: %s is damaged (%s), looking for an older one", path, damaged[0])
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            LOG.warning("train: %s is no whole checkpoint (%r), looking for an older one", path, error)
    return None


def check_fits(found: Checkpoint, team: Team) -> None:
    """Refuse a checkpoint of another number of processes or another kind of run; ZeRO's parts are tied to both."""
    for what, before, now in (
        ("processes", found.world_size, team.size),
        ("kind of run", f"{found.kind} ZeRO-{found.zero_stage}", f"{team.kind} ZeRO-{team.zero_stage}"),
    ):
        if before != now:
            raise ConfigError(
                f"{found.path} was made with {what}: {before}, this run has {now}; "
                "start it the same way, or begin anew with --no-resume"
            )


def load(found: Checkpoint, team: Team, model: Any, optimizer: Any) -> None:
    """Put the checkpoint's weights and optimizer state in place. Every rank calls this."""
    import torch

    if team.kind == "DEEPSPEED":
        model.load_checkpoint(str(found.path), tag=DEEPSPEED_TAG)
        return
    state = torch.load(found.path / WEIGHTS, map_location="cpu", weights_only=True)
    team.accelerator.unwrap_model(model).load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])


def _write_state(staging: Path, team: Team, model: Any, optimizer: Any) -> None:
    import torch

    if team.kind == "DEEPSPEED":
        model.save_checkpoint(str(staging), tag=DEEPSPEED_TAG, save_latest=False)
    elif team.is_main:
        unwrapped = team.accelerator.unwrap_model(model)
        torch.save({"model": unwrapped.state_dict(), "optimizer": optimizer.state_dict()}, staging / WEIGHTS)


def _step_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def _is_file_as(path: Path, facts: dict[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == facts["bytes"] and sha256_file(path) == facts["sha256"]
