"""Merge trees of a BPE: which tokens it can return, which may stand side by side, and where it meets an odd run.

`border` answers the second and third question for two tokens by going back in time at the border between them: the one
made later is taken apart, until two bytes are left. THEOREM.md proves that a sequence of tokens is BPE's for its string
if and only if every two neighbours in it are.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ivr.encoding.bpe import NO_ID, ByteLevelBpe
from ivr.encoding.compiler import compiled
from ivr.encoding.hash_table import empty_table, find, insert_all

APART = 0  # a merge across the border comes first: BPE never returns these two side by side
ADJACENT = 1  # BPE returns them for their joint string
ODD_RUN = 2  # it does, but a merge of a token with itself met an odd run of three or more across the border
LATEST = np.int64(1) << 40  # later than any rank
BYTE = -1  # rank of a byte
UNMADE = -2  # rank of a token that no text produces


class MergeTables(NamedTuple):
    """`MergeTrees` as compiled loops take them: see there."""

    left: np.ndarray
    right: np.ndarray
    rank: np.ndarray
    keys: np.ndarray
    values: np.ndarray


@compiled
def border(one, two, joining, trees):  # type: ignore[no-untyped-def]
    """APART, ADJACENT or ODD_RUN for tokens `one` and `two`; `joining` is the rank that joins them, or LATEST.

    Time runs backwards: `limit` is the rank from which on the two symbols at the border are no longer both there.
    """
    limit = joining
    parent_two = joining
    answer = ADJACENT
    while True:
        found = find(trees.keys, trees.values, (one << 32) | two)
        if 0 <= found < limit:
            return APART
        if trees.rank[one] >= 0 and trees.left[one] == two and trees.right[one] == two and parent_two > trees.rank[one]:
            answer = ODD_RUN  # `xx` and a lone `x` after it
        if trees.rank[one] > trees.rank[two]:
            limit = trees.rank[one]  # a run is merged from its left end: the left token's own merge goes first
            one = trees.right[one]
        elif trees.rank[two] >= 0:
            limit = trees.rank[two] + 1
            parent_two = trees.rank[two]
            two = trees.left[two]
        else:
            return answer


@compiled
def _grow(merges, odd, trees):  # type: ignore[no-untyped-def]
    for r in range(len(merges)):
        one, two, product = merges[r]
        if trees.rank[one] == UNMADE or trees.rank[two] == UNMADE or trees.rank[product] != UNMADE:
            continue
        kind = border(one, two, r, trees)
        if kind != APART:
            trees.left[product] = one
            trees.right[product] = two
            trees.rank[product] = r
            odd[product] = odd[one] or odd[two] or kind == ODD_RUN


@dataclass(frozen=True)
class MergeTrees:
    """How each token comes about when BPE reads its own string (V,), and the merge table as a hash table."""

    left: np.ndarray  # int64, ids; -1 for a byte and for what BPE never returns
    right: np.ndarray
    rank: np.ndarray  # int64, of the last merge; BYTE, UNMADE
    odd: np.ndarray  # bool: BPE meets an odd run of three or more on the way
    keys: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, bpe: ByteLevelBpe) -> "MergeTrees":
        merges = bpe.merges_R3.astype(np.int64)
        keys, values = empty_table(len(merges))
        insert_all(keys, values, (merges[:, 0] << 32) | merges[:, 1], np.arange(len(merges), dtype=np.int32))
        left, right = np.full(bpe.num_ids, -1, np.int64), np.full(bpe.num_ids, -1, np.int64)
        rank, odd = np.full(bpe.num_ids, UNMADE, np.int64), np.zeros(bpe.num_ids, bool)
        byte_ids = bpe.byte_ids()
        rank[byte_ids[byte_ids != NO_ID]] = BYTE
        _grow(merges, odd, MergeTables(left, right, rank, keys, values))
        return cls(left, right, rank, odd, keys, values)

    @property
    def reachable_V(self) -> np.ndarray:
        """BPE returns the token for its own string; no other token is ever in its output."""
        return self.rank != UNMADE

    @property
    def regular_V(self) -> np.ndarray:
        """Reachable, and no odd run on the way."""
        return self.reachable_V & ~self.odd

    def tables(self) -> MergeTables:
        """What compiled loops take."""
        return MergeTables(self.left, self.right, self.rank, self.keys, self.values)

    def border(self, one: int, two: int) -> int:
        """APART, ADJACENT or ODD_RUN."""
        return int(border(one, two, LATEST, self.tables()))
