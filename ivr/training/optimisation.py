"""AdamW's parameter groups and the learning rate of each step."""

import math
from typing import Any

import torch

BETAS = (0.9, 0.95)
FINAL_SHARE = 0.1  # of the peak, where the cosine ends


def learning_rate(step: int, max_steps: int, warmup_steps: int, peak: float) -> float:
    """Of 0-based `step`: linear from peak/warmup_steps up to the peak, then a cosine down to a tenth of it.

    >>> [round(learning_rate(step, 10, 2, 1.0), 3) for step in (0, 1, 2, 9)]
    [0.5, 1.0, 1.0, 0.1]
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, max_steps - 1 - warmup_steps)
    return peak * (FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def make_optimizer(model: torch.nn.Module, peak: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW; biases and LayerNorm weights (1-d parameters) are not decayed."""
    groups: list[dict[str, Any]] = [
        # the shape is that of the whole parameter, also where ZeRO-3 has taken the values away
        {"params": [p for p in model.parameters() if _dimensions(p) >= 2], "weight_decay": weight_decay},
        {"params": [p for p in model.parameters() if _dimensions(p) < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=peak, betas=BETAS, eps=1e-8)


def _dimensions(parameter: torch.nn.Parameter) -> int:
    return len(getattr(parameter, "ds_shape", parameter.shape))
