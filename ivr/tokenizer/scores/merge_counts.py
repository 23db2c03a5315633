"""By which merges two segmentations of a string differ, for many strings at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ivr.encoding.batch import Segmentations, select_rows

TIE = "tie"  # the same merges at another place of a run: no scores can tell them apart
INVERSION = "run inversion"  # inside a run, another place of the odd unit has the larger vector


@dataclass(frozen=True)
class Differences:
    """n(first) - n(second) of N pairs of segmentations: the ranks where it is not 0, ascending, and the values."""

    starts: np.ndarray  # int64, N + 1
    ranks: np.ndarray  # int64
    values: np.ndarray  # int64

    def __len__(self) -> int:
        return len(self.starts) - 1

    def row(self, index: int) -> dict[int, int]:
        """{rank: value} of one pair."""
        part = slice(self.starts[index], self.starts[index + 1])
        return dict(zip(self.ranks[part].tolist(), self.values[part].tolist(), strict=True))

    def select(self, rows: np.ndarray) -> "Differences":
        """Those of the pairs at `rows`."""
        ranks, starts = select_rows(self.ranks, self.starts, rows)
        return Differences(starts, ranks, select_rows(self.values, self.starts, rows)[0])

    def with_ranks(self, ranks: np.ndarray) -> "Differences":
        """The same with `ranks[r]` in place of r; these must ascend."""
        return Differences(self.starts, ranks[self.ranks], self.values)

    def causes(self) -> list[str]:
        """Of each pair, why no scores prefer the first one; empty when some do."""
        none = np.diff(self.starts) == 0
        firsts = np.append(self.values, 0)[self.starts[:-1]]
        return np.where(none, TIE, np.where(firsts < 0, INVERSION, "")).tolist()


def merge_differences(
    first: Segmentations, second: Segmentations, starts: np.ndarray, ranks: np.ndarray
) -> Differences:
    """Of each row of one and of the other; `starts`, `ranks`: the derivations of every token, as the BPE has them.

    Memory: 50 bytes for each merge in the trees of all tokens.
    """
    sides = [_merges(side, starts, ranks) for side in (first, second)]
    rows, merges = (np.concatenate(parts) for parts in zip(*sides, strict=True))
    signs = np.repeat(np.array([1, -1]), [len(side[0]) for side in sides])
    width = int(ranks.max(initial=0)) + 1
    keys = rows * width + merges
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    begins = np.flatnonzero(np.diff(keys, prepend=-1))
    values = np.add.reduceat(signs[order], begins) if len(begins) else signs
    keys, values = keys[begins][values != 0], values[values != 0]
    bounds = np.searchsorted(keys, np.arange(len(first.starts)) * width)
    return Differences(bounds, keys % width, values)


def segmentations(rows: Sequence[Sequence[int]]) -> Segmentations:
    """Rows of ids in one array."""
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=starts[1:])
    return Segmentations(np.array([token_id for row in rows for token_id in row], np.int32), starts)


def _merges(of: Segmentations, starts: np.ndarray, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row, rank) of every merge in the trees of the rows' tokens."""
    merges, ends = select_rows(ranks, starts, of.ids)
    row_of_token = np.repeat(np.arange(len(of.starts) - 1), of.lengths())
    return np.repeat(row_of_token, np.diff(ends)), merges
