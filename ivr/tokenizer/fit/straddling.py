"""Two neighbours and a token across their border: the quarrels that text most often shows, all of them at once.

BPE's `bin`,`string` loses to `b`,`inst`,`ring` where `inst` scores at least what the two give up for it:

    s(inst) >= (s(bin) - s(b)) + (s(string) - s(ring))

with the best that is left of either in the brackets; whole tokens m between the two, which `inst` covers, are given up
too. These are the walks of `worst_case` with one crossing. Of the 10^9 pairs of neighbours only those are looked at
whose losses are small enough, smallest first, and whose trees do not both hold the merge by which the token comes to
lie across: BPE would do it there as well.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ivr.encoding.batch import Batch, default_processes
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.compiler import compiled
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.proof.merge_trees import ADJACENT, LATEST, MergeTrees, border

PARTS = 16  # of the crossings, for threads
MOST_FOUND = 1 << 16  # in each part at a time
NO_MIDDLE = -1
NO_NODE = -1
# columns of a crossing: the token across, the groups of what it takes of the first and of the last neighbour, the
# number of m, and the nodes of its tree that part where the neighbours meet, at the beginning and at the end of m
TOKEN, END, BEGIN, MIDDLE, FIRST, LAST = range(6)


@compiled
def _nodes(ids, lengths, left, right, rank, starts, nodes):  # type: ignore[no-untyped-def]
    """For every place within each token the node of its tree that parts there."""
    for row in range(len(ids)):
        for place in range(1, lengths[ids[row]]):
            node = ids[row]
            if rank[node] < 0:
                continue
            begin = 0
            while begin + lengths[left[node]] != place:
                if place < begin + lengths[left[node]]:
                    node = left[node]
                else:
                    begin += lengths[left[node]]
                    node = right[node]
            nodes[starts[row] + place - 1] = node


@compiled
def _holds(token, part, before, side, rank):  # type: ignore[no-untyped-def]
    """Whether `part` stands at this side of the token's tree and is not merged on until after the rank `before`."""
    parent = LATEST
    while token != part:
        if rank[token] < 0:
            return False
        parent = rank[token]
        token = side[token]
    return parent > before


class _ByLoss(NamedTuple):
    """Tokens by what they end in (or begin with), in every group those first that lose least when they give it up."""

    starts: np.ndarray  # int64 (groups + 1,)
    ids: np.ndarray  # int64
    losses: np.ndarray  # int64: the score of the token less that of what is left of it


class _Middles(NamedTuple):
    """Strings between two neighbours, as BPE encodes them."""

    starts: np.ndarray  # int64 (strings + 1,)
    ids: np.ndarray  # int64
    scores: np.ndarray  # int64 (strings,)


@compiled
def _not_holding(begins, group, last, trees, rows):  # type: ignore[no-untyped-def]
    """Into `rows` those of a group of last neighbours whose trees do not begin with what the node `last` is made of
    on the right; returns their number. `last`: NO_NODE where none is to be left out.
    """
    size = 0
    for row in range(begins.starts[group], begins.starts[group + 1]):
        if last < 0 or not _holds(begins.ids[row], trees.right[last], trees.rank[last], trees.left, trees.rank):
            rows[size] = row
            size += 1
    return size


@compiled
def _side_by_side(first, one, two, last, trees):  # type: ignore[no-untyped-def]
    """Whether BPE gives these neighbours, with the tokens `one` to `two` between them (NO_MIDDLE: nothing)."""
    if one < 0:
        return border(first, last, LATEST, trees) == ADJACENT
    return border(first, one, LATEST, trees) == ADJACENT and border(two, last, LATEST, trees) == ADJACENT


