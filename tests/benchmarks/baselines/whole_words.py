"""Rarest out, most frequent pretokens in: what one does by hand, and the core of AdaptiVocab with n-grams of one word.

A pretoken that is a token is taken whole (`ignore_merges`); the rest of the text is BPE. The tokens that leave are the
rarest from which no other is built, counted on the text that no new token took: others would break the merges of
tokens that stay.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .base_bpe import BaseBpe
from .word_corpus import WordCorpus


def whole_words(
    base: BaseBpe,
    words: Sequence[bytes],
    weights: np.ndarray,
    swaps: int,
    by_saved: bool = True,
    on_step: Callable[[], None] = lambda: None,
) -> tuple[list[bytes], list[tuple[int, int, int]]]:
    """(bytes of every id, merges), for a tokenizer that takes whole words.

    Words enter by the tokens they save, count * (tokens - 1), or with `by_saved=False` by their count alone
    (of twelve cells tried, less in nine and equal in three).
    """
    corpus = WordCorpus(base, words, weights, 0)
    num_tokens = corpus.num_tokens_of_words()
    key = weights * (num_tokens - 1) if by_saved else weights
    order = np.lexsort((np.arange(len(words)), -key))
    known = set(base.tokens)  # a token that its own merges do not reach is taken whole without an id of its own
    is_new = np.array([word not in known for word in words], bool)
    chosen = order[((num_tokens > 1) & is_new)[order]][:swaps]
    left = np.array(weights, np.int64)
    left[chosen] = 0
    corpus = WordCorpus(base, words, left, 0)
    for _ in range(len(chosen)):
        corpus.drop(corpus.rarest_leaf())
        on_step()
    tokens, merges = corpus.vocabulary()
    for token_id, word in zip(corpus.free_ids(), chosen.tolist(), strict=True):
        tokens[token_id] = words[word]
    return tokens, merges
