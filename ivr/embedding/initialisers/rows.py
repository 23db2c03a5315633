"""How the row of a new token is made from the matrix alone. Every initialiser is a pure function `Problem -> rows_KD`.

Rows are float64. Sums run in numpy, in one thread and in a fixed order, so that the result does not depend on the
machine's number of cores. Initialisers that read text or run the model: focus.py and distillation.py; the table of
all of them: strategies.py. E is the matrix, t a new token, p_1..p_n its pieces under the ORIGINAL tokenizer.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

ROWS_AT_ONCE = 8192
DECAY = 0.5  # g of `weighted`
INPUT_SHARE = 0.5  # l of `weighted` where one matrix has both roles
JITTER = 1e-6  # of the mean variance, added in `gaussian`: a matrix with fewer rows than columns has a singular Sigma


@dataclass(frozen=True)
class Problem:
    """What an initialiser may use.

    base_VD: the base model's matrix (any float dtype), rows by ORIGINAL id.
    new_ids: the K ids to fill, sorted.
    kept_ids: rows of base_VD whose token stays; neither new ones nor padding.
    pieces: for each new id, the ids of the ORIGINAL tokenizer's encoding of the new token (leading blank kept).
    spread: `initializer_range` of the model's config.
    seed, stream: two matrices of one model (input embeddings 0, an untied head 1) draw from different streams.
    role: what the matrix is in its model: "both" where the head is tied, else "input" or "output".
    """

    base_VD: torch.Tensor
    new_ids: Sequence[int]
    kept_ids: Sequence[int]
    pieces: Sequence[Sequence[int]]
    spread: float
    seed: int
    stream: int = 0
    role: str = "both"

    @property
    def shape(self) -> tuple[int, int]:
        """(K, D)."""
        return len(self.new_ids), self.base_VD.shape[1]

    def draw(self) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, self.stream]))


Initialiser = Callable[[Problem], np.ndarray]


def mean(problem: Problem) -> np.ndarray:
    """The mean of all kept rows, for every new token: x_t = (1/n) sum over kept o of E[o]."""
    mean_D = mean_row(problem.base_VD, problem.kept_ids)
    return np.tile(mean_D, (len(problem.new_ids), 1))


def random(problem: Problem) -> np.ndarray:
    """Independent draws from N(0, spread^2), as GPT-2's own `_init_weights` draws them (a control)."""
    return problem.draw().normal(0.0, problem.spread, problem.shape)


def zeros(problem: Problem) -> np.ndarray:
    """Zero rows (a control). In a tied head a zero row has logit 0, which can be far above every other logit."""
    return np.zeros(problem.shape)


def keep(problem: Problem) -> np.ndarray:
    """The row of the token that left the id, x_t = E[t's id]: nothing is done (the baseline others have to beat)."""
    return problem.base_VD[list(problem.new_ids)].to(torch.float64).numpy()


def pieces(problem: Problem) -> np.ndarray:
    """The mean of the rows of the token's pieces: x_t = (1/n) sum_j E[p_j] (Gee et al. 2022, fast vocabulary transfer).

    As a convex combination of trained rows its logit never exceeds the largest of its pieces' logits.
    """
    return _combine(problem, lambda n: np.full(n, 1 / n))


def weighted(problem: Problem) -> np.ndarray:
    """Role-weighted pieces (AdaptiVocab, 2503.19693): x_t = l sum_j a_j E[p_j] + (1 - l) sum_j b_j E[p_j].

    a_j ~ g^(n-j), b_j ~ g^(j-1), both normalised, g = 1/2: as input a token stands mostly for its last piece, which the
    model read last; as output it is predicted mostly where its first piece was. l is 1/2 in a tied matrix, 1 in an
    untied input matrix, 0 in an untied head.
    """
    share = {"both": INPUT_SHARE, "input": 1.0, "output": 0.0}[problem.role]

    def weights(n: int) -> np.ndarray:
        output_n = DECAY ** np.arange(n)
        output_n /= output_n.sum()
        return share * output_n[::-1] + (1 - share) * output_n

    return _combine(problem, weights)


def gaussian(problem: Problem) -> np.ndarray:
    """Draws from N(mu, Sigma), mean and covariance of the kept rows (Hewitt 2021, "Initializing new word embeddings").

    Drawn as mu + L z with Sigma = L L^T (Cholesky) and z ~ N(0, I).
    """
    mean_D = mean_row(problem.base_VD, problem.kept_ids)
    sigma_DD = np.zeros((problem.shape[1], problem.shape[1]))
    for rows_ND in _blocks(problem.base_VD, problem.kept_ids):
        sigma_DD += (rows_ND - mean_D).T @ (rows_ND - mean_D)
    sigma_DD /= len(problem.kept_ids)
    variance = float(np.trace(sigma_DD)) / len(sigma_DD)
    if variance == 0:
        return np.tile(mean_D, (len(problem.new_ids), 1))
    factor_DD = np.linalg.cholesky(sigma_DD + JITTER * variance * np.eye(len(sigma_DD)))
    return mean_D + problem.draw().standard_normal(problem.shape) @ factor_DD.T


def mean_row(matrix_VD: torch.Tensor, ids: Sequence[int]) -> np.ndarray:
    """The mean over the rows `ids`, summed in float64 in the order given. Shape (D,)."""
    total_D = np.zeros(matrix_VD.shape[1])
    for rows_ND in _blocks(matrix_VD, ids):
        total_D += rows_ND.sum(axis=0)
    return total_D / len(ids)


def _blocks(matrix_VD: torch.Tensor, ids: Sequence[int]) -> Iterator[np.ndarray]:
    """The rows `ids` as float64, some thousands at a time."""
    for start in range(0, len(ids), ROWS_AT_ONCE):
        yield matrix_VD[list(ids[start : start + ROWS_AT_ONCE])].to(torch.float64).numpy()


def _combine(problem: Problem, weights: Callable[[int], np.ndarray]) -> np.ndarray:
    """x_t = sum_j w_j E[p_j] with w = weights(number of pieces)."""
    rows_KD = np.empty(problem.shape)
    for k, ids in enumerate(problem.pieces):
        rows_nD = problem.base_VD[list(ids)].to(torch.float64).numpy()
        rows_KD[k] = (weights(len(ids))[:, None] * rows_nD).sum(axis=0)
    return rows_KD


def fill_rows(aligned_VD: torch.Tensor, new_ids: Sequence[int], rows_KD: np.ndarray) -> None:
    """Write `rows_KD` at `new_ids`, in place (a second copy of the matrix may not fit), rounded once to its dtype."""
    if len(new_ids):
        aligned_VD[list(new_ids)] = torch.from_numpy(rows_KD).to(aligned_VD.dtype)
