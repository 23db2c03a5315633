"""Which of many soft constraints the range of a file's scores can afford.

A string that no text showed asks for next to nothing. Thousands of them, each cheap, can ask for more than a file
holds: a weight is raised for one of them, the weight above it for the next, and so on up to the largest score. But it
is the few on such chains that are dear. Those are dropped, the one nearest to the largest score first, until it fits.
"""

import numpy as np

from ivr.console import LOG
from ivr.tokenizer.scores.constraints import Constraints, in_order, meet, solve
from ivr.tokenizer.scores.merge_counts import Differences
from ivr.tokenizer.scores.merge_weights import token_scores


def affordable(
    prior_R: np.ndarray,
    constraints: Constraints,
    soft: Differences,
    derivations: tuple[np.ndarray, np.ndarray],
    limit: int,
    slack_R: np.ndarray | None = None,
) -> Constraints:
    """These constraints and as many of the soft ones as leave every token's score at `limit` at most.

    The constraints alone, when they leave no soft one room. `derivations`: of every token (starts, ranks), as the BPE
    has them. Time grows with the soft ones that are dropped, and with the rows of merges before theirs.
    """
    known = len(constraints.rows)
    every = constraints.copy()
    every.add_all(soft)
    order = in_order(every.rows)
    rows, is_soft = every.rows.select(order), order >= known  # as they are met, one after another
    falling, kept = -rows.ranks[rows.starts[:-1]], np.ones(len(rows), bool)
    without_R = solve(prior_R, constraints, slack_R)
    floor_R = prior_R.copy()  # a token's own rows ask for the same with and without soft ones
    for last_merge in constraints.own.values():
        floor_R[last_merge] = max(floor_R[last_merge], without_R[last_merge])
    weights_R, asking_R = meet(floor_R, rows, np.arange(len(rows)), slack_R)
    while True:
        scores_V = token_scores(weights_R, *derivations)
        largest = int(scores_V.argmax())
        if scores_V[largest] <= limit:
            break
        dear = _first_soft(_merges(largest, *derivations), rows, is_soft, asking_R, weights_R - without_R)
        if dear is None:
            LOG.info("no room for strings beyond the text")
            return constraints
        kept[dear] = False
        # later merges do not look at this one
        end = 1 - int(falling[dear])
        begin = int(np.searchsorted(falling, falling[dear]))
        others = begin + np.flatnonzero(kept[begin:])
        weights_R[:end] = floor_R[:end]
        weights_R, asking = meet(weights_R, rows, others, slack_R)
        asking_R[:end] = asking[:end]
    fitting = np.flatnonzero(is_soft & kept)
    LOG.info("%s of %s constraints of strings beyond the text fit", f"{len(fitting):,}", f"{int(is_soft.sum()):,}")
    result = constraints.copy()
    result.add_all(rows.select(fitting))
    return result


def _merges(token_id: int, starts: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    return ranks[starts[token_id] : starts[token_id + 1]]


def _first_soft(
    merges: np.ndarray, rows: Differences, is_soft: np.ndarray, asking_R: np.ndarray, raised_R: np.ndarray
) -> int | None:
    """The row of a soft constraint for which one of these merges weighs as much as it does: the first on the way down.

    `asking_R`: the row for which each weight is as large as it is, or -1; `raised_R`: by how much soft ones raised it.
    The way goes from a row to that of its other merges whose weight they raised most.
    """
    while len(merges):
        merge = int(merges[raised_R[merges].argmax()])
        row = int(asking_R[merge])
        if row < 0 or raised_R[merge] <= 0:
            return None
        if is_soft[row]:
            return row
        part = slice(rows.starts[row] + 1, rows.starts[row + 1])
        weighed = -rows.values[part] * raised_R[rows.ranks[part]]
        merges = rows.ranks[part][weighed == weighed.max(initial=1)][:1]
    return None
