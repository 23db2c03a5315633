"""Counts of `select` = those of `UnigramEncoder`, cuts and ties included; and new tokens keep their own strings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.encoding.batch import Batch
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.errors import ConfigError
from ivr.tokenizer.select.recount import CutBatch, Lattices
from ivr.tokenizer.select.vocabulary_state import VocabularyState
from ivr.tokenizer.unigram_file import NEVER

LETTERS = "abc"
WORD = st.text(LETTERS, min_size=1, max_size=9).map(str.encode)
LONGER = st.lists(st.text(LETTERS, min_size=2, max_size=5).map(str.encode), max_size=20, unique=True)
PIECES = st.lists(st.lists(WORD, min_size=1, max_size=3), min_size=1, max_size=8)


def tokens_and_scores(longer: list[bytes], data: st.DataObject) -> tuple[list[bytes], np.ndarray]:
    tokens = [*(letter.encode() for letter in LETTERS), *longer]
    return tokens, np.array([data.draw(st.integers(0, 30 * len(token))) for token in tokens], np.int64)


@settings(max_examples=150, deadline=None)
@given(LONGER, PIECES, st.data())
def test_tokens_and_scores_are_those_of_the_encoder(
    longer: list[bytes], pieces: list[list[bytes]], data: st.DataObject
) -> None:
    tokens, scores_V = tokens_and_scores(longer, data)
    encoder, batch = UnigramEncoder(tokens, scores_V), CutBatch.of(pieces)
    lattices, rows = Lattices(batch, encoder), np.arange(len(pieces))
    whole = np.array([data.draw(st.booleans()) for _ in pieces])
    used = np.zeros(len(batch.strings.data), np.int32)
    lengths, totals = lattices.measure(scores_V, rows, whole, used=used)
    for row, parts in enumerate(pieces):
        taken = Batch.of([b"".join(parts)] if whole[row] else parts)
        assert lengths[row] == encoder.encode(taken).lengths().sum()
        assert totals[row] == encoder.best_totals(taken).sum()
        span = used[batch.strings.starts[row] : batch.strings.starts[row + 1]]
        assert span[span >= 0].tolist() == encoder.encode(taken).ids.tolist()
        for token in range(len(tokens)):
            assert lattices.using(used, np.array([row]), token)[0] == (token in span)


@settings(max_examples=80, deadline=None)
@given(LONGER, PIECES, st.data())
def test_a_forced_token_is_used_as_often_as_can_be(
    longer: list[bytes], pieces: list[list[bytes]], data: st.DataObject
) -> None:
    tokens, scores_V = tokens_and_scores(longer, data)
    lattices, rows = Lattices(CutBatch.of(pieces), UnigramEncoder(tokens, scores_V)), np.arange(len(pieces))
    forced = data.draw(st.integers(0, len(tokens) - 1))
    _, uses, _ = lattices.measure_forced(scores_V, rows, np.ones(len(pieces), bool), forced)
    for row, parts in enumerate(pieces):
        assert uses[row] == b"".join(parts).count(tokens[forced])


def test_a_token_used_a_thousand_times_and_more_in_one_pretoken() -> None:
    """A sum with 2^53 for every use leaves 64 bits at 1,024 of them."""
    tokens, scores_V = [b"A", b"AA", b"C"], np.array([0, 7, 3], np.int64)
    counts = [1023, 1024, 1025, 40_000]
    strings = [b"C" + b"AA" * count for count in counts]
    lattices, rows = Lattices(CutBatch.whole(strings), UnigramEncoder(tokens, scores_V)), np.arange(len(counts))
    lengths, uses, rest = lattices.measure_forced(np.array([0, 0, 3]), rows, np.ones(len(counts), bool), 1)
    assert uses.tolist() == counts and rest.tolist() == [3] * len(counts)
    assert lengths.tolist() == [count + 1 for count in counts]


def test_a_string_that_no_tokens_make_is_refused() -> None:
    lattices = Lattices(CutBatch.whole([b"ab", b"axb"]), UnigramEncoder([b"a", b"b"], np.zeros(2)))
    with pytest.raises(ConfigError, match="no tokens make b'axb'"):
        lattices.measure(np.zeros(2, np.int64), np.arange(2), np.ones(2, bool))


@settings(deadline=None)
@given(LONGER, PIECES)
def test_holders_are_the_rows_with_the_string(longer: list[bytes], pieces: list[list[bytes]]) -> None:
    tokens = [*(letter.encode() for letter in LETTERS), *longer]
    starts, rows = Lattices(CutBatch.of(pieces), UnigramEncoder(tokens, np.zeros(len(tokens)))).holders()
    for number, token in enumerate(tokens):
        found = rows[starts[number] : starts[number + 1]].tolist()
        expected = [row for row, parts in enumerate(pieces) if token in b"".join(parts)]
        assert found == (expected if len(token) > 1 else [])


@settings(max_examples=150, deadline=None)
@given(LONGER, st.lists(WORD, min_size=1, max_size=12, unique=True), st.data())
def test_entering_and_leaving_changes_what_it_says_and_parts_no_new_token(
    longer: list[bytes], words: list[bytes], data: st.DataObject
) -> None:
    tokens, scores_V = tokens_and_scores(longer, data)
    known = {*tokens}
    new = sorted({word[i:j] for word in words for i in range(len(word)) for j in range(i + 2, len(word) + 1)} - known)
    weights_P = np.array([data.draw(st.integers(1, 9)) for _ in words], np.int64)
    state = VocabularyState(CutBatch.whole(words), weights_P, tokens, scores_V, new)
    own = [
        number
        for number, token in enumerate(tokens)
        if UnigramEncoder(tokens, scores_V).encode(Batch.of([token])).ids.tolist() == [number]
    ]
    for _ in range(data.draw(st.integers(1, 6)) if new else 0):
        token = state.num_old + data.draw(st.integers(0, len(new) - 1))
        before = state.total()
        if state.score_of(token) == NEVER:
            change, score = state.enter_best(token)
            assert state.total() == before
            if change == np.inf:
                continue
            assert state.enter(token, score) == change
        else:
            change = state.eviction_cost(token)
            assert state.leave(token) == change
        assert state.total() == before + change
        every = UnigramEncoder([*tokens, *new], state.scores())
        assert state.total() == every.encode(Batch.of(words)).lengths() @ weights_P
        assert state.segmentations().ids.tolist() == every.encode(Batch.of(words)).ids.tolist()
        in_use = [number for number in range(len(new)) if state.score_of(state.num_old + number) != NEVER]
        for number in [*own, *(state.num_old + number for number in in_use)]:
            assert every.encode(Batch.of([[*tokens, *new][number]])).ids.tolist() == [number]


def test_a_part_enters_beside_what_holds_it() -> None:
    """As in SMILES: `+](=` is in use, `(=` has a high score, and `+]` would part it."""
    tokens = [bytes([byte]) for byte in range(256)]
    new = [b"+](=", b"(=", b"+]"]
    words = [b"+](=", b"x(=", b"+]", b"+]O"]
    state = VocabularyState(CutBatch.whole(words), np.array([50, 40, 30, 20]), tokens, np.zeros(256, np.int64), new)
    state.enter(256, 16)
    state.enter(257, 15)
    change, score = state.enter_best(258)
    assert change == -(30 + 20)
    assert score >= 1
    assert state.enter(258, score) == change
    assert state.lengths_P.tolist() == [1, 2, 1, 2]
    state.leave(258)
    state.enter(258, 40)  # a score that parts it by far: the whole string's rises, too
    assert state.lengths_P.tolist() == [1, 2, 1, 2]
    assert state.score_of(256) == 40 + 15 + 1
