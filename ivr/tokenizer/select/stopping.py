"""`--swaps auto`: how many swaps pay, judged on documents that they were not chosen on.

A tenth of the documents to learn from is set aside (the run's own held-out text is never read). Swaps are chosen on the
rest, then made one by one on the tenth, best first; where a hundred in a row gain less than asked for, on average, they
end. The final selection of that many swaps learns from all documents again.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ivr.analysis.counting import count_documents
from ivr.analysis.tables import PretokenTable, as_table
from ivr.console import LOG
from ivr.corpus.documents import read_documents
from ivr.errors import ConfigError
from ivr.tokenizer.select.joint_state import JointState
from ivr.tokenizer.select.selection import Request, Selection, select_swaps
from ivr.tokenizer.select.texts import Texts
from ivr.tokenizer.select.vocabulary_state import VocabularyState
from ivr.tokenizer.superwords.ngrams import SuperwordTrie
from ivr.tokenizer.superwords.parse import Segments

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
    tokens: Sequence[bytes],
    scores_V: np.ndarray,
    selection: Selection,
    texts: Texts,
    share: float,
    protect_weight: float,
) -> np.ndarray:
    """Weighted tokens of `texts` that each swap saves, made after those before it, float (K,).

    `share`: what part of the corpus the domain of `texts` is; its tokens count for the whole of it.
    """
    swaps = selection.swaps
    weights_P = texts.domain_P / share + protect_weight * texts.protected_P
    words = [swap for swap in swaps if not swap.parts]
    ids = {swap.new: len(tokens) + place for place, swap in enumerate(words)}
    strings = [swap.new for swap in words]
    inside = VocabularyState(texts.batch, weights_P, tokens, scores_V, strings)
    state: VocabularyState | JointState = inside
    if texts.sequences is not None:
        numbers = {text.encode(): number for number, text in enumerate(texts.pretokens)}
        # what holds a pretoken that is not in these texts is not in them, either
        superwords = {swap.new: swap.parts for swap in swaps if swap.parts and numbers.keys() >= set(swap.parts)}
        rows = [tuple(numbers[part] for part in parts) for parts in superwords.values()]
        ids |= {string: len(tokens) + len(words) + place for place, string in enumerate(superwords)}
        segments = Segments.of(
            texts.sequences.domain, texts.sequences.protected, SuperwordTrie(rows, len(texts.pretokens))
        )
        weights_T = segments.domain_T / share + protect_weight * segments.protected_T
        state = JointState(inside, rows, segments, weights_T)
    found = np.zeros(len(swaps))
    for place, swap in enumerate(swaps):
        before = state.total()
        if swap.new in ids:
            state.enter(ids[swap.new], swap.score)
        state.leave(swap.token_id)
        found[place] = before - state.total()
    return found


def number_that_pays(gains_K: np.ndarray, min_gain: float) -> int:
    """The swaps before the first window (of WINDOW swaps, or fewer at the end) that gains less on average."""
    for begin in range(0, len(gains_K), WINDOW):
        if gains_K[begin : begin + WINDOW].mean() < min_gain:
            return begin
    return len(gains_K)


def tables_for_stopping(cleaned_corpora: Path, base: Tokenizer) -> tuple[PretokenTable, PretokenTable]:
    """Pretokens of the documents that are set aside, and of the others."""
    aside, others = (
        as_table(count_documents(base, documents_where(read_documents(cleaned_corpora), is_aside)))
        for is_aside in (True, False)
    )
    return aside, others


def swaps_that_pay(
    tokens: Sequence[bytes],
    scores_V: np.ndarray,
    droppable: Sequence[int],
    others: Texts,
    aside: Texts,
    request: Request,
) -> int:
    """How many swaps to choose from all documents: chosen on `others`, judged on `aside`. Raises ConfigError."""
    share = aside.domain_P.sum() / (aside.domain_P.sum() + others.domain_P.sum())
    if not 0 < share < 1:
        raise ConfigError("too few documents for --swaps auto, which sets a tenth of them aside; give --swaps K")
    asked = replace(request, swaps=MOST_SWAPS, min_saved=request.min_saved * (1 - share))
    selection = select_swaps(tokens, scores_V, droppable, others, asked)
    gains_K = gains(tokens, scores_V, selection, aside, share, request.protect_weight)
    found = number_that_pays(gains_K, request.min_saved)
    LOG.info(
        "%s of %s swaps chosen on nine tenths of the documents pay on the others", f"{found:,}",
        f"{len(selection.swaps):,}",
    )  # fmt: skip
    return found
