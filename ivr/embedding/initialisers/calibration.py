r"""`calibrated`: a new token is as likely as its first piece, times how often the rest of it follows that piece.

    head     E[p_1] + log p(rest | p_1) w      input     E[p_n]

The state h in which a text goes on with the new token t is the one in which it went on with p_1, so t's logit should be
that of p_1 plus log p(rest | p_1), which is counted in the training text. A head without a bias has a direction that
serves as one: w with h.w close to 1 for every last state h (ridge regression on some thousand states). The token is
read where its last piece was read, and that row tells best what stands there. Where one matrix has both roles it is a
mixture, whose shares were chosen on SmolLM2-135M.
"""

from collections.abc import Sequence

import numpy as np
import torch

from ivr.embedding.initialisers.body import Body
from ivr.embedding.initialisers.rows import Problem, pieces
from ivr.embedding.initialisers.snippets import Snippet

RIDGE = 1e-3  # of the mean square of a state's coordinate
STATES = 4096  # that the direction is fitted to
HEAD_SHARE, FIRST_SHARE, BIAS_SHARE = 0.7, 0.8, 0.5  # of one matrix in both roles; within the head's share


def bias_direction(states_ND: np.ndarray) -> np.ndarray:
    """w (D,) in float64 that minimises |H w - 1|^2 + r |w|^2: a term that a head can add to every logit of a row.

    >>> bias_direction(np.array([[1.0, 2.0], [1.0, -2.0]])).round(2).tolist()
    [1.0, 0.0]
    """
    states_ND = states_ND.astype(np.float64)
    second_DD = states_ND.T @ states_ND / len(states_ND)
    ridge = RIDGE * np.trace(second_DD) / len(second_DD)
    return np.linalg.solve(second_DD + ridge * np.eye(len(second_DD)), states_ND.mean(axis=0))


def last_states(body: Body, base_VD: torch.Tensor, snippets: Sequence[Snippet]) -> np.ndarray:
    """Last states of the frozen model on the teacher's side of the first snippets, about STATES of them, (N, D)."""
    found: list[np.ndarray] = []
    held = 0
    with torch.no_grad():
        for snippet in snippets:
            if held >= STATES:
                break
            rows_TD = base_VD[torch.from_numpy(snippet.teacher)].to(body.device, torch.float32)
            found.append(body.hidden(rows_TD[None])[0].cpu().numpy())
            held += len(snippet.teacher)
    return np.concatenate(found) if found else np.zeros((0, base_VD.shape[1]), np.float32)


def rest_shares(
    documents: Sequence[np.ndarray], new_ids: Sequence[int], spelt: Sequence[Sequence[int]], sources: np.ndarray
) -> np.ndarray:
    """p(rest | first piece) of every new token (K,), with half an occurrence added: never 0, never 1.

    documents: remapped ids; spelt: pieces by original id; sources: the base row of each remapped id. A first piece
    occurs where it stands alone and where a new token begins with it.

    >>> rest_shares([np.array([9, 9, 9, 1])], [9], [[1, 2]], np.arange(10)).tolist()  # (3 + 0.5) / (4 + 1)
    [0.7]
    """
    counts_V = np.bincount(np.concatenate([*documents, np.zeros(0, np.int64)]), minlength=len(sources))
    is_new_V = np.zeros(len(sources), bool)
    is_new_V[list(new_ids)] = True
    firsts_K = np.array([ids[0] for ids in spelt], np.int64)
    occurs = np.bincount(sources[~is_new_V], counts_V[~is_new_V], max(int(sources.max()), firsts_K.max(initial=0)) + 1)
    np.add.at(occurs, firsts_K, counts_V[list(new_ids)])
    return (counts_V[list(new_ids)] + 0.5) / (occurs[firsts_K] + 1)


def calibrated(problem: Problem, shares_K: np.ndarray, bias_D: np.ndarray) -> np.ndarray:
    """The rows (K, D) by the matrix's role; of a head with a bias, its last column, the bias takes the logarithm."""
    matrix_VD = problem.base_VD
    last_KD, first_KD = (
        matrix_VD[[ids[place] for ids in problem.pieces]].to(torch.float64).numpy() for place in (-1, 0)
    )
    if problem.role == "input":
        return last_KD
    has_bias = problem.shape[1] == len(bias_D) + 1
    shift_KD = np.log(shares_K)[:, None] * (np.eye(1, problem.shape[1], len(bias_D))[0] if has_bias else bias_D)
    if problem.role == "output":
        return first_KD + shift_KD
    head_KD = FIRST_SHARE * first_KD + (1 - FIRST_SHARE) * pieces(problem) + BIAS_SHARE * shift_KD
    return HEAD_SHARE * head_KD + (1 - HEAD_SHARE) * last_KD
