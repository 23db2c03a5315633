"""Is one model better than another, or were the documents kind to it? A paired bootstrap over documents."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ivr.evaluation.bits_per_byte import Scores

RESAMPLES = 10_000
AT_ONCE = 1 << 22  # numbers drawn
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """Bits per byte of one model minus another's on the same documents, and the bootstrap's 95 % interval of it.

    The interval is None for fewer than two documents, of which nothing can be resampled.
    """

    difference: float
    low: float | None
    high: float | None
    documents: int

    def results(self) -> dict[str, Any]:
        return asdict(self)


def paired_difference(first: Scores, second: Scores, seed: int = 0, resamples: int = RESAMPLES) -> Difference:
    """first - second. Documents are drawn with replacement, the same for both (Koehn 2004), and the percentiles of
    sum(bits of first - bits of second) / sum(bytes) are the interval's ends."""
    assert np.array_equal(first.bytes_N, second.bytes_N), "the models were not measured on the same documents"
    bits_N, bytes_N = first.bits_N - second.bits_N, first.bytes_N.astype(np.float64)
    count = len(bits_N)
    difference = float(bits_N.sum() / bytes_N.sum())
    if count < 2:
        return Difference(difference, None, None, count)
    draw = np.random.Generator(np.random.PCG64(seed))
    found = []
    for start in range(0, resamples, max(1, AT_ONCE // count)):
        size = min(max(1, AT_ONCE // count), resamples - start)
        times_RN = draw.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64)
        found.append((times_RN @ bits_N) / (times_RN @ bytes_N))
    low, high = np.quantile(np.concatenate(found), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(difference, float(low), float(high), count)
