"""How the row of a new token is made. Every initialiser is a pure function `Problem -> rows_KD` (float64).

A strategy is one entry of INITIALISERS: `--init-strategy`, its help text and the tests read that table. Sums run in
numpy, in one thread and in a fixed order, so that the result does not depend on the machine's number of cores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Problem:
    """What an initialiser may use.

    base_VD: the base model's matrix (any float dtype), rows by ORIGINAL id.
    new_ids: the K ids to fill, sorted.
    kept_ids: ids whose token stays; neither new ones nor padding.
    pieces: for each new id, the ids of the ORIGINAL tokenizer's encoding of the new token (leading blank kept).
    spread: `initializer_range` of the model's config.
    seed, stream: two matrices of one model (wte 0, an untied head 1) draw from different streams.
    """

    base_VD: torch.Tensor
    new_ids: Sequence[int]
    kept_ids: Sequence[int]
    pieces: Sequence[Sequence[int]]
    spread: float
    seed: int
    stream: int = 0


Initialiser = Callable[[Problem], np.ndarray]


def mean(problem: Problem) -> np.ndarray:
    """The mean of all kept rows, for every new token: x_t = (1/n) sum over kept o of E[o]."""
    mean_D = mean_row(problem.base_VD, problem.kept_ids)
    return np.tile(mean_D, (len(problem.new_ids), 1))


def random(problem: Problem) -> np.ndarray:
    """Independent draws from N(0, spread^2), as GPT-2's own `_init_weights` draws them (a control)."""
    generator = np.random.Generator(np.random.PCG64([problem.seed, problem.stream]))
    return generator.normal(0.0, problem.spread, (len(problem.new_ids), problem.base_VD.shape[1]))


def zeros(problem: Problem) -> np.ndarray:
    """Zero rows (a control). In a tied head a zero row has logit 0, which can be far above every other logit."""
    return np.zeros((len(problem.new_ids), problem.base_VD.shape[1]))


def pieces(problem: Problem) -> np.ndarray:
    """The mean of the rows of the token's pieces: x_t = (1/n) sum_j E[p_j] (Gee et al. 2022, fast vocabulary transfer).

    As a convex combination of trained rows its logit never exceeds the largest of its pieces' logits.
    """
    rows_KD = np.empty((len(problem.new_ids), problem.base_VD.shape[1]))
    for k, ids in enumerate(problem.pieces):
        rows_KD[k] = mean_row(problem.base_VD, ids)
    return rows_KD


INITIALISERS: dict[str, Initialiser] = {"mean": mean, "random": random, "zeros": zeros, "pieces": pieces}


def mean_row(matrix_VD: torch.Tensor, ids: Sequence[int]) -> np.ndarray:
    """The mean over the rows `ids`, summed in float64 in the order given. Shape (D,)."""
    total_D = np.zeros(matrix_VD.shape[1])
    for start in range(0, len(ids), ROWS_AT_ONCE):
        rows = matrix_VD[list(ids[start : start + ROWS_AT_ONCE])]
        total_D += rows.to(torch.float64).numpy().sum(axis=0)
    return total_D / len(ids)


def fill_rows(aligned_VD: torch.Tensor, new_ids: Sequence[int], rows_KD: np.ndarray) -> torch.Tensor:
    """A copy of `aligned_VD` with `rows_KD` at `new_ids`, rounded once to the matrix's dtype."""
    final_VD = aligned_VD.clone()
    if len(new_ids):
        final_VD[list(new_ids)] = torch.from_numpy(rows_KD).to(aligned_VD.dtype)
    return final_VD
