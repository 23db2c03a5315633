"""What a control has as much of as the trained model had, and the options of `ivr train` that give it that."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ivr.artifacts import ArtifactPaths
from ivr.errors import ConfigError
from ivr.training.options import Config

# of the training that is compared with; all that concerns new rows is left out, and how long is said anew
KEPT = (
    "cleaned_corpora_dir", "heldout_corpora_dir", "replay_corpus", "replay_ratio", "block_size", "batch_size", "lr",
    "embeddings_lr", "warmup_steps", "weight_decay", "max_grad_norm", "seed", "max_loss_rise", "threads", "device",
    "precision", "gradient_checkpointing", "torch_compile", "deepspeed", "eval_every", "eval_bytes", "save_every",
    "keep_checkpoints",
)  # fmt: skip


def control_config(
    paths: ArtifactPaths, arm: str, recorded: Mapping[str, Any], budget: Mapping[str, int], processes: int
) -> Config:
    """Options of the training of one arm.

    Args:
        paths: of the run that is compared with.
        arm: one of `ivr.artifacts.CONTROL_ARMS`; names the folder.
        recorded: the options of its `ivr train`, as the manifest has them.
        budget: how long: {"max_bytes": N} or {"max_tokens": N}.
        processes: which read as many blocks a step, together, as those of the recorded training did.

    Returns:
        Of `ivr train`, in an artifacts directory of its own.

    Raises:
        ConfigError: an option of the manifest is none of this version.
    """
    kinds = {item.name: str(item.type) for item in fields(Config)}
    kept = {name: recorded[name] for name in KEPT if recorded.get(name) is not None}
    options: dict[str, Any] = {name: Path(value) if "Path" in kinds[name] else value for name, value in kept.items()}
    below = paths.control(arm).root
    options.setdefault("cleaned_corpora_dir", paths.cleaned_corpora)
    options |= {"artifacts_dir": below, "model_name": paths.base_model}
    if paths.heldout_corpora.is_dir():
        options.setdefault("heldout_corpora_dir", paths.heldout_corpora)
    if recorded.get("replay_ratio") and "replay_corpus" not in options:
        options["replay_corpus"] = paths.general_cleaned
    return Config(**{**options, **budget}, processes=processes)


def accumulation(blocks_at_once: int, processes: int) -> int:
    """Batches a process adds up, so that a step reads the same blocks. Raises ConfigError where that is no number.

    blocks_at_once: processes x gradient accumulation of the training that is compared with.

    >>> accumulation(blocks_at_once=8, processes=2)
    4
    """
    if blocks_at_once % processes:
        raise ConfigError(
            f"--processes {processes}: `ivr train` added up {blocks_at_once} batches a step (processes x "
            "--gradient-accumulation), which so many processes cannot share alike"
        )
    return blocks_at_once // processes


def initialising_flops(found: Mapping[str, Any], num_multiplied: int) -> float:
    """FLOPs that `ivr align` took for the new rows.

    Args:
        found: `distilled_from` of its results; empty for an initialiser that runs no model.
        num_multiplied: elements of the matrices a token is multiplied with, the head among them.

    Returns:
        4 N for a token of the student (forward, and backward to the rows alone), 2 N for one of the teacher or of text
        on which rows are judged (forward). Attention is left out: the texts are short.

    >>> initialising_flops({"student_tokens": 10, "teacher_tokens": 12, "epochs": 2, "judged_tokens": 5}, 100)
    13800.0
    """
    epochs = found.get("epochs", 1)
    learnt, read = found.get("student_tokens", 0) * epochs, found.get("teacher_tokens", 0) * epochs
    return 4.0 * num_multiplied * learnt + 2.0 * num_multiplied * (read + found.get("judged_tokens", 0))
