"""Where superwords may enter, a saving that few documents vouch for counts for less; inside words all count in full."""

import numpy as np
import pytest
from small_bpe import bpe_of

from ivr.analysis.counting import count_documents
from ivr.analysis.pretokens import PretokenSplitter
from ivr.analysis.tables import as_table
from ivr.tokenizer.select.candidates import CandidateRules
from ivr.tokenizer.select.selection import Request, select_swaps
from ivr.tokenizer.select.texts import join_texts, with_sequences
from ivr.tokenizer.superwords.boundaries import Boundaries

TOKENS = [bytes([byte]) for byte in range(256)] + [b"zz"]
TWO_IN_TURN = 10  # uses of `uvw` in each of two documents; `xyz` stands once in each of 18


@pytest.mark.parametrize(
    ("max_words", "bursty", "spread", "new"),
    [
        (1, "uvw", "xyz", b"uvw"),
        (2, "uvw", "xyz", b"xyz"),
        (2, "u-", "x-", b"x-"),  # superwords
    ],
)
def test_what_many_documents_hold_goes_before_what_few_hold_oftener(
    max_words: int, bursty: str, spread: str, new: bytes
) -> None:
    documents = ["\n".join([bursty] * TWO_IN_TURN)] * 2 + [spread] * 18
    base = bpe_of([("z", "z")])
    splitter = PretokenSplitter(base)
    texts = join_texts(as_table(count_documents(base, documents)), None, splitter)
    encoded = [document.encode() for document in documents]
    texts = with_sequences(texts, encoded, (), splitter, Boundaries())
    request = Request(1, 2.0, 1.0, 0.0, CandidateRules(2, 2, 9, True, ""), max_words=max_words)
    selection = select_swaps(TOKENS, np.array([0] * 256 + [5], np.int64), [256], texts, request)
    assert [swap.new for swap in selection.swaps] == [new]
    assert selection.swaps[0].saved == (20 if new[:1] == b"u" else 18) * (len(new) - 1), "the saving itself is exact"
