"""Strings to fit, with BPE's answers."""

from collections.abc import Iterable, Sequence
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
        return Encoded.joined([self, other])

    @classmethod
    def joined(cls, parts: Sequence["Encoded"]) -> "Encoded":
        """All parts one after another, copied once: of a large corpus one copy has half a gigabyte."""
        batches = [(part.batch.data, part.batch.starts) for part in parts]
        truths = [(part.truth.ids, part.truth.starts) for part in parts]
        return cls(Batch(*_one_after_another(batches)), Segmentations(*_one_after_another(truths)))


def _one_after_another(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *(starts[-1] for _, starts in parts)])
    starts = np.empty(1 + sum(len(starts) - 1 for _, starts in parts), np.int64)
    starts[0] = at = 0
    for offset, (_, more) in zip(offsets.tolist(), parts, strict=False):
        np.add(more[1:], offset, out=starts[at + 1 : at + len(more)])
        at += len(more) - 1
    return np.concatenate([data for data, _ in parts]), starts
