"""Strings to fit, with BPE's answers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.unigram_encoder import UnigramEncoder


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

    def __len__(self) -> int:
        return len(self.batch)

    def differing(self, unigram: UnigramEncoder) -> np.ndarray:
        """Rows that the Unigram model segments otherwise, ascending, int64."""
        return unigram.differing(self.batch, self.truth)


class Parts:
    """One or several of them as one, not copied: of a large corpus one copy has half a gigabyte.

    >>> one = Encoded(Batch.of([b"a", b"b"]), Segmentations(np.array([0, 1], np.int32), np.array([0, 1, 2])))
    >>> parts = Parts([one, one])
    >>> len(parts), parts.select(np.array([1, 2])).batch.data.tobytes()
    (4, b'ba')
    """

    def __init__(self, parts: Sequence[Encoded]) -> None:
        self.parts = tuple(parts)
        self._firsts = np.cumsum([0, *map(len, parts)])  # the first row of each, and of what would follow

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __add__(self, more: Encoded) -> "Parts":
        return Parts([*self.parts, more])

    def select(self, rows: np.ndarray) -> Encoded:
        """Those at these rows, int64, ascending."""
        chosen = np.split(rows, np.searchsorted(rows, self._firsts[1:-1]))
        some = [
            part.select(own - first)
            for part, own, first in zip(self.parts, chosen, self._firsts.tolist(), strict=False)
        ]
        batches, truths = [one.batch for one in some], [one.truth for one in some]
        return Encoded(
            Batch(np.concatenate([one.data for one in batches]), _starts(batches)),
            Segmentations(np.concatenate([one.ids for one in truths]), _starts(truths)),
        )

    def differing(self, unigram: UnigramEncoder) -> np.ndarray:
        """Rows that the Unigram model segments otherwise, ascending, int64."""
        firsts = self._firsts.tolist()
        return np.concatenate(
            [first + part.differing(unigram) for first, part in zip(firsts, self.parts, strict=False)]
        )


def _starts(parts: Sequence[Batch] | Sequence[Segmentations]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part.starts) for part in parts]))])
