"""Which of many wishes the range of a file's scores can afford.

A string that no text showed asks for next to nothing. Thousands of them, each cheap, can ask for more than a file
holds: a bonus is raised for one of them, the bonus above it for the next, and so on up to the largest score. But it is
the few on such chains that are dear. Those are dropped, the one nearest to the largest score first, until it fits.
"""

import numpy as np

from ivr.console import LOG
from ivr.tokenizer.scores.constraints import Constraints, in_order, meet, solve
from ivr.tokenizer.scores.merge_counts import Differences
from ivr.tokenizer.scores.merge_weights import token_scores


def affordable(
    prior_R: np.ndarray,
    constraints: Constraints,
    wishes: Differences,
    derivations: tuple[np.ndarray, np.ndarray],
    limit: int,
    margins_R: np.ndarray | None = None,
) -> Constraints:
    """These constraints and as many of the wishes as leave every token's score at `limit` at most.

    The constraints alone, when they leave no wish room. `derivations`: of every token (starts, ranks), as the BPE has
    them. Time grows with the wishes that are dropped, and with the rows of merges before theirs.
    """
    known = len(constraints.rows)
    every = constraints.copy()
    every.add_all(wishes)
    order = in_order(every.rows)
    rows, is_wish = every.rows.select(order), order >= known  # as they are met, one after another
    falling, kept = -rows.ranks[rows.starts[:-1]], np.ones(len(rows), bool)
    without_R = solve(prior_R, constraints, margins_R)
    floor_R = prior_R.copy()  # a token's own rows ask for the same with and without wishes
    for last_merge in constraints.own.values():
        floor_R[last_merge] = max(floor_R[last_merge], without_R[last_merge])
    bonuses_R, asking_R = meet(floor_R, rows, np.arange(len(rows)), margins_R)
    while True:
        scores_V = token_scores(bonuses_R, *derivations)
        largest = int(scores_V.argmax())
        if scores_V[largest] <= limit:
            break
        dear = _first_wish(_merges(largest, *derivations), rows, is_wish, asking_R, bonuses_R - without_R)
        if dear is None:
            LOG.info("no room for strings beyond the text")
            return constraints
        kept[dear] = False
        # later merges do not look at this one
        end = 1 - int(falling[dear])
        begin = int(np.searchsorted(falling, falling[dear]))
        others = begin + np.flatnonzero(kept[begin:])
        bonuses_R[:end] = floor_R[:end]
        bonuses_R, asking = meet(bonuses_R, rows, others, margins_R)
        asking_R[:end] = asking[:end]
    fitting = np.flatnonzero(is_wish & kept)
    LOG.info("%s of %s constraints of strings beyond the text fit", f"{len(fitting):,}", f"{int(is_wish.sum()):,}")
    result = constraints.copy()
    result.add_all(rows.select(fitting))
    return result


def _merges(token_id: int, starts: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    return ranks[starts[token_id] : starts[token_id + 1]]


def _first_wish(
    merges: np.ndarray, rows: Differences, is_wish: np.ndarray, asking_R: np.ndarray, raised_R: np.ndarray
) -> int | None:
    """The row of a wish for which one of these merges' bonuses is as large as it is: the first on the way down.

    `asking_R`: the row that each bonus is as large as it is for, or -1; `raised_R`: by how much wishes raised it. The
    way goes from a row to that of its other merges whose bonus they raised most.
    """
    while len(merges):
        merge = int(merges[raised_R[merges].argmax()])
        row = int(asking_R[merge])
        if row < 0 or raised_R[merge] <= 0:
            return None
        if is_wish[row]:
            return row
        part = slice(rows.starts[row] + 1, rows.starts[row + 1])
        weighed = -rows.values[part] * raised_R[rows.ranks[part]]
        merges = rows.ranks[part][weighed == weighed.max(initial=1)][:1]
    return None