@compiled
def _lost(crossings, ends, begins, scores, middles, trees, found):  # type: ignore[no-untyped-def]
    """For each neighbour of each crossing the worst other one with which it loses, into `found`; their number.

    crossings: int64 (n, 6). ends, begins: _ByLoss, of the first and of the last neighbour. scores: int64 (V,).
    found: int64 (room, 3): the first neighbour, the number of m or NO_MIDDLE, the last neighbour.
    """
    left, right, rank = trees.left, trees.right, trees.rank
    count = 0
    longest = np.max(np.diff(begins.starts)) if len(begins.starts) > 1 else 0
    unlike, done = np.empty(longest, np.int64), np.empty(longest, np.bool_)
    size, of_group, of_node = 0, -1, -1
    for x in range(len(crossings)):
        q, group, other, m, first, last = crossings[x]
        low, high = ends.starts[group], ends.starts[group + 1]
        begin, stop = begins.starts[other], begins.starts[other + 1]
        room = scores[q] - (middles.scores[m] if m >= 0 else 0)
        if low == high or begin == stop or ends.losses[low] + begins.losses[begin] > room:
            continue
        # a merge of a token with itself can be drawn to another place: it tells nothing
        told_first = first >= 0 and left[first] != right[first]
        told_last = last >= 0 and left[last] != right[last]
        like_left = like_right = True  # a neighbour may hold its part of the token across
        one = two = NO_MIDDLE
        if m >= 0:
            one, two = middles.ids[middles.starts[m]], middles.ids[middles.starts[m + 1] - 1]
            like_left = not (told_first and _holds(one, right[first], rank[first], left, rank))
            like_right = not (told_last and _holds(two, left[last], rank[last], right, rank))
        if other != of_group or last != of_node:
            of_group, of_node = other, last
            size = _not_holding(begins, other, last if told_last else NO_NODE, trees, unlike)
        if not like_right and size == 0:
            continue
        done[: stop - begin] = False
        for end in range(low, high):
            if ends.losses[end] + begins.losses[begin] > room:
                break
            p0 = ends.ids[end]
            like = told_first and _holds(p0, left[first], rank[first], right, rank)
            if like and not like_left:
                continue
            few = like if m < 0 else not like_right
            end_done = False
            for k in range(size if few else stop - begin):
                row = unlike[k] if few else begin + k
                if ends.losses[end] + begins.losses[row] > room:
                    break
                if (end_done and done[row - begin]) or not _side_by_side(p0, one, two, begins.ids[row], trees):
                    continue
                end_done = done[row - begin] = True
                found[count, 0], found[count, 1], found[count, 2] = p0, m, begins.ids[row]
                count += 1
                if count == len(found):
                    return count
    return count


@dataclass(frozen=True)
class _Sides:
    """Tokens by what they end in (or begin with), and the string that is left of each: groups ascending."""

    groups: np.ndarray
    ids: np.ndarray
    rest: Batch
    num_groups: int

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int]], rest: Sequence[bytes], num_groups: int) -> "_Sides":
        columns = np.array(rows, np.int64).reshape(-1, 2)
        return cls(columns[:, 0], columns[:, 1], Batch.of(rest), num_groups)

    def by_loss(self, unigram: UnigramEncoder) -> _ByLoss:
        loss = unigram.scores_V[self.ids] - _sums(unigram, self.rest)
        order = np.lexsort((loss, self.groups))
        starts = np.searchsorted(self.groups[order], np.arange(self.num_groups + 1))
        return _ByLoss(starts, self.ids[order], loss[order])


