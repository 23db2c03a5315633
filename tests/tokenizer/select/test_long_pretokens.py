"""Very long pretokens are counted in parts; nothing of them is lost."""

import numpy as np
import pytest
from small_bpe import bpe_of

from ivr.analysis.pretokens import PretokenSplitter
from ivr.analysis.tables import PretokenTable
from ivr.encoding.batch import Batch
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.errors import ConfigError
from ivr.tokenizer.select import candidates
from ivr.tokenizer.select.candidates import CandidateRules, Pretokens, find_candidates
from ivr.tokenizer.select.selection import Request, select_swaps
from ivr.tokenizer.select.texts import LONGEST, in_parts, join_texts


def table(rows: dict[str, tuple[int, int]]) -> PretokenTable:
    counts, documents = np.array(list(rows.values()), np.int64).T
    return PretokenTable(list(rows), counts.copy(), documents.copy())


def test_at_the_limit_a_pretoken_stays_and_beyond_it_is_parted() -> None:
    same = table({"A" * LONGEST: (3, 2), "b": (5, 4)})
    assert in_parts(same) is same
    parted = in_parts(table({"A" * (LONGEST + 1): (3, 2), "A": (5, 4), "é" * (2 * LONGEST): (1, 1)}))
    assert parted.pretokens == ["A", "A" * LONGEST, "é" * LONGEST]
    assert parted.counts_P.tolist() == [8, 3, 2] and parted.documents_P.tolist() == [4, 2, 1]


def test_a_swap_is_chosen_for_one_pretoken_of_many_uses() -> None:
    """Poly-A with a C here and there: `AAC` is used thousands of times in one pretoken."""
    tokens = [bytes([byte]) for byte in range(256)] + [b"AA", b"zz"]
    text = "AAC" * 5000
    splitter = PretokenSplitter(bpe_of([("A", "A"), ("z", "z")]))
    texts = join_texts(table({text: (1, 1), "zebra": (2, 2)}), None, splitter)
    request = Request(1, 2.0, 1.0, 0.0, CandidateRules(2, 1, 3, True, ""))
    scores_V = np.array([0] * 256 + [2**50, 5], np.int64)
    selection = select_swaps(tokens, scores_V, [257], texts, request)
    assert [swap.new for swap in selection.swaps] == [b"AAC"]
    assert selection.tokens_before == 2 * 5000 + 2 * 5 + 5, "of 14 borders of parts 5 lie between two As"
    assert selection.swaps[0].new_count >= 4980


@pytest.mark.parametrize(("most", "refused"), [(12, False), (11, True)])
def test_more_strings_than_32_bits_number_are_refused_with_advice(
    most: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "LARGEST_INT32", most)
    batch = Batch.of([b"abcd", b"bcde"])
    tokens = [bytes([byte]) for byte in range(256)]
    found = UnigramEncoder(tokens, np.zeros(256)).encode(batch)
    ones = np.ones(2, np.int64)
    arguments = (Pretokens(batch, found, ones, ones, ones), tokens, CandidateRules(1, 1, 4, True, ""), 100)
    if refused:
        with pytest.raises(ConfigError, match=r"more than 11; give a smaller --max-bytes than 4"):
            find_candidates(*arguments)
    else:
        wide = find_candidates(*arguments)
        monkeypatch.undo()
        assert wide.strings == find_candidates(*arguments).strings, "64-bit offsets find the same"
