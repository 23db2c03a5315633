"""Scores of new tokens: at least what lets each be produced for its own string, whatever others are new."""

from collections.abc import Sequence

import numpy as np

from ivr.encoding.batch import Batch
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.unigram_file import NEVER


def entry_score(split_score: int, num_bytes: int) -> int:
    """s(u) = S(u) + |u|^2, the least score given, with S(u) the score of u's best split into the distilled tokens.

    Because (a + b)^2 > a^2 + b^2, u beats every split of itself, whatever other new tokens have their least scores too;
    elsewhere it only wins where the best segmentation had borders at its ends, or within |u|^2 of it.
    """
    return split_score + num_bytes**2


def best_splits(tokens: Sequence[bytes], scores_V: np.ndarray, ids: Sequence[int]) -> dict[int, int]:
    """id -> the score that its string reaches without it. Ids of one length do not occur in each other's strings."""
    encoder = UnigramEncoder(tokens, scores_V)
    found: dict[int, int] = {}
    by_length: dict[int, list[int]] = {}
    for token_id in ids:
        by_length.setdefault(len(tokens[token_id]), []).append(token_id)
    for group in by_length.values():
        before = encoder.scores_V[group].copy()
        encoder.scores_V[group] = NEVER
        totals = encoder.best_totals(Batch.of([tokens[token_id] for token_id in group]))
        encoder.scores_V[group] = before
        found.update(zip(group, totals.tolist(), strict=True))
    return found


def raised_scores(tokens: Sequence[bytes], scores_V: np.ndarray, new_ids: Sequence[int]) -> np.ndarray:
    """The scores, raised where a new token's string has a split that is as good; shortest first, so once is enough."""
    scores_V = scores_V.copy()
    encoder = UnigramEncoder(tokens, scores_V)
    by_length: dict[int, list[int]] = {}
    for token_id in new_ids:
        by_length.setdefault(len(tokens[token_id]), []).append(token_id)
    for _, group in sorted(by_length.items()):
        encoder.scores_V[group] = NEVER
        totals = encoder.best_totals(Batch.of([tokens[token_id] for token_id in group]))
        encoder.scores_V[group] = scores_V[group] = np.maximum(scores_V[group], totals + 1)
    return scores_V
