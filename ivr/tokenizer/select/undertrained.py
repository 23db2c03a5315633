"""Under-trained rows of the embedding matrix go first among ids that cost the same (Land & Bartolo 2024).

Training moves a row that occurs; one that never does only drifts with all others of its kind. Bytes that UTF-8 never
uses (0xC0, 0xC1, 0xF5 to 0xFF) occur in no text, so the mean of their rows shows where untrained rows lie, and the
cosine distance from it how much a row has learnt.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ivr.encoding.text.missing_bytes import NEVER_IN_UTF8

_READABLE = ("F16", "F32", "F64")


def read_wte(model_file: Path, num_ids: int) -> np.ndarray | None:
    """The first `num_ids` rows of `wte` of a safetensors file, float64 (V, D); None where it has none to read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(model_file, framework="numpy") as tensors:
            names = [name for name in tensors.keys() if name.split(".")[-2:] == ["wte", "weight"]]  # noqa: SIM118
            if len(names) != 1 or tensors.get_slice(names[0]).get_dtype() not in _READABLE:
                return None
            rows: np.ndarray = tensors.get_tensor(names[0])[:num_ids].astype(np.float64)
    except (SafetensorError, OSError):
        return None
    return rows if len(rows) == num_ids and np.isfinite(rows).all() else None


def distances_from_unused(wte_VD: np.ndarray, tokens: Sequence[bytes]) -> np.ndarray | None:
    """Cosine distance of every row from the mean row of bytes that no text holds, (V,); None without such bytes."""
    unused = [i for i, token in enumerate(tokens) if len(token) == 1 and token[0] in NEVER_IN_UTF8]
    if not unused:
        return None
    mean_D = wte_VD[unused].mean(axis=0)
    norms_V = np.linalg.norm(wte_VD, axis=1) * np.linalg.norm(mean_D)
    # a row of zeros has learnt nothing
    cosine_V = np.divide(wte_VD @ mean_D, norms_V, out=np.ones(len(wte_VD)), where=norms_V > 0)
    return 1 - cosine_V


def eviction_order(droppable: Sequence[int], used_V: np.ndarray, distances_V: np.ndarray | None) -> list[int]:
    """`droppable` in the order in which ids that cost the same leave.

    Ids that are never produced, then the others; among each the least trained first, or, without weights, the one
    learnt last: merge ranks are ordered by frequency.
    """

    def key(token_id: int) -> tuple[bool, float, int]:
        return bool(used_V[token_id]), 0.0 if distances_V is None else float(distances_V[token_id]), -token_id

    return sorted(droppable, key=key)
