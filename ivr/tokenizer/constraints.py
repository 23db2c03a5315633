"""What bonuses must meet, sparse rows d with sum_r d_r b_r >= 1, and the smallest bonuses that meet them."""

from array import array
from dataclasses import dataclass, field

import numpy as np

from ivr.encoding.compiler import compiled

MAX_TURNS = 60  # of raising bonuses for the tokens' own rows

Row = tuple[tuple[int, int], ...]  # (rank, d), ranks ascending


@dataclass
class Constraints:
    """Rows d with sum_r d_r b_r >= 1, sparse: ranks ascending, the first one's d positive.

    `own`: rows that a token needs to be produced for its own string although a run in it has a lexicographically larger
    split (` ...` against ` .`,`..`), by the rank of the token's last merge, the bonus that is raised for it.
    """

    rows: dict[Row, None] = field(default_factory=dict)
    own: dict[Row, int] = field(default_factory=dict)
    given_up: set[Row] = field(default_factory=set)  # those of `own` that contradict others
    # `rows` one after another: the ranks, the values, and the end of each
    _ranks: "array[int]" = field(init=False, repr=False)
    _values: "array[int]" = field(init=False, repr=False)
    _ends: "array[int]" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._ranks, self._values, self._ends = (array("q") for _ in range(3))
        for row in self.rows:
            self._write(row)

    def __len__(self) -> int:
        return len(self.rows) + len(self.own)

    def copy(self) -> "Constraints":
        other = Constraints(own=dict(self.own), given_up=set(self.given_up))
        other.rows = dict(self.rows)
        other._ranks, other._values, other._ends = self._ranks[:], self._values[:], self._ends[:]
        return other

    def add(self, difference: dict[int, int]) -> bool:
        """Add {rank: d}; False when it was known."""
        row = tuple(sorted(difference.items()))
        if row in self.rows:
            return False
        self.rows[row] = None
        self._write(row)
        return True

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

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(order, starts, ranks, values): `order` has the rows with the last first rank first."""
        ranks, values = np.array(self._ranks, np.int64), np.array(self._values, np.int64)
        starts = np.concatenate([np.zeros(1, np.int64), np.array(self._ends, np.int64)])
        return np.argsort(-ranks[starts[:-1]], kind="stable"), starts, ranks, values

    def _write(self, row: Row) -> None:
        for rank, value in row:
            self._ranks.append(rank)
            self._values.append(value)
        self._ends.append(len(self._ranks))


@compiled
def _solve(bonuses, order, starts, ranks, values):  # type: ignore[no-untyped-def]
    for row in order:
        rest = np.int64(0)
        for i in range(starts[row] + 1, starts[row + 1]):
            rest += values[i] * bonuses[ranks[i]]
        first = starts[row]
        need = (1 - rest + values[first] - 1) // values[first]
        bonuses[ranks[first]] = max(bonuses[ranks[first]], need)


def solve(prior_R: np.ndarray, constraints: Constraints) -> np.ndarray:
    """The smallest bonuses >= prior that meet every constraint, int64 (R,)."""
    arrays = constraints.arrays()
    floor_R = prior_R.copy()
    for _ in range(MAX_TURNS):
        bonuses_R = floor_R.copy()
        _solve(bonuses_R, *arrays)
        unmet = []
        for row, last_merge in constraints.own.items():
            missing = 1 - sum(d * int(bonuses_R[rank]) for rank, d in row)
            if missing > 0:
                floor_R[last_merge] = max(floor_R[last_merge], bonuses_R[last_merge] + missing)
                unmet.append(row)
        if not unmet:
            return bonuses_R
    # those that are met have no part in the circle: of the others the last one was added to what could be met
    constraints.give_up(unmet[-1])
    return solve(prior_R, constraints)
