"""Soft constraints within a bound: the file holds the scores, what was there is met, and what is kept is met."""

from random import Random

import numpy as np
import pytest
from test_budget import DERIVATIONS, NUM_MERGES, differences, scores

from ivr.tokenizer.scores.capped import within_bound
from ivr.tokenizer.scores.constraints import LARGEST, Constraints, solve
from ivr.tokenizer.scores.merge_counts import Differences

NO_SLACK = np.zeros(NUM_MERGES)
ONES = np.ones(NUM_MERGES, np.int64)


def bounded(known: Differences, soft: Differences, limit: int) -> Constraints:
    constraints = Constraints()
    constraints.add_all(known)
    return within_bound(ONES, constraints, soft, DERIVATIONS, limit, NO_SLACK)


def test_the_dear_one_is_dropped_and_the_cheap_ones_stay() -> None:
    known = differences({0: 1, 1: -2})
    dear, cheap = {1: 1, 2: -9}, [{3: 1, 4: -2}, {5: 1, 6: -2}]
    assert len(bounded(known, differences(dear, *cheap), 100)) == 4
    kept = bounded(known, differences(dear, *cheap), 20)
    assert scores(kept) == [3, 1, 1, 3, 1, 3, 1, 1] and len(kept) == 3


def test_no_weight_passes_the_bound_where_the_largest_has_little_room() -> None:
    """Rank 0 has 21 without soft ones; twice that leaves rank 4 twice what it is, though it is no large score."""
    known = differences({0: 1, 1: -20})
    assert len(bounded(known, differences({4: 1, 5: -2}), 42)) == 1
    assert len(bounded(known, differences({4: 1, 5: -1}), 42)) == 2


def test_the_constraints_alone_remain_where_they_leave_no_room() -> None:
    known, soft = differences({0: 1, 1: -50}), differences({3: 1, 4: -1})
    assert scores(bounded(known, soft, 40)) == [51, 1, 1, 1, 1, 1, 1, 1]


def test_what_was_asked_before_passes_the_bound_if_it_must_and_a_smaller_bound_is_tried() -> None:
    """Rank 0 is to outweigh 9 of rank 2 less 17 of rank 4: where soft ones raise rank 2 alone, it needs far more."""
    known = differences({0: 1, 2: -9, 4: 17})
    kept = bounded(known, differences({2: 1, 3: -3}, {6: 1, 7: -1}), 10)
    assert len(kept) == 2 and scores(kept) == [1, 1, 1, 1, 1, 1, 2, 1]


def test_a_token_s_own_row_is_not_given_up_for_soft_ones() -> None:
    """Merge 5 must outweigh merge 1 for its own string; a soft row puts 1 above 3, a known one 3 above 5: no end."""
    constraints = Constraints()
    constraints.add_all(differences({3: 1, 5: -1}))
    constraints.add_own({1: -1, 5: 1}, 5)
    soft = differences({1: 1, 3: -1}, {6: 1, 7: -1})
    kept = within_bound(ONES, constraints, soft, DERIVATIONS, 1_000, NO_SLACK)
    assert len(kept) == 3 and scores(kept) == [1, 1, 1, 3, 1, 2, 2, 1] and kept.own == constraints.own


def test_sums_beyond_64_bits_are_no_small_ones() -> None:
    known = differences({1: 1, 2: -LARGEST // 64})
    kept = bounded(known, differences({0: 1, 1: -(2**20)}), LARGEST)
    assert len(kept) == 1


@pytest.mark.parametrize("seed", range(200))
def test_all_that_is_kept_is_met_below_the_limit(seed: int) -> None:
    draw = Random(seed)

    def rows(number: int) -> Differences:
        made = []
        for _ in range(number):
            ranks = sorted(draw.sample(range(NUM_MERGES), draw.randint(2, 4)))
            made.append({ranks[0]: draw.randint(1, 2)} | {rank: draw.choice([-3, -2, -1, 1, 2]) for rank in ranks[1:]})
        return differences(*made)

    known, soft, limit = rows(3), rows(6), draw.choice([10, 60, 10_000])
    kept = bounded(known, soft, limit)
    weights_R = solve(ONES, kept)
    asked = kept.rows
    assert all(sum(d * weights_R[rank] for rank, d in asked.row(row).items()) >= 1 for row in range(len(asked)))
    alone = Constraints()
    alone.add_all(known)
    assert weights_R.max() <= limit or len(kept) == len(alone)
    assert {*map(str, map(known.row, range(len(known))))} <= {*map(str, map(asked.row, range(len(asked))))}
    if limit == 10_000:
        everything = alone.copy()
        everything.add_all(soft)
        assert len(kept) == len(everything) or solve(ONES, everything).max() > limit / 1_000
