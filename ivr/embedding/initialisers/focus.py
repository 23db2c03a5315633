"""`focus`: a new row is a sparse mixture of the kept rows whose tokens stand in similar places in the domain text.

FOCUS (Dobler and de Melo 2023): x_t = sum over kept o of w_o E[o], w = sparsemax of cos(f_t, f_o), with f static
vectors of the tokens trained on the domain text under the NEW tokenizer. The paper trains fastText; here f are the
leading singular vectors of the positive pointwise mutual information of tokens within a window, which skip-gram vectors
approximate (Levy and Goldberg 2014): there is no random start, so the same text gives the same vectors.
"""

from collections.abc import Sequence

import numpy as np
import torch

from ivr.console import LOG, track
from ivr.embedding.initialisers.rows import Problem, pieces

WINDOW = 5
DIMENSIONS = 100
SMOOTHING = 0.75  # of the context's counts (Levy, Goldberg and Dagan 2015): rare contexts weigh less
MIN_COUNT = 3  # a token seen less often has no vector worth the name


def static_vectors(documents: Sequence[np.ndarray], num_ids: int, dimensions: int = DIMENSIONS) -> np.ndarray:
    """(V, S) float64 vectors of length 1 by id; a zero vector for ids seen less than MIN_COUNT times.

    M_ij = max(0, log(p(i, j) / (p(i) q(j)))) with q(j) ~ p(j)^0.75, where a pair at a distance d counts
    1 - (d - 1) / WINDOW; M ~ U S V^T, and the vector of i is row i of U S^(1/2).
    """
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.linalg import svds

    counts_V = np.bincount(np.concatenate([*documents, np.zeros(0, dtype=np.int64)]), minlength=num_ids)
    seen = np.flatnonzero(counts_V >= MIN_COUNT)
    vectors_VS = np.zeros((num_ids, dimensions))
    rank = min(dimensions, len(seen) - 2)  # svds finds fewer than all of them
    if rank < 1:
        return vectors_VS
    place_V = np.full(num_ids, -1)
    place_V[seen] = np.arange(len(seen))
    joint = csr_array((len(seen), len(seen)))
    # documents one after another, WINDOW blanks between: no pair reaches across
    gap = np.full(WINDOW, -1)
    line = np.concatenate([part for ids in documents for part in (place_V[ids], gap)])
    for distance in range(1, WINDOW + 1):
        left, right = line[:-distance], line[distance:]
        both = (left >= 0) & (right >= 0)
        weight = np.full(int(both.sum()), 1 - (distance - 1) / WINDOW)
        joint = joint + coo_array((weight, (left[both], right[both])), shape=joint.shape).tocsr()
    joint = (joint + joint.T).tocoo()
    row_n = np.asarray(joint.sum(axis=1)).ravel()
    context_n = row_n**SMOOTHING
    context_n /= context_n.sum()
    i, j = joint.coords
    information = np.log(joint.data / (row_n[i] * context_n[j]))
    positive = information > 0
    matrix = csr_array((information[positive], (i[positive], j[positive])), shape=joint.shape)
    if matrix.nnz == 0:
        return vectors_VS
    start = np.full(len(seen), 1 / np.sqrt(len(seen)))  # ARPACK's own start is random
    u, s, _ = svds(matrix, k=rank, v0=start)
    found = u * np.sqrt(s)
    lengths = np.sqrt((found * found).sum(axis=1, keepdims=True))
    vectors_VS[seen, : found.shape[1]] = np.divide(found, lengths, out=np.zeros_like(found), where=lengths > 1e-12)
    return vectors_VS


def sparsemax(scores_KN: np.ndarray) -> np.ndarray:
    """The Euclidean projection of each row onto the simplex (Martins and Astudillo 2016): many weights are exactly 0.

    >>> sparsemax(np.array([[1.0, 0.9, 0.1]]))
    array([[0.55, 0.45, 0.  ]])
    """
    ordered_KN = -np.sort(-scores_KN, axis=1)
    above_KN = np.cumsum(ordered_KN, axis=1) - 1
    counts_N = np.arange(1, scores_KN.shape[1] + 1)
    size_K = (ordered_KN * counts_N > above_KN).sum(axis=1)
    threshold_K = above_KN[np.arange(len(scores_KN)), size_K - 1] / size_K
    return np.maximum(scores_KN - threshold_K[:, None], 0)


def focus(problem: Problem, vectors_VS: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """FOCUS rows (K, D). `vectors_VS`: by remapped id; `sources`: for each id, its row in the base matrix.

    A token without a vector, or unlike every kept one, gets the mean of its pieces.
    """
    rows_KD = pieces(problem)
    kept_rows = set(problem.kept_ids)
    new = set(problem.new_ids)
    candidates = np.array(
        [i for i in np.flatnonzero(vectors_VS.any(axis=1)) if i not in new and int(sources[i]) in kept_rows], dtype=int
    )
    with_vector = [k for k, token_id in enumerate(problem.new_ids) if vectors_VS[token_id].any()]
    if not len(candidates):
        return rows_KD
    for k in track(with_vector, "focus", total=len(with_vector), unit="row"):
        cosines_N = vectors_VS[candidates] @ vectors_VS[problem.new_ids[k]]
        if cosines_N.max() <= 0:
            continue
        weights_N = sparsemax(cosines_N[None, :])[0]
        used = np.flatnonzero(weights_N)
        rows_nD = problem.base_VD[sources[candidates[used]].tolist()].to(torch.float64).numpy()
        rows_KD[k] = (weights_N[used, None] * rows_nD).sum(axis=0)
    LOG.debug("focus: %d of %d new tokens have vectors", len(with_vector), len(problem.new_ids))
    return rows_KD
