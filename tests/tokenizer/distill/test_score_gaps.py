"""Margins against a list of every segmentation."""

from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.encoding.batch import Batch
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.distill.score_gaps import NO_OTHER, gaps_report, score_gaps

TOKENS = [b"a", b"b", b"ab", b"ba", b"aa", b"aab", b""]


def segmentations(text: bytes) -> Iterator[list[int]]:
    if not text:
        yield []
    for token_id, token in enumerate(TOKENS):
        if token and text.startswith(token):
            yield from ([token_id, *rest] for rest in segmentations(text[len(token) :]))


@given(
    st.lists(st.text("ab", min_size=1, max_size=9), min_size=1), st.lists(st.integers(-50, 50), min_size=7, max_size=7)
)
@settings(max_examples=200, deadline=None)
def test_the_margin_is_that_of_all_segmentations(texts: list[str], scores: list[int]) -> None:
    found = score_gaps(Batch.of([text.encode() for text in texts]), UnigramEncoder(TOKENS, np.array(scores)))
    for text, margin in zip(texts, found.tolist(), strict=True):
        totals = sorted((sum(scores[i] for i in ids) for ids in segmentations(text.encode())), reverse=True)
        assert margin == (totals[0] - totals[1] if len(totals) > 1 else NO_OTHER)


def test_the_report_counts_ties_and_names_the_closest() -> None:
    scores = np.array([0, 0, 7, 3, 5, 9, 0])
    report = gaps_report(Batch.of([b"a", b"aaa", b"ab", b"aab", b"ba"]), TOKENS, scores)
    assert (report["strings"], report["with_one_segmentation"], report["ties"]) == (5, 1, 1)
    assert report["tied_strings"] == ["aaa"]  # `aa`,`a` and `a`,`aa`
    assert report["largest_score_of_a_string"] == 9  # `aab`
    assert report["closest"][0] == {"string": "aab", "margin": 2} and report["smallest"] == 2


def test_a_string_of_more_than_64_bits_has_the_margin_of_its_parts() -> None:
    scores = np.array([0, 0, 2**53, 2**53 - 7, 3, 9, 0])
    for count in (1, 1023, 1024, 5000):
        report = gaps_report(Batch.of([b"ab" * count]), TOKENS, scores)
        assert report["smallest"] == score_gaps(Batch.of([b"ab" * count]), UnigramEncoder(TOKENS, scores))[0]
        assert report["smallest"] == 2**53, "a, b in place of one ab"
        assert report["strings_beyond_exact_sums"] == 1


def test_sums_are_said_to_be_rounded_from_2_to_the_53_on() -> None:
    for score, beyond in ((2**52 - 1, 0), (2**52, 1)):
        report = gaps_report(Batch.of([b"abab"]), TOKENS, np.array([0, 0, score, 0, 0, 0, 0]))
        assert (report["largest_score_of_a_string"], report["strings_beyond_exact_sums"]) == (2 * score, beyond)
