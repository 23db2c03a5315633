"""Continued BPE, then the rarest leaves out (Purason, Chizhov, Yamshchikov and Fishel 2025, arXiv 2512.03989).

The extension goes on with BPE training where the base tokenizer's merges end: the most frequent pair of current tokens
becomes a token, on and on. The pruning takes out the least frequent token from which no other is built, so that every
token that stays can still be reached; its parents may then be leaves. Its text is counted again, so that a token that
it falls back on is not taken for rare.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .base_bpe import BaseBpe
from .word_corpus import WordCorpus


def continued_bpe(
    base: BaseBpe, words: Sequence[bytes], weights: np.ndarray, swaps: int, on_step: Callable[[], None] = lambda: None
) -> tuple[list[bytes], list[tuple[int, int, int]]]:
    """(bytes of every id, merges in the order of their ranks)."""
    corpus = WordCorpus(base, words, weights, 2 * swaps + 100)
    added = 0
    while added < swaps:
        left, right, count = corpus.best_pair()
        if not count:
            break
        added += corpus.add_merge(left, right)
        on_step()
    for _ in range(added):
        corpus.drop(corpus.rarest_leaf())
        on_step()
    return corpus.vocabulary()
