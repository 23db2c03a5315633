"""The frequency tables as Parquet files, and reading them back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from ivr.analysis.counting import CorpusCounts
from ivr.disk.writer import atomic_file
from ivr.schema import read_table


@dataclass(frozen=True)
class PretokenTable:
    """Distinct pretokens of a corpus, most frequent first. P rows."""

    pretokens: list[str]
    counts_P: np.ndarray  # occurrences, int64
    documents_P: np.ndarray  # documents that hold the pretoken, int64

    def __len__(self) -> int:
        return len(self.pretokens)


def write_token_frequency(path: Path, tokenizer: Tokenizer, counts: CorpusCounts) -> None:
    """One row an id, in id order: token_id, token, count, document_count, share of all tokens."""
    total = max(int(counts.token_counts_V.sum()), 1)
    ids = range(len(counts.token_counts_V))
    _write(
        path,
        {
            "token_id": pa.array(ids, pa.int32()),
            "token": pa.array([tokenizer.id_to_token(token_id) for token_id in ids], pa.string()),
            "count": pa.array(counts.token_counts_V, pa.int64()),
            "document_count": pa.array(counts.token_documents_V, pa.int64()),
            "share": pa.array(counts.token_counts_V / total, pa.float64()),
        },
    )


def write_pretoken_frequency(path: Path, counts: CorpusCounts) -> None:
    """One row a distinct pretoken, most frequent first: pretoken (as text), count, document_count."""
    _write(
        path,
        {
            "pretoken": _strings(counts),
            "count": pa.array(counts.counts_P, pa.int64()),
            "document_count": pa.array(counts.documents_P, pa.int64()),
        },
    )


def read_pretoken_frequency(path: Path) -> PretokenTable:
    """The table that `write_pretoken_frequency` wrote. Raises CorruptInputError where it cannot be."""
    columns = {"pretoken": "string", "count": "int64", "document_count": "int64"}
    table = read_table(path, columns, "run `ivr analyze` again")
    return PretokenTable(table["pretoken"].to_pylist(), table["count"].to_numpy(), table["document_count"].to_numpy())


def as_table(counts: CorpusCounts) -> PretokenTable:
    """The counts of a corpus as a table."""
    return PretokenTable(_strings(counts).to_pylist(), counts.counts_P, counts.documents_P)


def merge_tables(tables: Sequence[PretokenTable]) -> PretokenTable:
    """Add tables up, one at least; rows in order of count, then of code points, as each of them has them."""
    if len(tables) == 1:
        return tables[0]
    columns = [(table.pretokens, table.counts_P, table.documents_P) for table in tables]
    names = ["pretoken", "count", "document_count"]
    rows = pa.concat_tables(pa.table([pa.array(each[0], pa.large_string()), *each[1:]], names) for each in columns)
    rows = rows.group_by("pretoken").aggregate([(name, "sum") for name in names[1:]])
    rows = rows.sort_by([("count_sum", "descending"), ("pretoken", "ascending")])
    return PretokenTable(rows["pretoken"].to_pylist(), *(rows[f"{name}_sum"].to_numpy() for name in names[1:]))


def _strings(counts: CorpusCounts) -> pa.Array:
    """The pretokens as an Arrow array over the same bytes."""
    batch = counts.pretokens
    return pa.LargeStringArray.from_buffers(len(batch), pa.py_buffer(batch.starts), pa.py_buffer(batch.data))


def _write(path: Path, columns: dict[str, pa.Array]) -> None:
    with atomic_file(path, "wb") as stream:
        pq.write_table(pa.table(columns), stream, compression="zstd")
