"""Training the rows of new tokens alone, for a phase or for the whole run, under every kind of run.

ZeRO cuts parameters into parts that know nothing of rows, and its optimizer takes what was there when it was built. So
nothing is taken out of the optimizer between phases. Instead, while rows alone are trained,

* a hook zeroes the gradient of every other row and of every other parameter, before any reduction over ranks;
* weight decay is off for the embedding matrices and the learning rate is 0 for all else.

Adam's state of a kept row stays 0 then, and so does its step: the row keeps its bits. A run of rows alone freezes
all but the embedding matrices, and so has neither gradients nor Adam's state for them.
"""

from collections.abc import Sequence
from typing import Any

import torch


class RowMask:
    """Gradient hooks on a model. While `.active`, only the rows `new_ids` learn: of the input embeddings, and of an
    untied head and its bias."""

    def __init__(self, model: Any, new_ids: Sequence[int]) -> None:
        self.active = False
        self._kept_V: torch.Tensor | None = None
        self._new_ids = list(new_ids)
        matrices = {id(parameter) for parameter in embedding_matrices(model)}
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.register_hook(self._only_new_rows if id(parameter) in matrices else self._nothing)

    def _only_new_rows(self, grad_VD: torch.Tensor) -> torch.Tensor:
        if not self.active:
            return grad_VD
        if self._kept_V is None or self._kept_V.device != grad_VD.device:
            kept_V = torch.ones(grad_VD.shape[0], dtype=torch.bool)
            kept_V[self._new_ids] = False
            self._kept_V = kept_V.to(grad_VD.device)
        kept = self._kept_V if grad_VD.ndim == 1 else self._kept_V[:, None]
        return grad_VD.masked_fill(kept, 0.0)  # a product would keep a NaN

    def _nothing(self, grad: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(grad) if self.active else grad


def embedding_matrices(model: Any) -> list[torch.nn.Parameter]:
    """What has a row for each token: the input embeddings, the head where it is another matrix, and its bias."""
    rows, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    own = [] if head.weight is rows else [head.weight]
    return [rows, *own, *([] if head.bias is None else [head.bias])]


def freeze_all_but_embeddings(model: Any) -> None:
    """For a run of rows alone: no gradient is computed for the other weights."""
    matrices = {id(parameter) for parameter in embedding_matrices(model)}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in matrices)


def forget_optimizer_state(optimizer: Any) -> None:
    """Adam begins anew where the second phase does: its averages of masked gradients are of no use there."""
    for state in _torch_optimizer(optimizer).state.values():
        for value in state.values():
            if isinstance(value, torch.Tensor):
                value.zero_()


def _torch_optimizer(optimizer: Any) -> Any:
    """The innermost one; accelerate and DeepSpeed each put a wrapper around it."""
    while not isinstance(optimizer, torch.optim.AdamW):
        optimizer = optimizer.optimizer
    return optimizer
