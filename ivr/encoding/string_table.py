"""Distinct byte strings, numbered in the order in which they are first met: a compiled hash table that grows."""

from typing import NamedTuple

import numpy as np

from ivr.encoding.batch import Batch
from ivr.encoding.compiler import compiled
from ivr.errors import ConfigError

EMPTY = -1
MOST_STRINGS = 1 << 30  # rows are int32, and the slots for them twice as many


class Rows(NamedTuple):
    """Strings by row, room for R of them: `slots` is an open-addressing hash table of rows."""

    slots: np.ndarray  # int32, EMPTY where none is
    hashes_R: np.ndarray
    starts: np.ndarray  # (R + 1,) in `arena`
    arena: np.ndarray  # uint8


@compiled
def _find_or_add(data, ends, done, numbers, size, table):  # type: ignore[no-untyped-def]
    """Number the strings from `done` on; stops early when rows or bytes run out. Returns (done, rows in use)."""
    slots, hashes, starts, arena = table
    mask = len(slots) - 1
    while done < len(ends):
        begin = ends[done - 1] if done > 0 else 0
        length = ends[done] - begin
        digest = np.uint64(14695981039346656037)  # FNV-1a
        for i in range(begin, ends[done]):
            digest = (digest ^ np.uint64(data[i])) * np.uint64(1099511628211)
        digest ^= digest >> np.uint64(29)
        slot = np.int64(digest & np.uint64(mask))
        while True:
            row = slots[slot]
            if row == EMPTY:
                if size == len(hashes) or starts[size] + length > len(arena):
                    return done, size
                for i in range(length):
                    arena[starts[size] + i] = data[begin + i]
                starts[size + 1] = starts[size] + length
                hashes[size] = digest
                slots[slot] = size
                row = size
                size += 1
                break
            if hashes[row] == digest and starts[row + 1] - starts[row] == length:
                same = True
                for i in range(length):
                    if arena[starts[row] + i] != data[begin + i]:
                        same = False
                        break
                if same:
                    break
            slot = (slot + 1) & mask
        numbers[done] = row
        done += 1
    return done, size


@compiled
def _fill(slots, hashes, size):  # type: ignore[no-untyped-def]
    mask = len(slots) - 1
    for row in range(size):
        slot = np.int64(hashes[row] & np.uint64(mask))
        while slots[slot] != EMPTY:
            slot = (slot + 1) & mask
        slots[slot] = row


class StringTable:
    """`numbers(data, ends)` gives every string its row; a new one gets the next row. Memory: bytes + 40 a row or so.

    >>> table = StringTable()
    >>> table.numbers(np.frombuffer(b"abaab", np.uint8), np.array([2, 3, 5])).tolist()
    [0, 1, 0]
    >>> table.strings().string(1)
    b'a'
    """

    def __init__(self) -> None:
        self._size = 0
        self._rows = Rows(
            slots=np.full(1 << 12, EMPTY, np.int32),
            hashes_R=np.empty(1 << 11, np.uint64),
            starts=np.zeros((1 << 11) + 1, np.int64),
            arena=np.empty(1 << 14, np.uint8),
        )

    def __len__(self) -> int:
        return self._size

    def strings(self, first: int = 0) -> Batch:
        """The strings from row `first` on."""
        starts = self._rows.starts[first : self._size + 1]
        return Batch(self._rows.arena[starts[0] : starts[-1]], starts - starts[0])

    def numbers(self, data: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The row of each string, int32; strings lie one after another in `data`, each up to its end."""
        numbers = np.empty(len(ends), np.int32)
        done = 0
        while True:
            done, self._size = _find_or_add(data, ends, done, numbers, self._size, self._rows)
            if done == len(ends):
                return numbers
            self._grow(int(ends[done] - (ends[done - 1] if done else 0)))

    def _grow(self, length: int) -> None:
        """Make room for a string of this length: double what is full."""
        rows = self._rows
        if self._size == len(rows.hashes_R):
            if self._size >= MOST_STRINGS:
                raise ConfigError(f"the text has more than {MOST_STRINGS:,} distinct pretokens; analyze less of it")
            rows = rows._replace(
                slots=np.full(2 * len(rows.slots), EMPTY, np.int32),
                hashes_R=resized(rows.hashes_R, 2 * self._size),
                starts=resized(rows.starts, 2 * self._size + 1),
            )
            _fill(rows.slots, rows.hashes_R, self._size)
        needed = int(rows.starts[self._size]) + length
        if needed > len(rows.arena):
            rows = rows._replace(arena=resized(rows.arena, max(needed, 2 * len(rows.arena))))
        self._rows = rows


def resized(array: np.ndarray, size: int) -> np.ndarray:
    """A copy of `size` entries, zero beyond the old ones.

    >>> resized(np.array([1, 2]), 4).tolist()
    [1, 2, 0, 0]
    """
    larger = np.zeros(size, array.dtype)
    larger[: len(array)] = array
    return larger
