"""Runs of a self-merging unit are cut where BPE cuts them: against the tokenizers library, neighbours and lengths."""

import json
from itertools import product
from pathlib import Path

import pytest
from gpt2_texts import BESIDE_OTHERS
from small_bpe import bpe_of, pieces
from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import Split

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.bpe import read_bpe
from ivr.encoding.byte_alphabet import to_alphabet
from ivr.tokenizer.distill.pipeline import distill
from ivr.tokenizer.fit.strings import pretokens_with_repeats, sparse_numbers
from ivr.tokenizer.repeats import pattern as run_pattern
from ivr.tokenizer.repeats.character_classes import PieceClasses, piece_classes
from ivr.tokenizer.repeats.lone_repeats import lone_repeats
from ivr.tokenizer.repeats.pattern import cutting_pattern
from ivr.tokenizer.repeats.tables import RepeatEncoder, RepeatTable, initial_contexts, self_merging_units, tabulate


def tables_for(tokenizer: Tokenizer) -> tuple[list[RepeatTable], PieceClasses]:
    bpe, splitter = read_bpe(tokenizer), PretokenSplitter(tokenizer)
    encoder = RepeatEncoder.of(bpe)
    tables = [tabulate(context, encoder) for context in initial_contexts(bpe, splitter)]
    return tables, piece_classes(splitter.all_classes)


def pattern_for(tokenizer: Tokenizer) -> str:
    return cutting_pattern(*tables_for(tokenizer))


# a tower, a token of three, neighbours that draw on both sides, a unit of two characters
RUNNING = [("a", "a"), ("aa", "aa"), ("aa", "a"), ("b", "aa"), ("a", "c"), ("b", "c"), ("bc", "bc"), ("Ġ", "aa")]


def test_units_are_the_shortest_and_know_their_longest_token() -> None:
    assert self_merging_units(read_bpe(bpe_of(RUNNING))) == [("a", 4), ("bc", 2)]


def test_text_without_runs_is_split_as_before() -> None:
    tokenizer = bpe_of(RUNNING)
    pattern, splitter = pattern_for(tokenizer), PretokenSplitter(tokenizer)
    for text in ["it's aa bc  aabb!? 12 33\n\n x", "''s 's!'s 1's", "\n \n  a", "  ", "a b  c   d", "naïve ''ll"]:
        assert pieces(pattern, text) == splitter(text)


