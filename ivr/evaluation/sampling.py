"""What a model writes by itself: does it use the new tokens, and how many bytes does a token of it make?

Nothing is timed: models of one size take one time a token, whatever their tokenizers, and a clock on a machine that
does other things would tell two equal models apart. Bytes a token is the whole difference.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Sample:
    """ids_BT: what was drawn, without the id it began from."""

    ids_BT: np.ndarray

    def results(self, bytes_per_token_V: np.ndarray) -> dict[str, Any]:
        num_bytes = int(bytes_per_token_V[self.ids_BT].sum())
        return {"tokens": self.ids_BT.size, "bytes": num_bytes, "bytes_per_token": num_bytes / self.ids_BT.size}


def sample(model: Any, start_id: int, count: int, length: int, seed: int, device: Any) -> Sample:
    """Draw `count` texts of `length` tokens from the model's own distribution, each begun as a document is.

    A text that ends goes on with another one, so that all models write equally many tokens.
    """
    model.eval()
    dice = torch.Generator().manual_seed(seed)  # on the CPU: the same numbers on every device
    ids_B1 = torch.full((count, 1), start_id, dtype=torch.int64, device=device)
    drawn, past = [], None
    with torch.no_grad():
        for _ in range(length):
            output = model(input_ids=ids_B1, past_key_values=past, use_cache=True)
            past = output.past_key_values
            shares_BV = torch.softmax(output.logits[:, -1].double(), dim=-1)
            # inverse of the distribution function
            points_B1 = torch.rand((count, 1), generator=dice, dtype=torch.float64).to(device)
            cumulated_BV = shares_BV.cumsum(dim=-1)
            ids_B1 = torch.searchsorted(cumulated_BV, points_B1 * cumulated_BV[:, -1:], right=True)
            ids_B1 = ids_B1.clamp(max=shares_BV.shape[-1] - 1)
            drawn.append(ids_B1)
    return Sample(torch.cat(drawn, dim=1).cpu().numpy())


def new_token_figures(
    sampled: np.ndarray, documents: Sequence[tuple[str, Sequence[int]]], new_ids: Collection[int]
) -> dict[str, Any]:
    """How much of what was drawn, and of the held-out documents (text, ids), is new tokens; how many different ones."""
    chosen = np.array(sorted(new_ids), dtype=np.int64)
    text = np.concatenate([np.asarray(ids, dtype=np.int64) for _, ids in documents] or [np.empty(0, dtype=np.int64)])
    figures: dict[str, Any] = {"new_tokens": len(chosen)}
    for where, ids in (("sampled", sampled.ravel()), ("in_text", text)):
        new = ids[np.isin(ids, chosen)]
        figures[f"new_token_share_{where}"] = len(new) / len(ids) if len(ids) else None
        figures[f"different_new_tokens_{where}"] = len(np.unique(new))
    return figures
