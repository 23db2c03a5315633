"""What a model writes by itself: does it use the new tokens, and how many bytes a second does it produce?"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

WARM_UP_TOKENS = 4


@dataclass(frozen=True)
class Sample:
    """ids_BT: what was drawn, without the end-of-text id it began from."""

    ids_BT: np.ndarray
    seconds: float

    def speed(self, bytes_per_token_V: np.ndarray) -> dict[str, float]:
        return {
            "tokens_per_second": round(self.ids_BT.size / self.seconds, 2),
            "bytes_per_second": round(int(bytes_per_token_V[self.ids_BT].sum()) / self.seconds, 2),
        }

    def results(self, bytes_per_token_V: np.ndarray) -> dict[str, Any]:
        num_bytes = int(bytes_per_token_V[self.ids_BT].sum())
        return {"tokens": self.ids_BT.size, "bytes": num_bytes, "bytes_per_token": num_bytes / self.ids_BT.size}


def sample(model: Any, end_id: int, count: int, length: int, seed: int, device: Any) -> Sample:
    """Draw `count` texts of `length` tokens from the model's own distribution, each begun as a document is.

    A text that ends goes on with another one, so that all models write equally many tokens.
    """
    model.eval()
    _draw(model, end_id, count, min(length, WARM_UP_TOKENS), seed, device)
    started = time.perf_counter()
    ids_BT = _draw(model, end_id, count, length, seed, device)
    return Sample(ids_BT, time.perf_counter() - started)


def _draw(model: Any, end_id: int, count: int, length: int, seed: int, device: Any) -> np.ndarray:
    dice = torch.Generator().manual_seed(seed)  # on the CPU: the same numbers on every device
    ids_B1 = torch.full((count, 1), end_id, dtype=torch.int64, device=device)
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
    return torch.cat(drawn, dim=1).cpu().numpy()


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
