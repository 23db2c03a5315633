"""Runs behind and before words: the neighbours drawn from the vocabulary, against BPE itself."""

from itertools import product

import numpy as np
from small_bpe import bpe_of

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.bpe import read_bpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.tokenizer.cutting import distill, other_forms
from ivr.tokenizer.run_neighbours import with_words
from ivr.tokenizer.run_rules import initial_contexts, tabulate

# `rs` draws an s in, but not where `or` was merged first; `s` before `h` too, but not where `he` was
WORDS = [("o", "r"), ("h", "e"), ("r", "s"), ("s", "s"), ("t", "or"), ("tor", "s"), ("s", "h"), ("s", "he")]


def test_a_word_beside_a_run_tells_more_than_its_last_letter() -> None:
    bpe = read_bpe(bpe_of(WORDS))
    encoder, lengths = BpeEncoder(bpe), np.array([len(token) for token in bpe.token_bytes()])
    (context,) = initial_contexts(bpe, PretokenSplitter(bpe_of(WORDS)))
    words = with_words(context, [t for i, t in enumerate(bpe.tokens) if i not in bpe.special_ids], encoder, lengths)
    assert words.lefts == context.lefts and words.rights == context.rights
    assert any(left.endswith("or") for left in words.far_lefts)
    table = tabulate(words, encoder, lengths)
    assert set(table.lefts) == words.lefts | words.far_lefts
    assert set(table.paired_lefts) == words.lefts


def test_words_drawn_out_that_no_text_held_are_as_bpe() -> None:
    base = bpe_of(WORDS)
    result = distill(base, read_bpe(base), ["tors", "she"], 3.0).tokenizer
    texts = [
        blank + left + "s" * length + right
        for blank, left, length, right in product(["", " "], ["", "tor", "x"], range(1, 30), ["", "hen", "x"])
        if not (left and right and length < 6)  # what draws from both ends is for the text to show
    ]
    assert [result.encode(text).ids for text in texts] == [base.encode(text).ids for text in texts]


def test_other_forms_are_words_without_runs() -> None:
    assert other_forms([" Abc", "x1", "aaa", "Éa"], [b" zy", b"\xff", b"!"]) == [
        " ABC", " Abc", " ZY", " Zy", " abc", " zy", "ABC", "Abc", "ZY", "Zy", "abc", "zy"
    ]  # fmt: skip
