"""Counting tokens of chosen pretokens under changing scores: the inner loop of `select`.

A pretoken may be cut (a distilled tokenizer cuts runs as BPE does): no token crosses a cut, unless the pretoken holds a
new token's string. Then the remapped tokenizer takes it whole (`uncut`), and so does this.
"""

from dataclasses import dataclass

import numpy as np

from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.compiler import compiled
from ivr.encoding.hash_table import find
from ivr.encoding.unigram_encoder import UnigramEncoder

PATH_BITS = 53  # path sums lie in [0, 2^53)


@dataclass(frozen=True)
class CutBatch:
    """Pretokens, and where they are cut: `cuts[i]` is 1 where a piece begins at byte i inside a pretoken."""

    strings: Batch
    cuts: np.ndarray  # uint8, one a byte

    @classmethod
    def of(cls, pieces: list[list[bytes]]) -> "CutBatch":
        strings = Batch.of([b"".join(row) for row in pieces])
        cuts = np.zeros(len(strings.data), np.uint8)
        ends = np.cumsum([len(piece) for row in pieces for piece in row], dtype=np.int64)
        cuts[ends[ends < len(cuts)]] = 1
        cuts[strings.starts[:-1][strings.starts[:-1] < len(cuts)]] = 0
        return cls(strings, cuts)

    def __len__(self) -> int:
        return len(self.strings)

    def is_cut(self) -> np.ndarray:
        """Which pretokens have cuts, bool."""
        sums = np.concatenate([[0], np.cumsum(self.cuts, dtype=np.int64)])
        return sums[self.strings.starts[1:]] > sums[self.strings.starts[:-1]]


@compiled
def _measure(data, starts, cuts, rows, whole, keys, values, terminal, scores, forced, lengths, totals):  # type: ignore[no-untyped-def]
    """Tokens and score of the best segmentation of `rows`; each use of the id `forced` counts 2^53 more.

    `whole`: for each of the rows, may tokens cross its cuts? Ties as in `UnigramEncoder`.
    """
    for place in range(len(rows)):
        offset = starts[rows[place]]
        n = starts[rows[place] + 1] - offset
        best = np.empty(n + 1, np.int64)
        tokens = np.zeros(n + 1, np.int32)
        best[0] = 0
        for i in range(n):
            if i > 0 and tokens[i] == 0:
                continue
            node = np.int64(0)
            for j in range(i, n):
                if j > i and cuts[offset + j] and not whole[place]:
                    break
                node = np.int64(find(keys, values, (node << 8) | data[offset + j]))
                if node < 0:
                    break
                t = terminal[node]
                if t >= 0:
                    candidate = best[i] + scores[t]
                    if t == forced:
                        candidate += np.int64(1) << np.int64(53)
                    if tokens[j + 1] == 0 or candidate > best[j + 1]:
                        best[j + 1] = candidate
                        tokens[j + 1] = tokens[i] + 1
        lengths[place] = tokens[n]
        totals[place] = best[n]


@compiled
def _segment(data, starts, cuts, rows, whole, keys, values, terminal, scores, out, out_starts):  # type: ignore[no-untyped-def]
    """Ids of the best segmentation of `rows`, as `_measure` counts them."""
    written = 0
    for place in range(len(rows)):
        offset = starts[rows[place]]
        n = starts[rows[place] + 1] - offset
        best = np.empty(n + 1, np.int64)
        begin = np.full(n + 1, -1, np.int64)
        token = np.empty(n + 1, np.int32)
        best[0] = 0
        begin[0] = 0
        for i in range(n):
            if begin[i] < 0:
                continue
            node = np.int64(0)
            for j in range(i, n):
                if j > i and cuts[offset + j] and not whole[place]:
                    break
                node = np.int64(find(keys, values, (node << 8) | data[offset + j]))
                if node < 0:
                    break
                t = terminal[node]
                if t >= 0:
                    candidate = best[i] + scores[t]
                    if begin[j + 1] < 0 or candidate > best[j + 1]:
                        best[j + 1] = candidate
                        begin[j + 1] = i
                        token[j + 1] = t
        count = 0
        at = n
        while at > 0:
            count += 1
            at = begin[at]
        at = n
        for back in range(count):
            out[written + count - 1 - back] = token[at]
            at = begin[at]
        written += count
        out_starts[place + 1] = written


@compiled
def _occurrences(data, starts, keys, values, terminal, first, out_tokens, out_rows):  # type: ignore[no-untyped-def]
    """(token, row) for every token >= `first` inside every row, also more than once; returns how many."""
    written = 0
    for row in range(len(starts) - 1):
        for i in range(starts[row], starts[row + 1]):
            node = np.int64(0)
            for j in range(i, starts[row + 1]):
                node = np.int64(find(keys, values, (node << 8) | data[j]))
                if node < 0:
                    break
                if terminal[node] >= first:
                    if len(out_rows) > 0:
                        out_tokens[written] = terminal[node]
                        out_rows[written] = row
                    written += 1
    return written


class CutEncoder(UnigramEncoder):
    """Unigram over pretokens with cuts; see the module's head."""

    def measure(
        self, batch: CutBatch, rows: np.ndarray, whole: np.ndarray, forced: int = -1
    ) -> tuple[np.ndarray, np.ndarray]:
        """(tokens int32, score int64) of each of `rows`; every use of `forced` adds 2^53 to the score."""
        lengths, totals = np.empty(len(rows), np.int32), np.empty(len(rows), np.int64)
        _measure(
            batch.strings.data, batch.strings.starts, batch.cuts, rows, whole, self._keys, self._values,
            self._terminal, self.scores_V, forced, lengths, totals,
        )  # fmt: skip
        return lengths, totals

    def segment(self, batch: CutBatch, rows: np.ndarray, whole: np.ndarray) -> Segmentations:
        """The ids of each of `rows`."""
        size = int((batch.strings.starts[rows + 1] - batch.strings.starts[rows]).sum())
        out, starts = np.empty(size, np.int32), np.zeros(len(rows) + 1, np.int64)
        _segment(
            batch.strings.data, batch.strings.starts, batch.cuts, rows, whole, self._keys, self._values,
            self._terminal, self.scores_V, out, starts,
        )  # fmt: skip
        return Segmentations(out[: starts[-1]].copy(), starts)

    def rows_holding(self, batch: Batch, first: int) -> tuple[np.ndarray, np.ndarray]:
        """(starts, rows): token first + c lies in the distinct rows `rows[starts[c]:starts[c + 1]]`, ascending."""
        nothing = np.zeros(0, np.int32)
        trie = (self._keys, self._values, self._terminal)
        size = _occurrences(batch.data, batch.starts, *trie, first, nothing, nothing)
        tokens, rows = np.empty(size, np.int32), np.empty(size, np.int32)
        _occurrences(batch.data, batch.starts, *trie, first, tokens, rows)
        keys = (tokens.astype(np.int64) - first) * len(batch) + rows
        del tokens, rows
        keys.sort()
        keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if size else keys
        num_new = len(self.scores_V) - first
        starts = np.searchsorted(keys, np.arange(num_new + 1) * len(batch))
        return starts, (keys % len(batch)).astype(np.int32)
