"""BPE over many short byte strings, compiled: the lowest rank first, leftmost first, as `tokenizers` does.

The library itself checks the results (tests, and the certificate of every distillation).
"""

import heapq
from typing import NamedTuple

import numpy as np

from ivr.encoding.batch import Batch, Segmentations, in_threads
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.compiler import compiled
from ivr.encoding.hash_table import empty_table, find, insert_all

LONG = 512  # bytes from which a heap beats rescanning
NO_RANK = np.int64(1) << 30  # shifted by 32 it still fits an int64


class Merges(NamedTuple):
    """R merges: a hash table from (left << 32) | right to the rank, and what each makes."""

    keys: np.ndarray
    values: np.ndarray
    products_R: np.ndarray


@compiled
def _rank(merges, left, right):  # type: ignore[no-untyped-def]
    found = find(merges.keys, merges.values, (left << 32) | right)
    return NO_RANK if found < 0 else np.int64(found)


@compiled
def _merge_short(symbols, n, merges):  # type: ignore[no-untyped-def]
    """Apply all merges to symbols[:n] in place by rescanning, O(n * ranks used); returns the new length."""
    ranks = np.empty(n, np.int64)  # of the pair that begins at each symbol
    for i in range(n - 1):
        ranks[i] = _rank(merges, symbols[i], symbols[i + 1])
    if n > 0:
        ranks[n - 1] = NO_RANK
    while n > 1:
        best = NO_RANK
        for i in range(n - 1):
            best = min(best, ranks[i])
        if best == NO_RANK:
            break
        # every occurrence of this rank, left to right, until a product forms a pair of lower rank: that one comes first
        i = 0
        j = 0
        lower = False
        while i < n:
            if ranks[i] == best and not lower:
                symbols[j] = merges.products_R[best]
                i += 2
                ranks[j] = _rank(merges, symbols[j], symbols[i]) if i < n else NO_RANK
                lower = ranks[j] < best
                if j > 0:
                    ranks[j - 1] = _rank(merges, symbols[j - 1], symbols[j])
                    lower |= ranks[j - 1] < best
            else:
                symbols[j] = symbols[i]
                ranks[j] = ranks[i]
                i += 1
            j += 1
        n = j
    return n


@compiled
def _merge_long(symbols, n, merges):  # type: ignore[no-untyped-def]
    """The same in O(n log n): a linked list of symbols and a heap of (rank, place)."""
    after = np.arange(1, n + 1)
    before = np.arange(-1, n - 1)
    heap = [NO_RANK << 32]
    for i in range(n - 1):
        rank = _rank(merges, symbols[i], symbols[i + 1])
        if rank != NO_RANK:
            heapq.heappush(heap, (rank << 32) | i)
    while len(heap) > 1:
        entry = heapq.heappop(heap)
        rank = entry >> 32
        i = entry & 0xFFFFFFFF
        # stale when the symbol is gone or its pair has changed since
        if symbols[i] < 0 or after[i] >= n or _rank(merges, symbols[i], symbols[after[i]]) != rank:
            continue
        gone = after[i]
        symbols[i] = merges.products_R[rank]
        symbols[gone] = -1
        after[i] = after[gone]
        if after[i] < n:
            before[after[i]] = i
            new_rank = _rank(merges, symbols[i], symbols[after[i]])
            if new_rank != NO_RANK:
                heapq.heappush(heap, (new_rank << 32) | i)
        if before[i] >= 0:
            new_rank = _rank(merges, symbols[before[i]], symbols[i])
            if new_rank != NO_RANK:
                heapq.heappush(heap, (new_rank << 32) | before[i])
    kept = 0
    for i in range(n):
        if symbols[i] >= 0:
            symbols[kept] = symbols[i]
            kept += 1
    return kept


@compiled
def _encode_all(data, starts, byte_ids, merges, out, out_starts):  # type: ignore[no-untyped-def]
    """Segment every string."""
    written = 0
    for row in range(len(starts) - 1):
        symbols = np.empty(starts[row + 1] - starts[row], np.int64)
        n = 0
        for i in range(starts[row], starts[row + 1]):
            if byte_ids[data[i]] >= 0:  # a symbol without an id is dropped before anything is merged
                symbols[n] = byte_ids[data[i]]
                n += 1
        n = _merge_short(symbols, n, merges) if n < LONG else _merge_long(symbols, n, merges)
        for i in range(n):
            out[written + i] = symbols[i]
        written += n
        out_starts[row + 1] = written


class BpeEncoder:
    """BPE over byte strings, each taken for one pretoken; what the merges make, also of a token taken whole."""

    def __init__(self, bpe: ByteLevelBpe) -> None:
        merges = bpe.merges_R3.astype(np.int64)
        if bpe.applied_R is not None:
            merges = merges[np.argsort(bpe.applied_R)]
        self._byte_ids = bpe.byte_ids()
        self.missing = bpe.missing
        self._merges = Merges(*empty_table(len(merges)), merges[:, 2].copy())
        # of a pair that is listed twice the library takes the later rank, and so does the table
        ranks = np.arange(len(merges), dtype=np.int32)
        insert_all(self._merges.keys, self._merges.values, (merges[:, 0] << 32) | merges[:, 1], ranks)

    def encode(self, batch: Batch, threads: int | None = None) -> Segmentations:
        """The ids of every string, in `threads` threads (default: every core).

        >>> tokens = [*map(chr, range(97, 123)), "ab", "abc"]
        >>> merges = np.array([(0, 1, 26), (26, 2, 27)], np.int32)
        >>> BpeEncoder(ByteLevelBpe(tokens, merges, frozenset())).encode(Batch.of([b"abcab"])).ids.tolist()
        [27, 26]
        """
        return in_threads(batch, self._encode, threads)

    def _encode(self, batch: Batch) -> Segmentations:
        out = np.empty(len(batch.data), np.int32)
        starts = np.zeros(len(batch) + 1, np.int64)
        _encode_all(batch.data, batch.starts, self._byte_ids, self._merges, out, starts)
        return Segmentations(out[: starts[-1]].copy(), starts)
