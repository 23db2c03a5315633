"""A pretoken that holds a new token's string is one piece, runs of which it is made included; all other text is cut."""

import json

import pytest
from small_bpe import bpe_of, pieces

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.bpe import read_bpe
from ivr.tokenizer.distill.pipeline import distill
from ivr.tokenizer.remap.whole_pretokens import _any_of, cut_again, uncut_pattern

MERGES = [(".", "."), ("..", ".."), ("a", "a"), ("aa", "aa"), ("b", "aa"), ("Ġ", "Ġ")]


@pytest.mark.slow
def test_a_pretoken_with_a_new_string_is_one_piece_and_others_are_cut_as_before() -> None:
    base = bpe_of(MERGES)
    spec = json.loads(distill(base, read_bpe(base), ["aaa", "....."], 3.0).tokenizer.to_str())
    pattern, splitter = spec["pre_tokenizer"]["pretokenizers"][1]["pattern"]["Regex"], PretokenSplitter(base)
    new = [".......", "baaaaa"]
    changed = uncut_pattern(pattern, new, splitter)
    for text in [".......", " ..........", "x.......", "!.......!", "baaaaa", " xbaaaaaaax", "a ....... baaaaa\n"]:
        assert pieces(changed, text) == splitter(text)
        assert pieces(pattern, text) != splitter(text)
    for text in ["......", " .....", "aaaaa", " baaaa", ".....!", "a   b", "a\n   b", "\n\n\n", " "]:
        assert pieces(changed, text) == pieces(pattern, text)
    assert cut_again(changed, new, splitter) == pattern


def test_a_string_longer_than_the_stack_is_deep_has_a_pattern() -> None:
    long = "ab" * 5000
    assert _any_of([long, "abc"]) == f"ab(?:c|{long[2:]})"
