"""Scores of superwords: above every split of their own string, whatever else is in the vocabulary.

A piece that is a superword is nothing but its string, and no piece of one pretoken holds a superword's string. So such
a score meets no other segmentation than the splits of that one string, and is only to be larger than they are, by more
than sums of float64 may err and files may round. A longer superword holds shorter ones: they are scored by length.
"""

from collections.abc import Sequence

import numpy as np

from ivr.encoding.batch import Batch
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.unigram_file import NEVER, SUPERWORD_STEP, SUPERWORDS_BELOW

STEP = SUPERWORD_STEP


def superword_scores(
    tokens: Sequence[bytes], scores_V: np.ndarray, superwords: Sequence[bytes], least: Sequence[int] = ()
) -> list[int]:
    """A score for each of these strings, beside the tokens and one another.

    `tokens` with `scores_V`: all other tokens, NEVER for one that is not in use. `least`: a score that each has at
    least, if any are given.
    """
    encoder = UnigramEncoder([*tokens, *superwords], np.concatenate([scores_V, np.full(len(superwords), NEVER)]))
    by_length: dict[int, list[int]] = {}
    for place, string in enumerate(superwords):
        by_length.setdefault(len(string), []).append(place)
    scores = np.zeros(len(superwords), np.int64)
    for _, group in sorted(by_length.items()):
        totals = encoder.best_totals(Batch.of([superwords[place] for place in group]))
        scores[group] = (np.maximum(totals, 0) // STEP + 2) * STEP
        if least:
            scores[group] = np.maximum(scores[group], [-(-least[place] // STEP) * STEP for place in group])
        encoder.scores_V[np.array(group) + len(tokens)] = scores[group]
    return [int(score) for score in scores]


def keeps_whole(score: int, split: int) -> bool:
    """Is a superword with this score one token, where the best split of its string has that one?"""
    return split + STEP // 2 <= score < SUPERWORDS_BELOW
