"""AdamW's parameter groups, and what each group's learning rate and decay are at each step."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from ivr.training.phases import embedding_matrices

BETAS = (0.9, 0.95)
FINAL_SHARE = 0.1  # of the peak, where the cosine ends
EMBEDDINGS, MATRICES, VECTORS = "embeddings", "matrices", "vectors"
HEAD_BIAS = "bias of the head"  # learns as the embeddings do, decays as little as vectors do


def learning_rate(step: int, max_steps: int, warmup_steps: int, peak: float) -> float:
    """Of 0-based `step`: linear from peak/warmup_steps up to the peak, then a cosine down to a tenth of it.

    >>> [round(learning_rate(step, 10, 2, 1.0), 3) for step in (0, 1, 2, 9)]
    [0.5, 1.0, 1.0, 0.1]
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, max_steps - 1 - warmup_steps)
    return peak * (FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


@dataclass(frozen=True)
class Schedule:
    """Steps [0, rows_steps) train rows alone, the others everything; each phase has its warm-up and its cosine."""

    max_steps: int
    warmup_steps: int
    lr: float
    weight_decay: float
    rows_steps: int = 0
    rows_lr: float = 0.0
    embeddings_lr: float | None = None  # of input embeddings and head where all is trained; None: lr

    def rows_alone(self, step: int) -> bool:
        return step < self.rows_steps

    def rate(self, step: int, embeddings: bool = False) -> float:
        """The learning rate at 0-based `step`: of the embedding matrices, or of all else."""
        if self.rows_alone(step):
            return learning_rate(step, self.rows_steps, self.warmup_steps, self.rows_lr)
        rest, peak = self.max_steps - self.rows_steps, self.lr
        if embeddings and self.embeddings_lr is not None:
            peak = self.embeddings_lr
        return learning_rate(step - self.rows_steps, rest, self.warmup_steps, peak)

    def apply(self, groups: list[dict[str, Any]], step: int) -> None:
        """Set lr and weight_decay of the optimizer's groups for 0-based `step`."""
        rows_alone = self.rows_alone(step)
        for group in groups:
            embeddings = group["name"] in (EMBEDDINGS, HEAD_BIAS)
            group["lr"] = self.rate(step, embeddings) if embeddings or not rows_alone else 0.0
            decays = group["name"] not in (VECTORS, HEAD_BIAS) and not (embeddings and rows_alone)
            group["weight_decay"] = self.weight_decay if decays else 0.0


def make_optimizer(model: Any, schedule: Schedule) -> torch.optim.Optimizer:
    """AdamW over what is to be trained; biases and LayerNorm weights (1-d parameters) are not decayed."""
    matrices = {id(parameter) for parameter in embedding_matrices(model)}
    members: dict[str, list[torch.nn.Parameter]] = {EMBEDDINGS: [], MATRICES: [], VECTORS: [], HEAD_BIAS: []}
    for parameter in model.parameters():
        if parameter.requires_grad:
            is_matrix, is_rows = _dimensions(parameter) >= 2, id(parameter) in matrices
            name = (EMBEDDINGS if is_matrix else HEAD_BIAS) if is_rows else MATRICES if is_matrix else VECTORS
            members[name].append(parameter)
    groups: list[dict[str, Any]] = [{"params": found, "name": name} for name, found in members.items() if found]
    optimizer = torch.optim.AdamW(groups, lr=schedule.lr, betas=BETAS, eps=1e-8)
    schedule.apply(optimizer.param_groups, 0)
    return optimizer


def _dimensions(parameter: torch.nn.Parameter) -> int:
    # the shape is that of the whole parameter, also where ZeRO-3 has taken the values away
    return len(getattr(parameter, "ds_shape", parameter.shape))