@pytest.mark.slow
@pytest.mark.parametrize("letters", ["ab ", "abc", "bc.'", "a1\n.", "aé b", "a \n", "a blanks"])
def test_what_is_taken_at_a_glance_is_what_the_slow_rules_take(letters: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every string to a length at which three units of two characters have room at any place of a word."""
    merges = [*RUNNING, ("b", "c"), ("1", "1"), (".", "."), (".", "'"), (".'", ".'")]
    if letters == "a blanks":  # runs of blanks are cut, too
        letters, merges = "a \n", [("Ġ", "Ġ"), *merges]
    tokenizer = bpe_of(list(dict.fromkeys(merges)))
    quick = Split(Regex(pattern_for(tokenizer)), "isolated")
    monkeypatch.setattr(run_pattern, "whole_pieces", lambda *_: [])
    slow = Split(Regex(pattern_for(tokenizer)), "isolated")
    for size in range(1, 9 if len(letters) == 3 else 8):
        for text in map("".join, product(letters, repeat=size)):
            mapped = to_alphabet(text.encode())
            assert quick.pre_tokenize_str(mapped) == slow.pre_tokenize_str(mapped), text


@pytest.mark.slow
@pytest.mark.needs_gpt2
def test_a_pretoken_that_is_one_run_is_cut_at_a_glance_as_by_the_slow_rules(
    gpt2: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, classes = tables_for(gpt2)
    others = classes.kinds[2]
    runs = lone_repeats(others, [table for table in tables if classes.of(table.unit) == others])
    quick = cutting_pattern(tables, classes)
    assert runs and runs in quick
    monkeypatch.setattr(run_pattern, "lone_repeats", lambda *_: "")
    slow = cutting_pattern(tables, classes)
    assert runs not in slow
    one, other = (Split(Regex(pattern), "isolated") for pattern in (quick, slow))
    for unit, blank, after in product("-=.*_#!/~+\"'", ["", "Ġ", "xĠ", "ĊĊ"], ["", "Ġx", "x", "'s", "Ċ", "'", "."]):
        for length in range(1, 140):
            text = blank + length * unit + after
            assert one.pre_tokenize_str(text) == other.pre_tokenize_str(text), text


@pytest.mark.slow
def test_every_run_beside_every_neighbour_is_as_bpe() -> None:
    base = bpe_of(RUNNING)
    texts = [
        left + unit * length + right
        for unit, length, left, right in product(
            ["a", "bc"], range(1, 41), ["", " ", "b", "c", "cb", "x", " b"], ["", "b", "c", "cb", "cx", "x"]
        )
    ]
    texts = [text for text in texts if len(PretokenSplitter(base)(text)) == 1]
    result = distill(base, read_bpe(base), texts, 3.0).tokenizer
    assert [result.encode(text).ids for text in texts] == [base.encode(text).ids for text in texts]


@pytest.mark.slow
def test_runs_of_blanks_before_a_word_lose_their_last_one() -> None:
    """A blank of two bytes, too: where the run's last one is left over, the run has ended all the same."""
    base = bpe_of([("Â", "ł"), ("Âł", "Âł"), ("ÂłÂł", "ÂłÂł"), ("Ċ", "Ċ"), ("ĊĊ", "ĊĊ"), ("Ġ", "Ġ"), ("Ġ", "a")])
    result = distill(base, read_bpe(base), ["a"], 3.0).tokenizer
    lefts, rights = ["", "a", "\n", " "], ["", "a", "1", "?", " a"]
    runs = product("\u00a0\n ", range(1, 30), lefts, rights)
    texts = [left + unit * length + right for unit, length, left, right in runs]
    assert [result.encode(text).ids for text in texts] == [base.encode(text).ids for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["a", "bc", ".", "\n", "\u00a0"])
def test_the_pieces_of_a_very_long_run_do_not_look_at_all_that_is_left_of_it(unit: str) -> None:
    """Else this test is busy for many minutes."""
    merges = [*RUNNING, (".", "."), ("Ċ", "Ċ"), ("Â", "ł"), ("Âł", "Âł")]
    base = bpe_of(merges)
    result = distill(base, read_bpe(base), ["aaa"], 3.0).tokenizer
    for text in (400_000 * unit, "x" + 100_001 * unit + "x", " " + 100_000 * unit + "\n"):
        assert result.encode(text).ids == base.encode(text).ids


@pytest.mark.slow
def test_the_result_is_a_plain_tokenizer_json(tmp_path: Path) -> None:
    base = bpe_of(RUNNING)
    result = distill(base, read_bpe(base), ["aaa", "baaac"], 3.0).tokenizer
    result.save(str(tmp_path / "tokenizer.json"))
    spec = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert spec["model"]["type"] == "Unigram"
    assert "merges" not in spec["model"]
    assert [step["type"] for step in spec["pre_tokenizer"]["pretokenizers"]] == ["ByteLevel", "Split"]


def test_runs_are_found_by_three_equal_units() -> None:
    base = bpe_of(RUNNING)
    contexts = initial_contexts(read_bpe(base), PretokenSplitter(base))
    assert pretokens_with_repeats(["aab", "aaab", "bcbc", "xbcbcbc", "\n\n\n"], contexts) == [
        "aaab",
        "xbcbcbc",
        "\n\n\n",
    ]


@pytest.mark.slow
@pytest.mark.needs_gpt2
def test_gpt2_runs_of_punctuation_blanks_and_digits(gpt2: Tokenizer, distilled_gpt2: Tokenizer) -> None:
    """Alone, after a blank, and beside other characters: what tables and rules look like in text."""
    found = distilled_gpt2.encode_batch_fast(BESIDE_OTHERS)
    truth = gpt2.encode_batch_fast(BESIDE_OTHERS)
    wrong = [text for text, one, other in zip(BESIDE_OTHERS, found, truth, strict=True) if one.ids != other.ids]
    assert wrong == []
    numbers = sparse_numbers()  # `00008000`: no text held them, and no scores were fitted to them
    found, truth = distilled_gpt2.encode_batch_fast(numbers), gpt2.encode_batch_fast(numbers)
    wrong = [text for text, one, other in zip(numbers, found, truth, strict=True) if one.ids != other.ids]
    assert len(wrong) <= 0.002 * len(numbers)


def test_sparse_numbers_hold_a_run_and_two_other_digits() -> None:
    numbers = sparse_numbers()
    assert {"1001000", "00008000", " 200001", "100000"} <= {*numbers}
    assert len(set(numbers)) == len(numbers)
    assert all("000" in text and 6 <= len(text.strip()) <= 8 for text in numbers)
    assert max(sum(digit not in " 0" for digit in text) for text in numbers) == 2


@pytest.mark.slow
def test_a_run_that_scores_could_part_is_cut_all_the_same() -> None:
    """Scores that part `21000` would make `1000` worth less than `10`,`00`."""
    base = bpe_of([("0", "0"), ("1", "0"), ("2", "1"), ("1", "00"), ("100", "0"), ("00", "0")])
    result = distill(base, read_bpe(base), ["a"], 3.0)
    assert not result.fit.constraints.given_up
    for text, tokens in (("1000", ["1000"]), ("21000", ["21", "000"]), ("210", ["2", "10"])):
        assert result.tokenizer.encode(text).tokens == base.encode(text).tokens == tokens
