"""The distinct pretokens that a distilled tokenizer was fitted to, kept beside its certificate.

Scores that are raised for new text can break old text that no constraint mentions. So `distill-tokenizer --extend` fits
to the old pretokens too, and needs these strings for it, not the corpora they came from.
"""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ivr.disk.writer import atomic_file
from ivr.errors import CorruptInputError
from ivr.schema import read_table

NAME = "fitted_pretokens.parquet"


def write_fitted(directory: Path, pretokens: Iterable[str], base_sha256: str) -> None:
    """Write the strings in order of their code points, and the hash of the tokenizer.json that they are fitted for."""
    table = pa.table({"pretoken": pa.array(sorted(set(pretokens)), pa.large_string())})
    table = table.replace_schema_metadata({"base_tokenizer_sha256": base_sha256})
    with atomic_file(directory / NAME, "wb") as stream:
        pq.write_table(table, stream, compression="zstd")


def read_fitted(directory: Path) -> tuple[list[str], str]:
    """(the strings, sha256 of the base tokenizer). Raises CorruptInputError, naming the file."""
    path = directory / NAME
    mend = "`ivr distill-tokenizer` without --extend writes it anew"
    table = read_table(path, {"pretoken": "string"}, mend)
    try:
        return table["pretoken"].to_pylist(), table.schema.metadata[b"base_tokenizer_sha256"].decode()
    except (KeyError, TypeError, UnicodeDecodeError):
        raise CorruptInputError(f"{path} does not name the tokenizer it belongs to; {mend}") from None
