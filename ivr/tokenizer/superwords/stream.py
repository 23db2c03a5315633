"""A corpus as one stream of pretoken numbers, which superwords are counted in: four bytes a pretoken."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ivr.analysis.counting import chunks_of
from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.batch import Batch
from ivr.encoding.string_table import StringTable
from ivr.errors import StaleInputError
from ivr.tokenizer.superwords.boundaries import Joints


@dataclass(frozen=True)
class PretokenStream:
    """T pretokens of D documents, in the order of the text."""

    rows_T: np.ndarray  # number of the distinct pretoken, int32
    documents_T: np.ndarray  # number of the document, int32
    joined_T: np.ndarray  # may it stand in one superword with the next one? bool
    has_unknown: bool = False  # very long pretokens, which stand as number 0 and join nothing

    def __len__(self) -> int:
        return len(self.rows_T)


def read_stream(
    documents: Iterable[bytes], splitter: PretokenSplitter, pretokens: Batch, joints: Joints, longest: int
) -> PretokenStream:
    """The stream of these documents. `pretokens`: the distinct ones of up to `longest` characters.

    Raises StaleInputError for another one.
    """
    table = StringTable()
    table.numbers(pretokens.data, pretokens.starts[1:])
    known = len(table)
    parts, sizes = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
    for chunk in chunks_of(documents):
        pieces = splitter.split(chunk)
        parts.append(table.numbers(pieces.data, pieces.ends))
        sizes.append(np.diff(pieces.starts))
    strings = table.strings(known)
    if any(len(strings.string(row).decode()) <= longest for row in range(len(strings))):
        raise StaleInputError("the corpus holds pretokens that were not counted; run `ivr analyze` again")
    rows_T, sizes_D = np.concatenate(parts), np.concatenate(sizes)
    unknown = np.flatnonzero(rows_T >= known)
    rows_T[unknown] = 0
    joined_T = joints.joined(rows_T, np.cumsum(sizes_D))
    joined_T[unknown] = joined_T[np.maximum(unknown - 1, 0)] = False
    return PretokenStream(
        rows_T, np.repeat(np.arange(len(sizes_D), dtype=np.int32), sizes_D), joined_T, bool(len(unknown))
    )


def no_stream() -> PretokenStream:
    """A stream of nothing."""
    return PretokenStream(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, bool))
