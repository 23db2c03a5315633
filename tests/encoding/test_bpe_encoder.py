"""BpeEncoder = BPE from its definition = the `tokenizers` library."""

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bpe import Merges, any_merge_lists, bpe_of, letters_of, merge_lists, naive_bpe, strings_over
from tokenizers import Tokenizer

from ivr.encoding.batch import Batch
from ivr.encoding.bpe import read_bpe
from ivr.encoding.bpe_encoder import LONG, BpeEncoder


def encode(tokenizer: Tokenizer, strings: list[bytes], threads: int = 1) -> list[list[int]]:
    segmentations = BpeEncoder(read_bpe(tokenizer, in_order=False)).encode(Batch.of(strings), threads)
    return [segmentations.row(row).tolist() for row in range(len(strings))]


def library(tokenizer: Tokenizer, tokens: list[str]) -> list[list[int]]:
    """Ids of strings in the byte alphabet, each one pretoken."""
    return [[piece.id for piece in tokenizer.model.tokenize(token)] for token in tokens]


@settings(max_examples=60, deadline=None)
@given(merge_lists(), st.data())
def test_small_bpes_agree_with_the_definition_and_the_library(merges: Merges, data: st.DataObject) -> None:
    tokenizer, letters = bpe_of(merges), letters_of(merges)
    drawn = data.draw(st.lists(st.text(letters, min_size=1, max_size=60), max_size=20))
    strings = [*strings_over(letters, 4), *drawn]
    ids = encode(tokenizer, [string.encode() for string in strings])
    assert ids == library(tokenizer, strings)
    assert [[tokenizer.id_to_token(i) for i in row] for row in ids] == [naive_bpe(string, merges) for string in strings]


@settings(max_examples=150, deadline=None)
@given(any_merge_lists(), st.data())
def test_whatever_bpe_the_library_loads(merges: Merges, data: st.DataObject) -> None:
    tokenizer, letters = bpe_of(merges), letters_of(merges)
    drawn = data.draw(st.lists(st.text(letters, min_size=1, max_size=60), max_size=10))
    strings = [*strings_over(letters, 5), *drawn, *(text * (LONG // len(text) + 1) for text in drawn[:3])]
    ids = encode(tokenizer, [string.encode() for string in strings])
    assert ids == library(tokenizer, strings)


@settings(max_examples=25, deadline=None)
@given(any_merge_lists("abcd", 40), st.integers(0, 2**32))
def test_long_strings_take_the_heap_and_agree(merges: Merges, seed: int) -> None:
    draw, letters = random.Random(seed), letters_of(merges)
    strings = ["".join(draw.choices(letters, k=length)) for length in (LONG - 1, LONG, LONG + 1, 3 * LONG)]
    strings += [letters[0] * (LONG + 7), (letters[0] * 3 + letters[-1]) * LONG]
    tokenizer = bpe_of(merges)
    ids = encode(tokenizer, [string.encode() for string in strings])
    assert ids == library(tokenizer, strings)
    assert [tokenizer.id_to_token(i) for i in ids[1]] == naive_bpe(strings[1], merges)


def test_a_product_made_by_two_merges_takes_either() -> None:
    merges = [("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc")]
    strings = list(strings_over("abc", 6))
    ids = encode(bpe_of(merges), [string.encode() for string in strings])
    assert ids == library(bpe_of(merges), strings)


def test_a_product_that_forms_a_pair_of_lower_rank_is_merged_on_at_once() -> None:
    tokenizer = bpe_of([("a", "b"), ("b", "c"), ("a", "bc"), ("abc", "ab"), ("ab", "c")])
    strings = ["abcabc", *strings_over("abc", 7), "abc" * LONG]
    ids = encode(tokenizer, [string.encode() for string in strings])
    assert [tokenizer.id_to_token(token_id) for token_id in ids[0]] == ["abcab", "c"]
    assert ids == library(tokenizer, strings)


def test_an_added_token_that_merges_make() -> None:
    tokenizer = bpe_of([("a", "b"), ("ab", "c"), ("abc", "d")])
    tokenizer.add_special_tokens(["abc"])
    strings = list(strings_over("abcd", 5))  # as the model sees them: the library looks for added tokens before
    assert encode(tokenizer, [string.encode() for string in strings]) == library(tokenizer, strings)


def test_a_pair_listed_twice_takes_the_rank_that_the_library_gives_it() -> None:
    spec = json.loads(bpe_of([("a", "b"), ("b", "a")]).to_str())
    spec["model"]["merges"] = [["a", "b"], ["b", "a"], ["a", "b"]]
    twice = Tokenizer.from_str(json.dumps(spec))
    assert encode(twice, [b"aba", b"bab"]) == library(twice, ["aba", "bab"])


def test_threads_change_nothing() -> None:
    tokenizer = bpe_of([("a", "b"), ("ab", "ab"), ("b", "a")])
    strings = [string.encode() for string in strings_over("ab", 14)] * 2  # more than one part
    assert encode(tokenizer, strings, threads=3) == encode(tokenizer, strings)


def test_empty_strings_and_an_empty_batch() -> None:
    tokenizer = bpe_of([("a", "b")])
    assert encode(tokenizer, [b"", b"ab", b""]) == [[], [tokenizer.token_to_id("ab")], []]
    assert encode(tokenizer, []) == []


@pytest.mark.slow
@pytest.mark.needs_gpt2
def test_every_token_of_gpt2_and_runs_and_long_strings_agree(gpt2: Tokenizer) -> None:
    bpe = read_bpe(gpt2)
    draw = random.Random(0)
    strings = [token for token in bpe.token_bytes() if token]
    strings += [
        unit * count for unit in (b".", b" ", b"a", b"--", b"\xe3\x85\x8b", b"=", b"0") for count in range(1, 80)
    ]
    strings += [unit * 700 for unit in (b".", b"c", b"ab", b"\xec\x95\x84", b" ", b"\xff\x00")]
    strings += [b"".join(draw.choices(strings[:50_000], k=draw.randint(2, 12))) for _ in range(4000)]
    strings += [b"".join(draw.choices(strings[:50_000], k=400)) for _ in range(20)]
    strings += [bytes(draw.choices(range(256), k=length)) for length in (5, 511, 512, 513, 2000)]
    segmentations = BpeEncoder(bpe).encode(Batch.of(strings))
    alphabet = [gpt2.id_to_token(token_id) for token_id in bpe.byte_ids()]
    expected = library(gpt2, ["".join(alphabet[byte] for byte in string) for string in strings])
    assert [segmentations.row(row).tolist() for row in range(len(strings))] == expected


@pytest.mark.needs_gpt2
def test_gpt2_has_the_shape_that_distillation_needs(gpt2: Tokenizer) -> None:
    bpe = read_bpe(gpt2)
    assert (bpe.num_ids, len(bpe.merges_R3), bpe.unmade_ids) == (50257, 50000, {50256})
    starts, ranks = bpe.derivations()
    lengths = np.array([len(token) for token in bpe.token_bytes()])
    # a token of n bytes is made by n - 1 merges, its own the last
    assert (np.diff(starts)[:50256] == lengths[:50256] - 1).all()
    assert (ranks[starts[257:50257] - 1] == np.arange(50000)).all()
