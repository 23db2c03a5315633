"""Many short byte strings, and their segmentations, in flat arrays; encoding them in threads."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Batch:
    """N byte strings in one array."""

    data: np.ndarray  # uint8
    starts: np.ndarray  # int64, N + 1

    @classmethod
    def of(cls, strings: Sequence[bytes]) -> "Batch":
        starts = np.zeros(len(strings) + 1, np.int64)
        np.cumsum([len(string) for string in strings], out=starts[1:])
        return cls(np.frombuffer(b"".join(strings), np.uint8), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def select(self, rows: np.ndarray) -> "Batch":
        """The strings at `rows`."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        places = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], lengths)
        return Batch(self.data[places], starts)

    def string(self, row: int) -> bytes:
        return self.data[self.starts[row] : self.starts[row + 1]].tobytes()


@dataclass(frozen=True)
class Segmentations:
    """The ids of N strings in one array."""

    ids: np.ndarray  # int32
    starts: np.ndarray  # int64, N + 1

    def row(self, index: int) -> np.ndarray:
        return self.ids[self.starts[index] : self.starts[index + 1]]

    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)


STRINGS_PER_PART = 20_000


def in_threads(batch: Batch, encode: Callable[[Batch], Segmentations], threads: int | None = None) -> Segmentations:
    """Encode parts of a batch in threads (the kernels release the interpreter lock) and join the results."""
    workers = threads or default_processes()
    if workers == 1 or len(batch) <= STRINGS_PER_PART:
        return encode(batch)
    step = max(STRINGS_PER_PART, -(-len(batch) // (4 * workers)))
    parts = []
    for begin in range(0, len(batch), step):
        starts = batch.starts[begin : min(begin + step, len(batch)) + 1]
        parts.append(Batch(batch.data[starts[0] : starts[-1]], starts - starts[0]))
    with ThreadPoolExecutor(workers) as pool:
        done = list(pool.map(encode, parts))
    lengths = np.concatenate([part.lengths() for part in done])
    return Segmentations(np.concatenate([part.ids for part in done]), np.concatenate([[0], np.cumsum(lengths)]))


def default_processes() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
