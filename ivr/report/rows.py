"""What training did to the new embedding rows: lengths, how far they turned, and their nearest neighbours.

Read from the safetensors files of the aligned and the trained model, block by block and without torch: a report must
not need the memory of two models.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ivr.artifacts import ArtifactPaths
from ivr.base.model_files import SAFETENSORS
from ivr.errors import CorruptInputError
from ivr.schema import read_record

BLOCK_ROWS = 8192
NEIGHBOURS = 3
LARGEST_HEADER = 100_000_000  # bytes, the format's own limit
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True)
class Matrix:
    """A matrix in a safetensors file, mapped into memory. values_VD: of `dtype`; bfloat16 as its sixteen bits."""

    values_VD: np.ndarray
    dtype: str

    def __len__(self) -> int:
        return len(self.values_VD)

    def rows(self, ids: Sequence[int] | slice) -> np.ndarray:
        """(K, D) float64 of these rows."""
        chosen_KD = self.values_VD[ids]
        if self.dtype == "BF16":
            chosen_KD = (np.asarray(chosen_KD).astype(np.uint32) << 16).view(np.float32)
        return np.asarray(chosen_KD, dtype=np.float64)

    def blocks(self, num_rows: int) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, rows) of the first `num_rows` rows."""
        for start in range(0, num_rows, BLOCK_ROWS):
            yield start, self.rows(slice(start, min(start + BLOCK_ROWS, num_rows)))


@dataclass(frozen=True)
class RowChange:
    """One new row before and after training. nearest: (id, cosine) of the rows that point most nearly as it does."""

    id: int
    norm_before: float
    norm_after: float
    cosine: float | None  # between before and after; None where one has no direction
    nearest_before: Sequence[tuple[int, float]] = ()
    nearest_after: Sequence[tuple[int, float]] = ()


def read_matrix(folder: Path, name: str, mend: str) -> Matrix:
    """The tensor `name` of the model in `folder`, whatever prefix it has there (`transformer.wte.weight`).

    Raises CorruptInputError, with `mend`, where the file is no whole safetensors file or has no such matrix.
    """
    path = folder / SAFETENSORS
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header: Any = json.loads(stream.read(length)) if length <= min(size, LARGEST_HEADER) else None
        bare = ".".join(name.split(".")[-2:])
        found = next(row for key, row in header.items() if key == name or f".{key}".endswith(f".{bare}"))
        dtype, shape, (begin, end) = found["dtype"], tuple(found["shape"]), found["data_offsets"]
        as_stored = np.dtype(DTYPES[dtype])
        if len(shape) != 2 or end - begin != shape[0] * shape[1] * as_stored.itemsize or 8 + length + end > size:
            raise ValueError(f"{name} has shape {shape}")
        return Matrix(np.memmap(path, as_stored, "r", offset=8 + length + begin, shape=shape), dtype)
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration, RecursionError) as error:
        raise CorruptInputError(f"{path} holds no matrix {name} that can be read ({error}); {mend}") from None


def embedding_name(paths: ArtifactPaths) -> str:
    """The name of the input embeddings in the base model's weights, as `align` noted it."""
    noted = read_record(paths.embeddings / "original_wte.json", dict, "run `ivr align` again")
    return str(noted.get("source", "")).partition(" of ")[0]


def row_changes(
    before: Matrix, after: Matrix, ids: Sequence[int], searched: Sequence[int], num_tokens: int
) -> list[RowChange]:
    """Norms of all rows `ids`, neighbours of those in `searched` among the first `num_tokens` rows.

    Raises CorruptInputError where a row is not finite.
    """
    old_KD, new_KD = before.rows(list(ids)), after.rows(list(ids))
    norms = [np.sqrt((rows_KD * rows_KD).sum(axis=1)) for rows_KD in (old_KD, new_KD)]
    if not (np.isfinite(norms[0]).all() and np.isfinite(norms[1]).all()):
        raise CorruptInputError("the new rows of the trained model hold NaN or infinity; run `ivr train --force`")
    product_K, lengths_K = (old_KD * new_KD).sum(axis=1), norms[0] * norms[1]
    places = {token_id: place for place, token_id in enumerate(searched)}
    nearest = [nearest_rows(matrix, searched, num_tokens) for matrix in (before, after)]
    return [
        RowChange(
            token_id,
            float(norms[0][place]),
            float(norms[1][place]),
            float(product_K[place] / lengths_K[place]) if lengths_K[place] > 0 else None,
            nearest[0][places[token_id]] if token_id in places else (),
            nearest[1][places[token_id]] if token_id in places else (),
        )
        for place, token_id in enumerate(ids)
    ]


def nearest_rows(
    matrix: Matrix, ids: Sequence[int], num_tokens: int, count: int = NEIGHBOURS
) -> list[list[tuple[int, float]]]:
    """For each row of `ids` the `count` others of the first `num_tokens` with the largest cosine, largest first."""
    if not ids:
        return []
    asked_KD = _directions(matrix.rows(list(ids)))
    best: list[list[tuple[float, int]]] = [[] for _ in ids]
    for start, block_BD in matrix.blocks(num_tokens):
        cosines_KB = asked_KD @ _directions(block_BD).T
        for place, token_id in enumerate(ids):
            if start <= token_id < start + len(block_BD):
                cosines_KB[place, token_id - start] = -np.inf
        # rounded, so that the last bit, which differs between machines, orders nothing
        cosines_KB = cosines_KB.round(6)
        kept = np.argsort(-cosines_KB, axis=1, kind="stable")[:, :count]
        for place, columns in enumerate(kept):
            found = [(-float(cosines_KB[place, column]), start + int(column)) for column in columns]
            best[place] = sorted([*best[place], *found])[:count]
    return [[(token_id, -cosine) for cosine, token_id in row if cosine < np.inf] for row in best]


def all_norms(matrix: Matrix, num_tokens: int) -> np.ndarray:
    """(num_tokens,) Euclidean norms."""
    parts = [np.sqrt((block_BD * block_BD).sum(axis=1)) for _, block_BD in matrix.blocks(num_tokens)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _directions(rows_KD: np.ndarray) -> np.ndarray:
    """The rows with length 1; a zero row stays one."""
    norms_K1 = np.sqrt((rows_KD * rows_KD).sum(axis=1, keepdims=True))
    return np.divide(rows_KD, norms_K1, out=np.zeros_like(rows_KD), where=norms_K1 > 0)
