"""The baselines of bench_select on corpora so small that the answer is known, and against `tokenizers` itself."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from baselines.across_words import adaptivocab, pair_merging
from baselines.adapt_bpe import adapt_bpe
from baselines.base_bpe import BaseBpe, save_bpe
from baselines.continued_bpe import continued_bpe
from baselines.from_scratch import train_from_scratch
from baselines.whole_words import whole_words
from baselines.word_corpus import WordCorpus
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bpe import Merges, letters_of, merge_lists, naive_bpe, vocabulary
from tokenizers import Tokenizer

from ivr.tokenizer.superwords.stream import PretokenStream

MERGES = [("a", "b"), ("c", "d"), ("ab", "c"), ("e", "f")]  # ab cd abc ef


def base_of(merges: Merges) -> BaseBpe:
    return BaseBpe.of(vocabulary(merges), merges)


def corpus_of(base: BaseBpe, text: str) -> tuple[list[bytes], np.ndarray]:
    counts = Counter(text.split())
    return [word.encode() for word in counts], np.array(list(counts.values()), np.int64)


def saved(path: Path, base: BaseBpe, result: tuple[list[bytes], list[tuple[int, int, int]]], whole: bool) -> Tokenizer:
    save_bpe(path, base, *result, whole_words=whole)
    return Tokenizer.from_file(str(path))


def num_tokens(tokenizer: Tokenizer, words: Sequence[bytes], weights: np.ndarray) -> int:
    return sum(
        len(tokenizer.encode(word.decode()).ids) * int(weight) for word, weight in zip(words, weights, strict=True)
    )


@settings(max_examples=60, deadline=None)
@given(merge_lists(), st.data())
def test_counts_stay_exact_while_merges_come_and_go(
    tmp_path_factory: pytest.TempPathFactory, merges: Merges, data: st.DataObject
) -> None:
    """After every step the segmentation of each word is naive BPE's under the current list, and so are all counts."""
    letters = letters_of(merges)
    base = base_of(merges)
    texts = data.draw(st.lists(st.text(letters, min_size=1, max_size=12), min_size=1, max_size=8, unique=True))
    weights = np.array(data.draw(st.lists(st.integers(1, 9), min_size=len(texts), max_size=len(texts))), np.int64)
    corpus = WordCorpus(base, [text.encode() for text in texts], weights, 12)
    for _ in range(data.draw(st.integers(0, 10))):
        left, right, count = corpus.best_pair()
        if data.draw(st.booleans()) and count:
            corpus.add_merge(left, right)
        elif (leaf := corpus.rarest_leaf()) >= 0:
            corpus.drop(leaf)
        pairs = [(corpus.tokens[m[0]].decode(), corpus.tokens[m[1]].decode()) for m in corpus.merges if m]
        segmentations = [naive_bpe(text, pairs) for text in texts]
        assert [[corpus.tokens[i].decode() for i in corpus.ids_of(n)] for n in range(len(texts))] == segmentations
        counted: Counter[str] = Counter()
        adjacent: Counter[tuple[str, str]] = Counter()
        for tokens, weight in zip(segmentations, weights.tolist(), strict=True):
            for token in tokens:
                counted[token] += weight
            for pair in itertools.pairwise(tokens):
                adjacent[pair] += weight
        assert {corpus.tokens[i].decode(): int(c) for i, c in enumerate(corpus.counts) if c} == counted
        assert corpus.total() == counted.total()
        frequent = max(adjacent.values(), default=0)
        assert corpus.best_pair()[2] == (frequent if frequent > 1 else 0)
        assert len({corpus.tokens[i] for i in np.flatnonzero(corpus.droppable[: len(corpus.tokens)])}) == int(
            corpus.droppable.sum()
        )


@settings(max_examples=40, deadline=None)
@given(merge_lists(), st.data(), st.sampled_from(["whole", "continued", "adapt"]))
def test_the_saved_tokenizer_is_what_was_counted(
    tmp_path_factory: pytest.TempPathFactory, merges: Merges, data: st.DataObject, kind: str
) -> None:
    base = base_of(merges)
    texts = data.draw(st.lists(st.text(letters_of(merges), min_size=1, max_size=12), min_size=1, unique=True))
    words, weights = [text.encode() for text in texts], np.arange(1, len(texts) + 1)
    swaps = data.draw(st.integers(1, min(4, len(merges))))
    methods: dict[str, Callable[..., Any]] = {"whole": whole_words, "continued": continued_bpe, "adapt": adapt_bpe}
    tokens, new_merges = methods[kind](base, words, weights, swaps)
    assert len(tokens) == len(base.tokens)
    assert sum(old != new for old, new in zip(base.tokens, tokens, strict=True)) <= swaps
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer = saved(path, base, (tokens, new_merges), kind == "whole")
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    if kind != "whole":  # every token is still reached by its merges
        made = {product for _, _, product in new_merges}
        assert all(len(token) == 1 or n in made or n in base.special for n, token in enumerate(tokens))


def test_whole_words(tmp_path: Path) -> None:
    base = base_of(MERGES)
    # ab,cd (5 times, saves 5); ab,ef,ef (4 times, saves 8); x,y (6 times, saves 6); abc is one token
    words, weights = corpus_of(base, " ".join(["abcd"] * 5 + ["abefef"] * 4 + ["xy"] * 6 + ["abc"] * 9))
    by_saved = whole_words(base, words, weights, 1)
    assert set(by_saved[0]) - set(base.tokens) == {b"abefef"}
    assert set(base.tokens) - set(by_saved[0]) == {b"ef"}  # no use of it is left
    tokenizer = saved(tmp_path / "a.json", base, by_saved, True)
    assert tokenizer.encode("abefef").tokens == ["abefef"]
    assert tokenizer.encode("abcd").tokens == ["ab", "cd"]
    by_count = whole_words(base, words, weights, 1, by_saved=False)
    assert set(by_count[0]) - set(base.tokens) == {b"xy"}
    assert set(base.tokens) - set(by_count[0]) == {b"cd"}  # 5 uses; ef has 8
    both = whole_words(base, words, weights, 2)
    assert set(both[0]) - set(base.tokens) == {b"abefef", b"xy"}
    assert set(base.tokens) - set(both[0]) == {b"ef", b"cd"}
    assert num_tokens(saved(tmp_path / "b.json", base, both, True), words, weights) == 5 * 2 + 4 + 6 + 9


