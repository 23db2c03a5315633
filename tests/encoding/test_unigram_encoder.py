"""UnigramEncoder = the `tokenizers` library, ties included; and the best of all segmentations."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bpe import strings_over
from tokenizers import Tokenizer, models

from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.unigram_encoder import FAR, UnigramEncoder
from ivr.errors import ConfigError

LETTERS = "abc"


@st.composite
def vocabularies(draw: st.DrawFn) -> dict[str, int]:
    """The letters and up to 25 longer tokens with small integer scores: ties are common."""
    longer = draw(st.lists(st.text(LETTERS, min_size=2, max_size=6), max_size=25, unique=True))
    return {token: draw(st.integers(-5, 12)) for token in [*LETTERS, *longer]}


def encoder_of(vocab: dict[str, int]) -> UnigramEncoder:
    return UnigramEncoder([token.encode() for token in vocab], np.array(list(vocab.values())))


def library_of(vocab: dict[str, int]) -> Tokenizer:
    return Tokenizer(models.Unigram([(token, float(score)) for token, score in vocab.items()]))


def segmentations_of(text: str, vocab: dict[str, int]) -> list[list[str]]:
    """Every way to write `text` with these tokens."""
    found = []
    for cuts in itertools.product((False, True), repeat=len(text) - 1):
        borders = [0, *(place + 1 for place, cut in enumerate(cuts) if cut), len(text)]
        pieces = [text[begin:end] for begin, end in itertools.pairwise(borders)]
        if all(piece in vocab for piece in pieces):
            found.append(pieces)
    return found


@settings(max_examples=80, deadline=None)
@given(vocabularies(), st.lists(st.text(LETTERS, min_size=1, max_size=40), max_size=20))
def test_ids_are_the_librarys_also_where_segmentations_tie(vocab: dict[str, int], drawn: list[str]) -> None:
    strings = [*strings_over(LETTERS, 4), *drawn]
    batch = Batch.of([string.encode() for string in strings])
    encoder, library = encoder_of(vocab), library_of(vocab)
    ours = encoder.encode(batch)
    for row, string in enumerate(strings):
        assert ours.row(row).tolist() == library.encode(string).ids


@settings(max_examples=40, deadline=None)
@given(vocabularies(), st.text(LETTERS, min_size=1, max_size=9))
def test_the_total_is_the_best_of_all_segmentations(vocab: dict[str, int], text: str) -> None:
    best = max(sum(vocab[piece] for piece in pieces) for pieces in segmentations_of(text, vocab))
    assert encoder_of(vocab).best_totals(Batch.of([text.encode()])).tolist() == [best]


@settings(max_examples=40, deadline=None)
@given(vocabularies(), st.text(LETTERS, min_size=2, max_size=9), st.data())
def test_a_banned_id_is_not_used(vocab: dict[str, int], text: str, data: st.DataObject) -> None:
    banned = data.draw(st.sampled_from([token for token in vocab if len(token) > 1] or ["none"]))
    without = {token: score for token, score in vocab.items() if token != banned}
    number = list(vocab).index(banned) if banned in vocab else -1
    batch = Batch.of([text.encode()])
    ids = encoder_of(vocab).encode(batch, banned=number).row(0).tolist()
    assert [list(vocab)[i] for i in ids] == library_of(without).encode(text).tokens


@settings(max_examples=30, deadline=None)
@given(vocabularies(), st.text(LETTERS, min_size=1, max_size=40), st.integers(50, 54))
def test_sums_beyond_64_bits_change_nothing(vocab: dict[str, int], text: str, bits: int) -> None:
    small = encoder_of(vocab)
    large = small.with_scores(small.scores_V << bits)  # up to 2^58 for a token, 2^69 for a string
    batch = Batch.of([text.encode(), 300 * text.encode()])
    assert large.encode(batch).ids.tolist() == small.encode(batch).ids.tolist()
    expected = [max(min(total << bits, int(FAR)), -int(FAR)) for total in small.best_totals(batch).tolist()]
    assert large.best_totals(batch).tolist() == expected


@pytest.mark.parametrize("count", [1023, 1024, 1025])
def test_sums_at_64_bits_and_beyond(count: int) -> None:
    score = 2**53
    encoder = UnigramEncoder([b"A", b"AA", b"AAA"], np.array([0, score, score - 1]))
    batch = Batch.of([b"AA" * count])
    assert encoder.encode(batch).ids.tolist() == [1] * count
    assert encoder.best_totals(batch).tolist() == [min(count * score, FAR)]


def test_a_string_that_no_tokens_make_is_refused() -> None:
    encoder = encoder_of({"a": 0, "b": 0, "xb": 1})
    assert encoder.encode(Batch.of([b"axb", b""])).ids.tolist() == [0, 2]
    with pytest.raises(ConfigError, match="no tokens make b'bxa'"):
        encoder.encode(Batch.of([b"ab", b"bxa"]))
    truth = Segmentations(np.array([1, 0], np.int32), np.array([0, 2]))
    assert encoder.differing(Batch.of([b"bxa"]), truth).tolist() == [0]


def test_other_scores_leave_the_first_as_they_were() -> None:
    vocab = {"a": 0, "b": 0, "ab": 1}
    first = encoder_of(vocab)
    second = first.with_scores(np.array([0, 0, -1]))
    batch = Batch.of([b"ab"])
    assert first.encode(batch).ids.tolist() == [2]
    assert second.encode(batch).ids.tolist() == [0, 1]
