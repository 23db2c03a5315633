"""`--swaps auto`: how many swaps pay, judged on documents that they were not chosen on.

A tenth of the documents to learn from is set aside (the run's own held-out text is never read). Swaps are chosen on the
rest, then made one by one on the tenth, best first; where a hundred in a row gain less than asked for, on average, they
end. The final selection of that many swaps learns from all documents again.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ivr.tokenizer.selection import Selection, Texts
from ivr.tokenizer.vocabulary_state import VocabularyState

MOST_SWAPS = 10_000
STOPPING_SHARE = 0.1
WINDOW = 100  # swaps whose gains are averaged: one swap's gain on a tenth of the text is a few tokens, or none


def set_aside(document: str) -> bool:
    """Is this one of the documents that only decide where to stop? By a hash of the text, so always the same."""
    digest = hashlib.sha256(document.encode()).digest()
    return int.from_bytes(digest[:8], "big") < STOPPING_SHARE * 2**64


def documents_where(documents: Iterable[str], aside: bool) -> Iterator[str]:
    """The documents that are set aside, or the others."""
    return (document for document in documents if set_aside(document) == aside)


def gains(
    tokens: Sequence[bytes], scores_V: np.ndarray, selection: Selection, texts: Texts, weights_P: np.ndarray
) -> np.ndarray:
    """Weighted tokens of `texts` that each swap saves, made after those before it, float (K,)."""
    swaps = selection.swaps
    state = VocabularyState(texts.batch, weights_P, tokens, scores_V, [swap.new for swap in swaps])
    found = np.zeros(len(swaps))
    for place, swap in enumerate(swaps):
        before = state.total()
        state.enter(state.num_old + place, swap.score)
        state.leave(swap.token_id)
        found[place] = before - state.total()
    return found


def number_that_pays(gains_K: np.ndarray, min_gain: float) -> int:
    """The swaps before the first window (of WINDOW swaps, or fewer at the end) that gains less on average."""
    for begin in range(0, len(gains_K), WINDOW):
        if gains_K[begin : begin + WINDOW].mean() < min_gain:
            return begin
    return len(gains_K)
