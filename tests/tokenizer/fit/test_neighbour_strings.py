"""Short strings between neighbours, and runs whose first unit a neighbour has parted: against BPE itself."""

from itertools import product

import pytest
from small_bpe import bpe_of

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.bpe import read_bpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.tokenizer.distill.pipeline import distill
from ivr.tokenizer.fit.neighbour_strings import neighbour_strings
from ivr.tokenizer.repeats.characters import Characters
from ivr.tokenizer.repeats.tables import initial_contexts

# `Ġ` and `t` draw in the first half of `ha`, `ax` and `aa` the second half of its last
PARTED = [("Ġ", "h"), ("t", "h"), ("a", "x"), ("a", "a"), ("h", "a"), ("ha", "ha"), ("j", "b"), ("b", "w")]


def test_every_ascii_character_and_unit_between_its_neighbours() -> None:
    base = bpe_of(PARTED)
    bpe, splitter = read_bpe(base), PretokenSplitter(base)
    names = [token for token_id, token in enumerate(bpe.tokens) if token_id not in bpe.unmade_ids]
    characters = Characters(splitter, BpeEncoder(bpe))
    texts = neighbour_strings(names, initial_contexts(bpe, splitter), splitter, characters)
    assert {"jbw", "jbbw", " ha", "thax", "thahax", "aaaa"} <= set(texts) and texts == sorted(set(texts))
    assert all(len(splitter(text)) == 1 for text in texts)


@pytest.mark.slow
def test_a_unit_that_a_neighbour_parts_is_cut_as_bpe_does() -> None:
    base = bpe_of(PARTED)
    texts = [
        left + "ha" * length + right
        for left, length, right in product(["", " ", "t", "x", " t", "a"], range(1, 30), ["", "a", "x", "ax", "t"])
    ]
    result = distill(base, read_bpe(base), ["a"], 3.0).tokenizer
    assert [result.encode(text).ids for text in texts] == [base.encode(text).ids for text in texts]


@pytest.mark.slow
def test_no_piece_ends_within_a_character() -> None:
    # a blank draws in the first byte of `é`, and the byte behind it goes with the `à` behind that
    merges = [("Ġ", "Ã"), ("Ã", "©"), ("Ã", "ł"), ("©", "Ãł"), ("Ã©", "Ãł"), ("Ã©Ãł", "Ã©Ãł")]
    base = bpe_of(merges)
    texts = [left + "éà" * length + right for left in ["", " ", "x"] for length in range(1, 20) for right in ["", "é"]]
    result = distill(base, read_bpe(base), ["a"], 3.0).tokenizer
    assert [result.encode(text).ids for text in texts] == [base.encode(text).ids for text in texts]
    assert base.encode(" éàéàéà").tokens == ["ĠÃ", "©Ãł", "Ã©ÃłÃ©Ãł"]
