"""Sums that 64 bits do not hold: weights and scores at the limit, and beyond it."""

import numpy as np
import pytest

from ivr.tokenizer.scores.constraints import CLOSE, LARGEST, Constraints, solve
from ivr.tokenizer.scores.merge_counts import Differences
from ivr.tokenizer.scores.merge_weights import TOO_LARGE, token_scores


def solved(row: dict[int, int], weights: list[int]) -> list[int]:
    constraints = Constraints()
    constraints.add_all(Differences(np.array([0, len(row)]), np.array(list(row)), np.array(list(row.values()))))
    return solve(np.array(weights, np.int64), constraints).tolist()


@pytest.mark.parametrize("uses", [2**20, 2**43 - 1, 2**43])
def test_a_merge_that_a_string_uses_so_often_asks_for_just_what_it_must(uses: int) -> None:
    weight = 2**10
    needed = uses * weight + 1
    assert solved({0: 1, 1: -uses}, [1, weight])[0] == min(needed, LARGEST)
    assert solved({0: 2**30, 1: -uses}, [1, weight])[0] == -(-needed // 2**30)


@pytest.mark.parametrize("uses", [int(CLOSE) // LARGEST - 1, int(CLOSE) // LARGEST, 2**9, 2**20])
def test_beyond_64_bits_the_first_weight_still_outweighs_the_others(uses: int) -> None:
    """A string of a million bytes with the dearest merge: its sum wraps around and once asked for nothing."""
    weights = solved({0: 2 * uses, 1: -uses}, [1, LARGEST])
    assert 2 * uses * weights[0] - uses * weights[1] >= 1
    assert weights[0] <= LARGEST // 2 * (1 + 2**-30)
    assert solved({0: 1, 1: -uses}, [1, LARGEST])[0] == LARGEST
    assert solved({0: 1, 1: uses}, [1, LARGEST])[0] == 1, "it outweighs them as it is"


@pytest.mark.parametrize(
    ("merges", "score"), [(127, 127 * 2**55), (128, TOO_LARGE), (256, TOO_LARGE), (5000, TOO_LARGE)]
)
def test_a_score_that_64_bits_do_not_hold_is_too_large_and_not_negative(merges: int, score: int) -> None:
    weights_R = np.full(merges + 1, LARGEST, np.int64)
    weights_R[0] = 3
    starts = np.array([0, merges, merges + 1])
    assert token_scores(weights_R, starts, np.array([*range(1, merges + 1), 0])).tolist() == [score, 3]
