"""The paired bootstrap against the normal approximation, and where it has nothing to say."""

import numpy as np
import pytest

from ivr.evaluation.bits_per_byte import Scores
from ivr.evaluation.intervals import paired_difference


def scores(bits: np.ndarray, sizes: np.ndarray) -> Scores:
    return Scores(bits, np.ones(len(bits), dtype=np.int64), sizes)


def test_on_many_documents_of_one_size_it_is_the_normal_interval_of_the_mean() -> None:
    draw = np.random.default_rng(1)
    sizes = np.full(400, 100)
    common = draw.normal(200, 50, 400)  # what is hard for both cancels
    gain = draw.normal(5, 2, 400)
    found = paired_difference(scores(common - gain, sizes), scores(common, sizes))
    mean, half = -gain.mean() / 100, 1.96 * gain.std(ddof=1) / np.sqrt(400) / 100
    assert found.difference == pytest.approx(mean)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half), abs=half / 10)


def test_long_documents_count_by_their_bytes() -> None:
    sizes = np.array([1000, 10, 10, 10])
    found = paired_difference(scores(np.array([1000.0, 0, 0, 0]), sizes), scores(np.zeros(4), sizes))
    assert found.difference == pytest.approx(1000 / 1030)
    assert found.low == 0  # three resamples in ten are without the only document that differs
    assert found.high == pytest.approx(1, abs=0.01)


def test_it_is_the_same_every_time_and_for_one_document_there_is_none() -> None:
    sizes = np.array([10, 20, 30])
    pair = scores(np.array([1.0, 2, 5]), sizes), scores(np.array([2.0, 2, 4]), sizes)
    assert paired_difference(*pair) == paired_difference(*pair)
    one = paired_difference(scores(np.array([5.0]), sizes[:1]), scores(np.array([4.0]), sizes[:1]))
    assert (one.difference, one.low, one.high) == (0.1, None, None)
