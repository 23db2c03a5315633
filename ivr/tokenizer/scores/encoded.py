"""Strings to fit, with BPE's answers."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.bpe_encoder import BpeEncoder


@dataclass(frozen=True, eq=False)
class Encoded:
    """Strings and BPE's segmentation of each."""

    batch: Batch
    truth: Segmentations

    @classmethod
    def of(cls, strings: Iterable[bytes], encoder: BpeEncoder) -> "Encoded":
        """Encode these."""
        batch = Batch.of(list(strings))
        return cls(batch, encoder.encode(batch))

    def select(self, rows: np.ndarray) -> "Encoded":
        """Those at these rows, int64."""
        return Encoded(self.batch.select(rows), self.truth.select(rows))

    def __add__(self, other: "Encoded") -> "Encoded":
        return Encoded(
            Batch(*_one_after_another(self.batch.data, self.batch.starts, other.batch.data, other.batch.starts)),
            Segmentations(*_one_after_another(self.truth.ids, self.truth.starts, other.truth.ids, other.truth.starts)),
        )


def _one_after_another(
    data: np.ndarray, starts: np.ndarray, more: np.ndarray, more_starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([data, more]), np.concatenate([starts, starts[-1] + more_starts[1:]])
