"""The graph whose walks are the pairs (u, v): BPE's segmentation u of a string, another one v, no common inner border.

A state (p, j) says: u has come to its token p, v's last border lies j bytes into p (0 < j < |p|). What leads there:

* inner edge: v's token lies within p;
* crossing: v's token q = a + m + c, where a ends u's token p0 (or is all of it: the walk starts there), m is covered by
  whole tokens of u, which can only be BPE(m), and c = p[:j]. With j = |p| the pair is complete.

Every u-token is one that BPE returns without meeting an odd run (`merge_trees`). Nothing here depends on scores.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.tokenizer.proof.merge_trees import ADJACENT, MergeTrees

START = -1  # instead of a state: the walk begins with this token of u
NO_MIDDLE = -1
# columns of a crossing: v's token q, the group of a, |c|, the rows LOW to HIGH of u's tokens that begin
# with c, the number of m
TOKEN, GROUP, TAIL, LOW, HIGH, MIDDLE = range(6)


@dataclass(frozen=True)
class WalkGraph:
    """P tokens of u in the order of their bytes, S states, E ends of u-tokens in G groups, crossings by group."""

    trees: MergeTrees
    tokens: list[bytes]  # V
    ids_P: np.ndarray
    lengths_P: np.ndarray
    states_P: np.ndarray  # (P + 1): (p, j) is number states_P[p] + j - 1
    # inner edges of p, by their first border: inner_starts[p]:inner_starts[p + 1]
    inner_starts: np.ndarray
    inner_from: np.ndarray
    inner_to: np.ndarray
    inner_token: np.ndarray
    # the tokens of u that end in the string of a group, and the state they are left in
    end_group: np.ndarray
    end_id: np.ndarray
    end_state: np.ndarray
    num_groups: int
    crossings_X6: np.ndarray  # columns TOKEN to MIDDLE, by group
    # middles: BPE(m) in one array
    middle_starts: np.ndarray
    middle_ids: np.ndarray

    @property
    def num_states(self) -> int:
        return int(self.states_P[-1])


def walk_graph(bpe: ByteLevelBpe) -> WalkGraph:
    """Build the graph: seconds for GPT-2, memory in proportion to the sum of squared token lengths."""
    trees, tokens = MergeTrees.of(bpe), bpe.token_bytes()
    ids = {token: token_id for token_id, token in enumerate(tokens) if token}
    of_u = sorted((token_id for token_id in np.flatnonzero(trees.regular_V).tolist()), key=lambda i: tokens[i])
    strings = [tokens[token_id] for token_id in of_u]
    lengths = np.array([len(string) for string in strings], np.int64)
    states = np.zeros(len(strings) + 1, np.int64)
    np.cumsum(lengths - 1, out=states[1:])
    ranges = _prefix_ranges(strings)
    heads = {token[:size] for token in ids for size in range(1, len(token))}
    groups: dict[bytes, int] = {}
    inner_starts, inner_from, inner_to, inner_token = _inner_edges(strings, ids)
    end_group, end_id, end_state = _ends(of_u, strings, states, heads, groups)
    crossings, middles = _crossings(ids, groups, ranges, BpeEncoder(bpe), trees)
    return WalkGraph(
        trees=trees,
        tokens=tokens,
        ids_P=np.array(of_u, np.int64),
        lengths_P=lengths,
        states_P=states,
        inner_starts=inner_starts,
        inner_from=inner_from,
        inner_to=inner_to,
        inner_token=inner_token,
        end_group=end_group,
        end_id=end_id,
        end_state=end_state,
        num_groups=len(groups),
        crossings_X6=crossings,
        middle_starts=middles.starts,
        middle_ids=middles.ids.astype(np.int64),
    )


def _prefix_ranges(strings: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
    """Prefix -> the rows of the sorted strings that begin with it."""
    ranges: dict[bytes, tuple[int, int]] = {}
    for row, string in enumerate(strings):
        for size in range(1, len(string) + 1):
            prefix = string[:size]
            ranges[prefix] = (ranges[prefix][0] if prefix in ranges else row, row + 1)
    return ranges


def _inner_edges(strings: Sequence[bytes], ids: dict[bytes, int]) -> tuple[np.ndarray, ...]:
    starts = [0]
    edges: list[tuple[int, int, int]] = []
    for string in strings:
        size = len(string)
        edges += [
            (i, j, ids[string[i:j]])
            for i in range(size)
            for j in range(i + 1, size + 1)
            if j - i < size and string[i:j] in ids
        ]
        starts.append(len(edges))
    return np.array(starts, np.int64), *_columns(edges, 3)


def _ends(
    of_u: Sequence[int], strings: Sequence[bytes], states: np.ndarray, heads: set[bytes], groups: dict[bytes, int]
) -> tuple[np.ndarray, ...]:
    rows = []
    for row, (token_id, string) in enumerate(zip(of_u, strings, strict=True)):
        for begin in range(len(string)):
            a = string[begin:]
            if a in heads:
                state = int(states[row]) + begin - 1 if begin else START
                rows.append((groups.setdefault(a, len(groups)), token_id, state))
    return _columns(rows, 3)


def _crossings(
    ids: dict[bytes, int],
    groups: dict[bytes, int],
    ranges: dict[bytes, tuple[int, int]],
    encoder: BpeEncoder,
    trees: MergeTrees,
) -> tuple[np.ndarray, Segmentations]:
    rows = []
    middles: dict[bytes, int] = {}
    for token, token_id in ids.items():
        for head in range(1, len(token)):
            group = groups.get(token[:head])
            if group is None:
                continue
            for body in range(head, len(token)):
                if token[body:] in ranges:
                    m = token[head:body]
                    number = middles.setdefault(m, len(middles)) if m else NO_MIDDLE
                    rows.append((token_id, group, len(token) - body, *ranges[token[body:]], number))
    found = encoder.encode(Batch.of(list(middles)))
    regular = np.array([_regular(found.row(number), trees) for number in range(len(middles))], bool)
    table = np.array(rows, np.int64).reshape(-1, 6)
    if len(regular):
        table = table[(table[:, MIDDLE] == NO_MIDDLE) | regular[table[:, MIDDLE]]]
    return table[np.argsort(table[:, GROUP], kind="stable")], found


def _regular(token_ids: np.ndarray, trees: MergeTrees) -> bool:
    """BPE met no odd run on the way to these tokens."""
    row = token_ids.tolist()
    return bool(trees.regular_V[token_ids].all()) and all(
        trees.border(one, two) == ADJACENT for one, two in itertools.pairwise(row)
    )


def _columns(rows: Sequence[tuple[int, ...]], width: int) -> tuple[np.ndarray, ...]:
    return tuple(column.copy() for column in np.array(rows, np.int64).reshape(-1, width).T)
