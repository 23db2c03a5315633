"""BPE over many short byte strings, compiled: the lowest rank first, leftmost first, as `tokenizers` does.

The library itself checks the results (tests, and the certificate of every distillation).
"""

import heapq

import numpy as np

from ivr.encoding.batch import Batch, Segmentations, in_threads
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.compiler import compiled
from ivr.encoding.hash_table import empty_table, find, insert_all

LONG = 512  # bytes from which a heap beats rescanning
NO_RANK = np.int64(1) << 30  # shifted by 32 it still fits an int64


@compiled
def _rank(keys, values, left, right):  # type: ignore[no-untyped-def]
    found = find(keys, values, (left << 32) | right)
    return NO_RANK if found < 0 else np.int64(found)


@compiled
def _merge_short(symbols, n, keys, values, products):  # type: ignore[no-untyped-def]
    """Apply all merges to symbols[:n] in place by rescanning, O(n * ranks used); returns the new length."""
    ranks = np.empty(n, np.int64)  # of the pair that begins at each symbol
    for i in range(n - 1):
        ranks[i] = _rank(keys, values, symbols[i], symbols[i + 1])
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
                symbols[j] = products[best]
                i += 2
                ranks[j] = _rank(keys, values, symbols[j], symbols[i]) if i < n else NO_RANK
                lower = ranks[j] < best
                if j > 0:
                    ranks[j - 1] = _rank(keys, values, symbols[j - 1], symbols[j])
                    lower |= ranks[j - 1] < best
            else:
                symbols[j] = symbols[i]
                ranks[j] = ranks[i]
                i += 1
            j += 1
        n = j
    return n


@compiled
def _merge_long(symbols, n, keys, values, products):  # type: ignore[no-untyped-def]
    """The same in O(n log n): a linked list of symbols and a heap of (rank, place)."""
    after = np.arange(1, n + 1)
    before = np.arange(-1, n - 1)
    heap = [NO_RANK << 32]
    for i in range(n - 1):
        rank = _rank(keys, values, symbols[i], symbols[i + 1])
        if rank != NO_RANK:
            heapq.heappush(heap, (rank << 32) | i)
    while len(heap) > 1:
        entry = heapq.heappop(heap)
        rank = entry >> 32
        i = entry & 0xFFFFFFFF
        # stale when the symbol is gone or its pair has changed since
        if symbols[i] < 0 or after[i] >= n or _rank(keys, values, symbols[i], symbols[after[i]]) != rank:
            continue
        gone = after[i]
        symbols[i] = products[rank]
        symbols[gone] = -1
        after[i] = after[gone]
        if after[i] < n:
            before[after[i]] = i
            new_rank = _rank(keys, values, symbols[i], symbols[after[i]])
            if new_rank != NO_RANK:
                heapq.heappush(heap, (new_rank << 32) | i)
        if before[i] >= 0:
            new_rank = _rank(keys, values, symbols[before[i]], symbols[i])
            if new_rank != NO_RANK:
                heapq.heappush(heap, (new_rank << 32) | before[i])
    kept = 0
    for i in range(n):
        if symbols[i] >= 0:
            symbols[kept] = symbols[i]
            kept += 1
    return kept


@compiled
def _encode_all(data, starts, byte_ids, keys, values, products, out, out_starts):  # type: ignore[no-untyped-def]
    """Segment every string. `values` holds the rank of the pair (left << 32 | right)."""
    written = 0
    for row in range(len(starts) - 1):
        symbols = np.empty(starts[row + 1] - starts[row], np.int64)
        n = 0
        for i in range(starts[row], starts[row + 1]):
            if byte_ids[data[i]] >= 0:  # a symbol without an id is dropped before anything is merged
                symbols[n] = byte_ids[data[i]]
                n += 1
        if n < LONG:
            n = _merge_short(symbols, n, keys, values, products)
        else:
            n = _merge_long(symbols, n, keys, values, products)
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
        self._products = merges[:, 2].copy()
        self._keys, self._values = empty_table(len(merges))
        # of a pair that is listed twice the library takes the later rank, and so does the table
        insert_all(
            self._keys, self._values, (merges[:, 0] << 32) | merges[:, 1], np.arange(len(merges), dtype=np.int32)
        )

    def encode(self, batch: Batch, threads: int | None = None) -> Segmentations:
        """The ids of every string, in `threads` threads (default: every core)."""
        return in_threads(batch, self._encode, threads)

    def _encode(self, batch: Batch) -> Segmentations:
        out = np.empty(len(batch.data), np.int32)
        starts = np.zeros(len(batch) + 1, np.int64)
        _encode_all(batch.data, batch.starts, self._byte_ids, self._keys, self._values, self._products, out, starts)
        return Segmentations(out[: starts[-1]].copy(), starts)
