"""Is one model better than another, or were the documents kind to it? A paired bootstrap over documents."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ivr.evaluation.bits_per_byte import Scores

RESAMPLES = 10_000
AT_ONCE = 1 << 22  # documents drawn
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


def paired_difference(first: "Scores", second: "Scores", seed: int = 0) -> Difference:
    """first - second in bits per byte; both must have been measured on the same documents."""
    assert np.array_equal(first.bytes_N, second.bytes_N), "the models were not measured on the same documents"
    return bootstrap_difference(first.bits_N - second.bits_N, first.bytes_N, seed)


def bootstrap_difference(bits_N: np.ndarray, bytes_N: np.ndarray, seed: int = 0) -> Difference:
    """The difference per byte, with the ends of its interval by scipy's paired percentile bootstrap.

    Args:
        bits_N: bits of one model less those of the other, a document each.
        bytes_N: UTF-8 bytes of the same documents.
        seed: the same one gives the same interval.

    Documents are drawn with replacement, the same for both models (Koehn 2004); the interval's ends are percentiles of
    sum(bits) / sum(bytes).

    >>> bootstrap_difference(np.array([-2.0, -2.0]), np.array([10, 10]))
    Difference(difference=-0.2, low=-0.2, high=-0.2, documents=2)
    """
    from scipy.stats import bootstrap

    sizes_N, count = bytes_N.astype(np.float64), len(bits_N)
    difference = float(_per_byte(bits_N, sizes_N))
    if count < 2:
        return Difference(difference, None, None, count)
    found = bootstrap(
        (bits_N, sizes_N),
        _per_byte,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, AT_ONCE // count),
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.Generator(np.random.PCG64(seed)),
    ).confidence_interval
    return Difference(difference, float(found.low), float(found.high), count)


def _per_byte(bits: np.ndarray, sizes: np.ndarray, axis: int = -1) -> np.ndarray:
    total: np.ndarray = bits.sum(axis=axis) / sizes.sum(axis=axis)
    return total
