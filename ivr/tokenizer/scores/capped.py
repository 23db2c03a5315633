"""Soft constraints by the hundred thousand: those that raise no weight too far above what the text asks of it.

Of a large vocabulary a million strings of two tokens lose that no text shows, and a file has no room for all of them.
`budget` drops one after another, which takes too long here. So a bound decides in one pass: when no weight is more than
c times what it is without them, no score is, and c is what the largest score has left. Rows that ask for more are
dropped, and since a row looks at later merges alone, whose weights are then settled, all others are met. A token's own
row looks at earlier ones too: a soft row does not raise those.
"""

import numpy as np

from ivr.console import LOG
from ivr.encoding.compiler import compiled
from ivr.tokenizer.scores.constraints import CLOSE, LARGEST, Constraints, in_order, solve
from ivr.tokenizer.scores.merge_counts import Differences
from ivr.tokenizer.scores.merge_weights import token_scores

FEWER = 0.7  # of the bound, where constraints that are no soft ones pass it
LEAST = 1.05  # a bound below is no room


def within_bound(
    prior_R: np.ndarray,
    constraints: Constraints,
    soft: Differences,
    derivations: tuple[np.ndarray, np.ndarray],
    limit: int,
    slack_R: np.ndarray,
) -> Constraints:
    """These constraints and those of the soft ones that leave every token's score at `limit` at most.

    `derivations`: of every token (starts, ranks), as the BPE has them. Time: some passes over the rows.
    """
    known = len(constraints.rows)
    every = constraints.copy()
    every.add_all(soft)
    order = in_order(every.rows)
    rows, is_soft = every.rows.select(order), order >= known
    without_R = solve(prior_R, constraints, slack_R)
    floor_R = prior_R.copy()  # what a token's own rows ask for, to begin with
    held_R = np.zeros(len(prior_R), bool)  # what soft ones must not raise, or a token's own row would be given up
    for row, last_merge in constraints.own.items():
        floor_R[last_merge] = without_R[last_merge]
        held_R[[rank for rank, d in row if d < 0]] = True
    bound = limit / max(int(token_scores(without_R, *derivations).max(initial=0)), 1)
    while bound >= LEAST:
        cap_R = np.where(held_R, without_R, np.minimum(without_R * bound, LARGEST).astype(np.int64))
        kept = ~is_soft
        _meet_capped(floor_R.copy(), cap_R, kept, rows.starts, rows.ranks, rows.values, slack_R)
        result = constraints.copy()
        result.add_all(rows.select(np.flatnonzero(is_soft & kept)))
        solved = result.copy()
        scores_V = token_scores(solve(prior_R, solved, slack_R), *derivations)
        if scores_V.max(initial=0) <= limit and solved.own == constraints.own:
            told = f"{int((is_soft & kept).sum()):,}", f"{int(is_soft.sum()):,}", bound
            LOG.info("%s of %s constraints of strings beyond the text fit, each weight %.3g times at most", *told)
            return result
        bound *= FEWER
    LOG.info("no room for strings beyond the text")
    return constraints


@compiled
def _meet_capped(weights, cap, kept, starts, ranks, values, slack):  # type: ignore[no-untyped-def]
    """Raise weights for the rows that are `kept` and for the others that stay below the cap, which are kept then."""
    for row in range(len(starts) - 1):
        first = starts[row]
        short = np.int64(1)
        roughly = 1.0
        for i in range(first + 1, starts[row + 1]):
            short -= values[i] * weights[ranks[i]]
            roughly -= np.float64(values[i]) * weights[ranks[i]]
        if short > 0:
            short += np.int64(short * slack[ranks[first]])
        need = (short + values[first] - 1) // values[first]
        if roughly >= CLOSE or need > cap[ranks[first]]:  # more than 64 bits hold, or than is allowed
            if not kept[row]:
                continue
            need = cap[ranks[first]] if roughly >= CLOSE else need
        kept[row] = True
        if roughly > -CLOSE and need > weights[ranks[first]]:
            weights[ranks[first]] = need
