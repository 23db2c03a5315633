"""Scores of new tokens: at least what lets each be produced for its own string, whatever others are new."""

from collections.abc import Sequence

import numpy as np

from ivr.encoding.batch import Batch
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.unigram_file import NEVER


def new_token_score(split_score: int, num_bytes: int) -> int:
    """s(u) = S(u) + |u|^2, for a row that names no score, with S(u) that of u's best split into the distilled tokens.

    Because (a + b)^2 > a^2 + b^2, u beats every split of itself, whatever other new tokens have such scores too;
    elsewhere it only wins where the best segmentation had borders at its ends, or within |u|^2 of it.

    >>> new_token_score(100, 3), new_token_score(40, 1) + new_token_score(60, 2)  # three bytes, or one and two
    (109, 105)
    """
    return split_score + num_bytes**2


def best_splits(tokens: Sequence[bytes], scores_V: np.ndarray, ids: Sequence[int]) -> dict[int, int]:
    """id -> the score that its string reaches without it.

    >>> best_splits([b"a", b"b", b"ab"], np.array([2, 3, 9]), [2])
    {2: 5}
    """
    encoder = UnigramEncoder(tokens, scores_V)
    found: dict[int, int] = {}
    for group in _by_length(tokens, ids):
        before = encoder.scores_V[group].copy()
        found.update(zip(group, _totals_without(encoder, tokens, group).tolist(), strict=True))
        encoder.scores_V[group] = before
    return found


def raised_scores(tokens: Sequence[bytes], scores_V: np.ndarray, new_ids: Sequence[int]) -> np.ndarray:
    """The scores, raised where a new token's string has a split that is as good; shortest first, so once is enough.

    >>> raised_scores([b"a", b"b", b"ab"], np.array([2, 3, 4]), [2]).tolist()
    [2, 3, 6]
    """
    scores_V = scores_V.copy()
    encoder = UnigramEncoder(tokens, scores_V)
    for group in _by_length(tokens, new_ids):
        totals = _totals_without(encoder, tokens, group)
        encoder.scores_V[group] = scores_V[group] = np.maximum(scores_V[group], totals + 1)
    return scores_V


def _by_length(tokens: Sequence[bytes], ids: Sequence[int]) -> list[list[int]]:
    """The ids, shortest strings first. Those of one length do not occur in each other's strings."""
    groups: dict[int, list[int]] = {}
    for token_id in ids:
        groups.setdefault(len(tokens[token_id]), []).append(token_id)
    return [group for _, group in sorted(groups.items())]


def _totals_without(encoder: UnigramEncoder, tokens: Sequence[bytes], group: list[int]) -> np.ndarray:
    """The best score of each string of `group` without these ids, whose scores the caller then sets again."""
    encoder.scores_V[group] = NEVER
    return encoder.best_totals(Batch.of([tokens[token_id] for token_id in group]))