class StraddlingTokens:
    """All that one token can lie across, of one BPE."""

    def __init__(self, bpe: ByteLevelBpe, encoder: BpeEncoder, unigram: UnigramEncoder) -> None:
        self._trees, self._unigram, self._tokens = MergeTrees.of(bpe), unigram, bpe.token_bytes()
        ids = {token: token_id for token_id, token in enumerate(self._tokens) if token}
        heads = {token[:size] for token in ids for size in range(1, len(token))}
        tails = {token[size:] for token in ids for size in range(1, len(token))}
        ends: dict[bytes, int] = {}
        begins: dict[bytes, int] = {}
        end_rows, begin_rows = [], []
        end_rest, begin_rest = [], []
        for token_id in np.flatnonzero(self._trees.regular_V).tolist():
            token = self._tokens[token_id]
            for place in range(len(token)):
                if token[place:] in heads:
                    end_rows.append((ends.setdefault(token[place:], len(ends)), token_id))
                    end_rest.append(token[:place])
                if token[: place + 1] in tails:
                    begin_rows.append((begins.setdefault(token[: place + 1], len(begins)), token_id))
                    begin_rest.append(token[place + 1 :])
        self._ends = _Sides.of(end_rows, end_rest, len(ends))
        self._begins = _Sides.of(begin_rows, begin_rest, len(begins))
        middles: dict[bytes, int] = {}
        lengths = np.array([len(token) for token in self._tokens], np.int64)
        across = np.array(list(ids.values()), np.int64)
        starts = np.concatenate([[0], np.cumsum(lengths[across] - 1)])
        nodes = np.full(starts[-1], NO_NODE, np.int64)
        _nodes(across, lengths, self._trees.left, self._trees.right, self._trees.rank, starts, nodes)
        rows = []
        for begin, (token, token_id) in zip((starts[:-1] - 1).tolist(), ids.items(), strict=True):
            tail_groups = [begins.get(token[place:]) for place in range(len(token))]
            for head in range(1, len(token)):
                if (end := ends.get(token[:head])) is None:
                    continue
                for body in range(head, len(token)):
                    if (tail := tail_groups[body]) is not None:
                        middle = middles.setdefault(token[head:body], len(middles)) if body > head else NO_MIDDLE
                        rows.append((token_id, end, tail, middle, begin + head, begin + body))
        crossings = np.array(rows, np.int64).reshape(-1, 6)
        for column in (FIRST, LAST):
            crossings[:, column] = nodes[crossings[:, column]]
        self._crossings = crossings[np.lexsort((crossings[:, LAST], crossings[:, BEGIN]))]
        self._middles = encoder.encode(Batch.of(list(middles)))

    def lost(self, scores_V: np.ndarray) -> list[bytes]:
        """Strings of neighbours that lose: of each neighbour and crossing the worst, in order, each once.

        A part that finds MOST_FOUND stops there, so an empty list, not a short one, says that none is left.
        """
        unigram = self._unigram.with_scores(scores_V)
        middle_ids = self._middles.ids.astype(np.int64)
        sums = np.concatenate([[0], np.cumsum(unigram.scores_V[middle_ids])])
        middle_scores = sums[self._middles.starts[1:]] - sums[self._middles.starts[:-1]]
        ends, begins = self._ends.by_loss(unigram), self._begins.by_loss(unigram)
        middles, trees = _Middles(self._middles.starts, middle_ids, middle_scores), self._trees.tables()

        def part(begin: int, end: int) -> np.ndarray:
            found = np.empty((MOST_FOUND, 3), np.int64)
            count = _lost(self._crossings[begin:end], ends, begins, unigram.scores_V, middles, trees, found)
            return found[:count]

        borders = np.linspace(0, len(self._crossings), PARTS + 1).astype(np.int64).tolist()
        with ThreadPoolExecutor(default_processes()) as pool:
            found = np.concatenate(list(pool.map(part, borders[:-1], borders[1:])))
        return list(dict.fromkeys(self._string(*row) for row in found.tolist()))

    def _string(self, first: int, middle: int, last: int) -> bytes:
        between = self._middles.row(middle).tolist() if middle != NO_MIDDLE else []
        return b"".join(self._tokens[token_id] for token_id in (first, *between, last))


def _sums(unigram: UnigramEncoder, batch: Batch) -> np.ndarray:
    found = unigram.encode(batch)
    sums = np.concatenate([[0], np.cumsum(unigram.scores_V[found.ids])])
    return sums[found.starts[1:]] - sums[found.starts[:-1]]
