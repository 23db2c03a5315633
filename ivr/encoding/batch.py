"""Many short byte strings, and their segmentations, in flat arrays; encoding them in threads."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from ivr.encoding.compiler import compiled

T = TypeVar("T")
CHUNK = 100_000  # items at a time where there are millions: as Python objects they take five times their bytes


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in lists of CHUNK, the last one shorter."""
    remaining = iter(items)
    while chunk := [*islice(remaining, CHUNK)]:
        yield chunk


@dataclass(frozen=True)
class Batch:
    """N byte strings in one array."""

    data: np.ndarray  # uint8
    starts: np.ndarray  # int64, N + 1

    @classmethod
    def of(cls, strings: Sequence[bytes]) -> "Batch":
        """The strings one behind another.

        >>> batch = Batch.of([b"ab", b"", b"c"])
        >>> batch.data.tobytes(), batch.starts.tolist(), len(batch), batch.string(2)
        (b'abc', [0, 2, 2, 3], 3, b'c')
        """
        starts = np.zeros(len(strings) + 1, np.int64)
        np.cumsum([len(string) for string in strings], out=starts[1:])
        return cls(np.frombuffer(b"".join(strings), np.uint8), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def select(self, rows: np.ndarray) -> "Batch":
        """The strings at `rows` (int), in that order; a row may stand twice."""
        return Batch(*select_rows(self.data, self.starts, rows))

    def string(self, row: int) -> bytes:
        """The bytes of one row."""
        return self.data[self.starts[row] : self.starts[row + 1]].tobytes()


@dataclass(frozen=True)
class Segmentations:
    """The ids of N strings in one array."""

    ids: np.ndarray  # int32
    starts: np.ndarray  # int64, N + 1

    def row(self, index: int) -> np.ndarray:
        """The ids of one string, a view."""
        return self.ids[self.starts[index] : self.starts[index + 1]]

    def lengths(self) -> np.ndarray:
        """Ids of each string, int64 (N,).

        >>> Segmentations(np.array([5, 6, 7], np.int32), np.array([0, 2, 3])).lengths().tolist()
        [2, 1]
        """
        return np.diff(self.starts)

    def select(self, rows: np.ndarray) -> "Segmentations":
        """Those of the strings at `rows`."""
        return Segmentations(*select_rows(self.ids, self.starts, rows))


def select_rows(data: np.ndarray, starts: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of an array of arrays.

    Args:
        data: the rows one behind another, uint8 or any integers.
        starts: where each of the N rows begins and the last one ends, int64 (N + 1,).
        rows: which ones are wanted, int (M,).

    Returns:
        (their data one behind another, where each begins and the last one ends, int64 (M + 1,)).

    >>> [part.tolist() for part in select_rows(np.array([1, 2, 3, 4]), np.array([0, 1, 3, 4]), np.array([2, 1]))]
    [[4, 2, 3], [0, 1, 3]]
    """
    lengths = starts[rows + 1] - starts[rows]
    ends = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    chosen = np.empty(ends[-1], data.dtype)
    _copy_rows(data, starts[rows], ends, chosen)
    return chosen, ends


@compiled
def _copy_rows(data, begins, ends, out):  # type: ignore[no-untyped-def]
    for row in range(len(begins)):
        for i in range(ends[row + 1] - ends[row]):
            out[ends[row] + i] = data[begins[row] + i]


STRINGS_PER_PART = 20_000


def in_threads(batch: Batch, encode: Callable[[Batch], Segmentations], threads: int | None = None) -> Segmentations:
    """Encode parts of a batch in threads (the kernels release the interpreter lock) and join the results."""
    done = over_parts(batch, lambda part, _: encode(part), threads)
    if len(done) == 1:
        return done[0]
    starts = np.concatenate([[0], np.cumsum(np.concatenate([part.lengths() for part in done]))])
    ids, at = np.empty(starts[-1], np.int32), 0
    done.reverse()
    while done:  # one after another, so that not all are in memory twice
        part = done.pop()
        ids[at : at + len(part.ids)] = part.ids
        at += len(part.ids)
    return Segmentations(ids, starts)


def over_parts(batch: Batch, work: Callable[[Batch, int], T], threads: int | None = None) -> list[T]:
    """work(part, its first row) of the parts of a batch, in threads; the parts in order."""
    workers = threads or default_processes()
    if workers == 1 or len(batch) <= STRINGS_PER_PART:
        return [work(batch, 0)]
    step = max(STRINGS_PER_PART, -(-len(batch) // (4 * workers)))
    firsts = list(range(0, len(batch), step))
    parts = []
    for begin in firsts:
        starts = batch.starts[begin : min(begin + step, len(batch)) + 1]
        parts.append(Batch(batch.data[starts[0] : starts[-1]], starts - starts[0]))
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, parts, firsts))


def default_processes() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