def test_continued_bpe(tmp_path: Path) -> None:
    base = base_of(MERGES)
    words, weights = corpus_of(base, " ".join(["xyz"] * 7 + ["xyw"] * 2 + ["abc"] * 9 + ["efef"] * 3))
    tokens, merges = continued_bpe(base, words, weights, 2)
    # x y: 9 times; then xy z: 7 times. Out: cd, never used; then abc (9) or ef (6): ef
    assert set(tokens) - set(base.tokens) == {b"xy", b"xyz"}
    assert set(base.tokens) - set(tokens) == {b"cd", b"ef"}
    strings = [(tokens[x], tokens[y]) for x, y, _ in merges]
    assert strings == [(b"a", b"b"), (b"ab", b"c"), (b"x", b"y"), (b"xy", b"z")]
    tokenizer = saved(tmp_path / "t.json", base, (tokens, merges), False)
    assert num_tokens(tokenizer, words, weights) == 7 * 1 + 2 * 2 + 9 * 1 + 3 * 4


def test_adapt_bpe_stops_when_a_swap_does_not_pay(tmp_path: Path) -> None:
    base = base_of(MERGES)
    words, weights = corpus_of(base, " ".join(["xyz"] * 7 + ["xyw"] * 2 + ["abc"] * 9 + ["efef"] * 4))
    tokens, merges = adapt_bpe(base, words, weights, 4)
    # cd (0) for xy (9). Then ef (8 uses) is the rarest leaf and xy z (7) the best pair: no gain
    assert set(tokens) - set(base.tokens) == {b"xy"}
    assert set(base.tokens) - set(tokens) == {b"cd"}
    words, weights = corpus_of(base, " ".join(["xyz"] * 9 + ["xyw"] * 2 + ["abc"] * 9 + ["efef"] * 4))
    tokens, merges = adapt_bpe(base, words, weights, 4)
    # now xy z (9) is worth more than ef (8); then the rarest leaf has 9 uses, and no pair has more
    assert set(tokens) - set(base.tokens) == {b"xy", b"xyz"}
    assert set(base.tokens) - set(tokens) == {b"cd", b"ef"}
    assert num_tokens(saved(tmp_path / "t.json", base, (tokens, merges), False), words, weights) == 9 + 4 + 9 + 16


def test_a_pair_whose_string_is_a_token_takes_no_id() -> None:
    base = base_of([("a", "b"), ("b", "c"), ("ab", "c")])  # bc never comes of abc; a bc is abc's string
    corpus = WordCorpus(base, [b"bca"], np.array([1]), 4)
    bc, a, abc = (base.tokens.index(token) for token in (b"bc", b"a", b"abc"))
    corpus._pair_words[(a << 32) | bc] = [np.array([0])]
    assert not corpus.add_merge(a, bc)
    assert corpus.tokens[abc] == b"abc" and len(corpus.tokens) == len(base.tokens)


def test_from_scratch(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    train_from_scratch(path, ["low lower lowest"] * 3, 259)  # 256 bytes, the special token, two merges: l o, lo w
    tokenizer = Tokenizer.from_file(str(path))
    assert tokenizer.get_vocab_size() == 259
    assert tokenizer.encode("low").tokens == ["low"]


def stream_of(*segments: str) -> tuple[PretokenStream, np.ndarray]:
    """Letters are pretokens, of as many tokens as their place in the alphabet says (`a` 1); nothing spans segments."""
    rows = [ord(letter) - ord("a") for segment in segments for letter in segment]
    joined = [at + 1 < len(segment) for segment in segments for at in range(len(segment))]
    numbers = [number for number, segment in enumerate(segments) for _ in segment]
    stream = PretokenStream(np.array(rows, np.int32), np.array(numbers, np.int32), np.array(joined, bool))
    return stream, np.arange(1, 5)


def test_pair_merging_joins_what_saves_most_and_then_what_holds_it() -> None:
    """`bc` saves 3 x 4, then `a` + `bc` 3 x 1, as much as `d` alone does, once; `b` alone 2 x 1."""
    stream, lengths_P = stream_of("abc", "abc", "abc", "ab", "ab", "d")
    assert pair_merging(stream, lengths_P, 1) == [(1, 2)]
    assert pair_merging(stream, lengths_P, 9) == [(1, 2), (0, 1, 2), (3,), (1,)]


def test_pair_merging_takes_every_other_pair_of_a_run() -> None:
    stream, lengths_P = stream_of("aaaaa", "aaaaa", "aaaaa")
    assert pair_merging(stream, lengths_P, 1) == [(0, 0)]
    assert pair_merging(stream, lengths_P, 9)[:2] == [(0, 0), (0, 0, 0)]


def test_adaptivocab_ranks_ngrams_of_three_words_as_if_alone() -> None:
    stream, lengths_P = stream_of("abcd", "abcd", "abcd")
    assert adaptivocab(stream, lengths_P, 2) == [(1, 2, 3), (2, 3)]
    assert len(adaptivocab(stream, lengths_P, 99)) == 8  # not `a`, which is one token
