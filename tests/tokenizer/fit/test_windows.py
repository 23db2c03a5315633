"""Very long pretokens are fitted in windows, of which each has BPE's own answer."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bpe import Merges, bpe_of, merge_lists

from ivr.encoding.batch import Batch
from ivr.encoding.bpe import read_bpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.tokenizer.fit.windows import LONGEST, WINDOW, in_windows


@settings(max_examples=20, deadline=None)
@given(merge_lists("abcé"), st.integers(0, 2**32))
def test_windows_overlap_by_half_and_are_parts_of_the_whole_segmentation(merges: Merges, seed: int) -> None:
    merges = [pair for pair in merges if "é" not in "".join(pair)]  # that letter is two bytes, of no merge
    bpe = read_bpe(bpe_of(merges))
    encoder, lengths_V = BpeEncoder(bpe), np.array([len(token) for token in bpe.token_bytes()])
    text = "".join(random.Random(seed).choices("abcé", k=6 * WINDOW))
    data, whole = text.encode(), encoder.encode(Batch.of([text.encode()])).ids
    ends = {0, *np.cumsum(lengths_V[whole]).tolist()}
    begin, last = 0, WINDOW
    for window in in_windows([text, "short"], encoder, lengths_V)[:-1]:
        part = window.encode()
        begin = data.index(part, begin)
        inside = np.cumsum(lengths_V[encoder.encode(Batch.of([part])).ids])
        assert {begin, *(begin + inside).tolist()} <= ends
        assert len(part) <= WINDOW + 100
        assert begin <= last - WINDOW // 2 + 100, "all that is shorter than half a window, or so, lies in one"
        last = begin + len(part)
    assert last == len(data)


def test_short_ones_stay_and_a_run_of_millions_is_few_strings() -> None:
    bpe = read_bpe(bpe_of([("a", "a"), ("aa", "aa"), ("b", "a")]))
    encoder, lengths_V = BpeEncoder(bpe), np.array([len(token) for token in bpe.token_bytes()])
    at_limit, beyond = "a" * LONGEST, "a" * (LONGEST + 1)
    assert in_windows([at_limit, "b"], encoder, lengths_V) == [at_limit, "b"]
    assert set(map(len, in_windows([beyond], encoder, lengths_V))) == {WINDOW, WINDOW // 2 + 1}
    assert len(in_windows(["a" * 3_000_001], encoder, lengths_V)) <= 3
