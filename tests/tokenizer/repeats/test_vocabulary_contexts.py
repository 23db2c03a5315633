"""Runs behind and before words: the neighbours drawn from the vocabulary, against BPE itself."""

import re
from itertools import product

import numpy as np
from small_bpe import bpe_of

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.batch import Batch
from ivr.encoding.bpe import read_bpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.tokenizer.distill.pipeline import distill
from ivr.tokenizer.fit.strings import other_forms, rows_with_periods, short_numbers
from ivr.tokenizer.repeats.tables import initial_contexts, tabulate
from ivr.tokenizer.repeats.vocabulary_contexts import seen_marks, with_marks, with_words

# `rs` draws an s in, but not where `or` was merged first; `s` before `h` too, but not where `he` was
WORDS = [("o", "r"), ("h", "e"), ("r", "s"), ("s", "s"), ("t", "or"), ("tor", "s"), ("s", "h"), ("s", "he")]


def test_a_word_beside_a_run_tells_more_than_its_last_letter() -> None:
    bpe = read_bpe(bpe_of(WORDS))
    encoder, lengths = BpeEncoder(bpe), np.array([len(token) for token in bpe.token_bytes()])
    (context,) = initial_contexts(bpe, PretokenSplitter(bpe_of(WORDS)))
    words = with_words(context, [t for i, t in enumerate(bpe.tokens) if i not in bpe.unmade_ids], encoder, lengths)
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


def test_a_run_that_a_cut_has_begun_within_a_unit_goes_on_as_bpe_does() -> None:
    # `z` draws an x, but not where `yz` was merged first; and so begins what is left of a run that `p` draws an x of
    base = bpe_of([("y", "z"), ("z", "x"), ("p", "x"), ("x", "yz"), ("xyz", "xyz")])
    result = distill(base, read_bpe(base), ["a"], 3.0).tokenizer
    lefts, rights = ["", "p", "z", "yz", " ", "pyz", " z", " yz"], ["", "x", "xy", "p", "xp", "xyx", "xypx"]
    texts = [left + "xyz" * length + right for left, length, right in product(lefts, range(1, 20), rights)]
    assert [result.encode(text).ids for text in texts] == [base.encode(text).ids for text in texts]
    assert base.encode("p" + 4 * "xyz").tokens == ["px", "yz", "xyzxyz", "xyz"]


def test_other_forms_are_words_without_runs() -> None:
    assert other_forms([" Abc", "x1", "aaa", "Éa"], [b" zy", b"\xff", b"!"]) == [
        " ABC", " Abc", " ZY", " Zy", " abc", " zy", "ABC", "Abc", "ZY", "Zy", "abc", "zy"
    ]  # fmt: skip


# `...]` is one token, `...]]` is `..`,`.`,`]]`: there the marks go first
MARKS = [(".", "."), ("]", "]"), (".", "]"), ("..", ".]")]


def test_two_marks_beside_a_run_tell_more_than_one() -> None:
    base = bpe_of(MARKS)
    bpe = read_bpe(base)
    encoder, lengths = BpeEncoder(bpe), np.array([len(token) for token in bpe.token_bytes()])
    contexts = {context.unit: context for context in initial_contexts(bpe, PretokenSplitter(base))}
    seen = seen_marks(["(!", " (!", "a(!", "]!"], often=2)
    assert seen == {"(!", "))", "]]", "}}", ">>"}
    marks = with_marks(contexts["."], seen, set(bpe.tokens), encoder, lengths)
    assert marks.rights - contexts["."].rights == {"]]"}


def test_rows_with_periods_are_those_that_a_pattern_finds() -> None:
    strings = ["", "a", "aa", "aaa", "abab", "xababab", "ababa", "éé", "ééé", "b" * 9, "aab", "abcabcab", "abcabcabc"]
    batch = Batch.of([string.encode() for string in strings])
    for period in range(1, 5):
        run = re.compile(rb"(.{%d})\1\1" % period, re.DOTALL)
        expected = [row for row, string in enumerate(strings) if run.search(string.encode())]
        assert rows_with_periods(batch, [period]).tolist() == expected


def test_short_and_round_numbers_are_all_of_them_once() -> None:
    numbers = short_numbers()
    assert len(set(numbers)) == len(numbers) == 2 * (10 + 100 + 1_000 + 10_000 + 100_000 + 900)
    assert {"0", " 00", "09999", " 12345", " 102000"} <= set(numbers)
