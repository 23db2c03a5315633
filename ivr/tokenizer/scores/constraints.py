"""What weights must meet, sparse rows d with sum_r d_r b_r >= 1, and the smallest weights that meet them."""

import itertools
from array import array

import numpy as np

from ivr.encoding.compiler import compiled
from ivr.tokenizer.scores.merge_counts import Differences

LARGEST = 1 << 55  # weight: no file holds it exactly, and sums of them are still no more than 64 bits
CLOSE = 2.0**60  # sums below are exact
ROUNDING = 2.0**-40  # of float64 sums of a million terms, at most
MAX_TURNS = 60  # of raising weights for the tokens' own rows

WIDTH = 16  # bytes of a rank and its value
Row = tuple[tuple[int, int], ...]  # (rank, d), ranks ascending


class Constraints:
    """Rows d with sum_r d_r b_r >= 1, sparse: ranks ascending, the first one's d positive.

    `own`: rows that a token needs to be produced for its own string although a run in it has a lexicographically larger
    split (` ...` against ` .`,`..`), by the rank of the token's last merge, the weight that is raised for it.
    """

    def __init__(self) -> None:
        self.own: dict[Row, int] = {}
        self.given_up: set[Row] = set()  # those of `own` that contradict others
        self._known: set[bytes] = set()
        # the other rows one after another: the ranks, the values, and the end of each
        self._ranks, self._values, self._ends = (array("q") for _ in range(3))

    def __len__(self) -> int:
        return len(self._known) + len(self.own)

    def copy(self) -> "Constraints":
        other = Constraints()
        other.own, other.given_up, other._known = self.own.copy(), self.given_up.copy(), self._known.copy()
        other._ranks, other._values, other._ends = self._ranks[:], self._values[:], self._ends[:]
        return other

    @property
    def rows(self) -> Differences:
        """All but those of `own`, as they were added."""
        starts = np.concatenate([np.zeros(1, np.int64), np.array(self._ends, np.int64)])
        return Differences(starts, np.array(self._ranks, np.int64), np.array(self._values, np.int64))

    def add_all(self, rows: Differences) -> int:
        """Add these; how many were not known."""
        bounds = rows.starts.tolist()
        pairs = np.stack([rows.ranks, rows.values], axis=1).astype(np.int64).tobytes()
        new = []
        for number, (begin, end) in enumerate(itertools.pairwise(bounds)):
            row = pairs[WIDTH * begin : WIDTH * end]
            if row not in self._known:
                self._known.add(row)
                new.append(number)
        added = rows.select(np.array(new, np.int64))
        begin = len(self._ranks)
        self._ranks.frombytes(added.ranks.astype(np.int64).tobytes())
        self._values.frombytes(added.values.astype(np.int64).tobytes())
        self._ends.frombytes((added.starts[1:] + begin).astype(np.int64).tobytes())
        return len(new)

    def add_own(self, difference: dict[int, int], last_merge: int) -> bool:
        """Add {rank: d} for a token whose last merge has this rank; False when it was known."""
        row = tuple(sorted(difference.items()))
        if row in self.own or row in self.given_up:
            return False
        self.own[row] = last_merge
        return True

    def give_up(self, row: Row) -> None:
        """Do without this row of `own`; the certificate names the token that suffers."""
        del self.own[row]
        self.given_up.add(row)


@compiled
def _solve(weights, asking, order, starts, ranks, values, slack):  # type: ignore[no-untyped-def]
    for row in order:
        first = starts[row]
        short = np.int64(1)
        roughly = 1.0
        for i in range(first + 1, starts[row + 1]):
            short -= values[i] * weights[ranks[i]]  # modulo 2^64
            roughly -= np.float64(values[i]) * weights[ranks[i]]
        if abs(roughly) < CLOSE:
            if short > 0:
                short += np.int64(short * slack[ranks[first]])
            need = min((short + values[first] - 1) // values[first], LARGEST)
        else:  # more than 64 bits hold: of a very long string, which has a merge a million times
            roughly *= (1 + slack[ranks[first]]) * (1 + ROUNDING) / values[first]
            need = np.int64(max(min(roughly, np.float64(LARGEST)), 0.0))
        if need > weights[ranks[first]]:
            weights[ranks[first]] = need
            asking[ranks[first]] = row


def solve(prior_R: np.ndarray, constraints: Constraints, slack_R: np.ndarray | None = None) -> np.ndarray:
    """The smallest weights >= prior that meet every constraint and its slack, int64 (R,).

    `slack_R`: by which share of what a constraint asks of its first weight this one is larger. A string that was not
    seen can ask for a little more than one that was: `vo` is to outweigh `oj` and ` sv` where it was asked to
    outweigh `oj`. Rows of `own` are met as they are.
    """
    rows = constraints.rows
    order = in_order(rows)
    floor_R = prior_R.copy()
    for _ in range(MAX_TURNS):
        weights_R, _ = meet(floor_R, rows, order, slack_R)
        unmet = []
        for row, last_merge in constraints.own.items():
            missing = 1 - sum(d * int(weights_R[rank]) for rank, d in row)
            if missing > 0:
                floor_R[last_merge] = max(floor_R[last_merge], weights_R[last_merge] + missing)
                unmet.append(row)
        if not unmet:
            return weights_R
    # those that are met have no part in the circle: of the others the last one was added to what could be met
    constraints.give_up(unmet[-1])
    return solve(prior_R, constraints, slack_R)


def in_order(rows: Differences) -> np.ndarray:
    """The rows with the last first rank first, int64."""
    return np.argsort(-rows.ranks[rows.starts[:-1]], kind="stable")


def meet(
    floor_R: np.ndarray, rows: Differences, order: np.ndarray, slack_R: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(the smallest weights >= floor that meet these rows, the row for which each is as large as it is, or -1).

    `order`: the rows to meet, as `in_order` has them; `slack_R` as in `solve`.
    """
    weights_R, asking_R = floor_R.copy(), np.full(len(floor_R), -1, np.int64)
    slack_R = np.zeros(len(floor_R)) if slack_R is None else slack_R
    _solve(weights_R, asking_R, order, rows.starts, rows.ranks, rows.values, slack_R)
    return weights_R, asking_R
