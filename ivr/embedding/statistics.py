"""How the new rows compare with the kept ones: lengths, and direction against their mean."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ivr.embedding.initialisers.rows import mean_row


def row_statistics(final_VD: torch.Tensor, kept_ids: Sequence[int], new_ids: Sequence[int]) -> dict[str, Any]:
    """Mean Euclidean norms of kept and new rows, and the mean cosine of new rows to the mean of the kept rows.

    None stands for "not defined": no new rows, or zero rows, which have no direction.
    """
    mean_D = mean_row(final_VD, kept_ids)
    kept_norms, _ = norms_and_cosines(final_VD, kept_ids, mean_D)
    new_norms, cosines = norms_and_cosines(final_VD, new_ids, mean_D)
    return {
        "new_rows": len(new_ids),
        "kept_norm_mean": _mean(kept_norms),
        "new_norm_mean": _mean(new_norms),
        "new_cosine_to_mean": _mean(cosines[np.isfinite(cosines)]),
    }


def norms_and_cosines(
    matrix_VD: torch.Tensor, ids: Sequence[int], direction_D: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(norms_K, cosines_K to `direction_D`) of the rows `ids`, in float64; the cosine of a zero row is nan."""
    norms_K, cosines_K = np.zeros(len(ids)), np.full(len(ids), np.nan)
    length = np.sqrt((direction_D * direction_D).sum())
    for k, token_id in enumerate(ids):
        row_D = matrix_VD[token_id].double().numpy()
        norms_K[k] = np.sqrt((row_D * row_D).sum())
        if norms_K[k] > 0 and length > 0:
            cosines_K[k] = (row_D * direction_D).sum() / (norms_K[k] * length)
    return norms_K, cosines_K


def _mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 6) if len(values) else None
