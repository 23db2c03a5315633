"""AdaptBPE (Liyanage and Yvon, EACL 2026): swap the least useful merge for the most useful one, as long as it pays.

In each step the token with the fewest occurrences in the domain's text, as encoded now, leaves, and the pair of current
tokens with the most occurrences enters, until the pair that would enter is no more frequent than the token that would
leave, or `swaps` steps are done. Readings where the description leaves a choice, each in its favour:

* the paper adapts to a budget below the size of the base vocabulary and takes what enters from the rest of the base
  merges; at full size there is no rest, so any pair may enter;
* a token from which another is built is not taken for useless because it seldom stands alone: only leaves leave, else
  the tokens built on it would be lost too;
* counts are exact after every step: text that held a dropped token is encoded by BPE with the merges that are left.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .base_bpe import BaseBpe
from .word_corpus import WordCorpus


def adapt_bpe(
    base: BaseBpe, words: Sequence[bytes], weights: np.ndarray, swaps: int, on_step: Callable[[], None] = lambda: None
) -> tuple[list[bytes], list[tuple[int, int, int]]]:
    """(bytes of every id, merges in the order of their ranks)."""
    corpus = WordCorpus(base, words, weights, 2 * swaps + 100)
    for _ in range(swaps):
        leaver = corpus.rarest_leaf()
        if leaver < 0 or corpus.best_pair()[2] <= corpus.counts[leaver]:
            break
        corpus.drop(leaver)
        entered = False
        while not entered:
            left, right, count = corpus.best_pair()
            if not count:
                return corpus.vocabulary()
            # a pair whose string is a token already costs no id: go on until one does
            entered = corpus.add_merge(left, right)
        on_step()
    return corpus.vocabulary()
