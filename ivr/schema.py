"""Reading back what a run wrote down: JSON checked against a dataclass, and a seal that shows a flipped bit.

    @dataclass(frozen=True)
    class Job:
        job_id: str
        restarts: int = 0

    read_record(path, list[Job], "delete it to forget them")    # CorruptInputError names file, field and the way out

The schema of a record is a dataclass, a TypedDict or a list of them; pydantic compares, strictly: "1" is no number, an
unknown or missing field is refused. No number of a record is larger than 2^63 or not finite, so that nobody who reads
one has to think of that. pydantic is imported when the first record is read, not before: `--help` stays light.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ivr.disk.writer import write_text
from ivr.errors import CorruptInputError

if TYPE_CHECKING:
    import pyarrow as pa
    from pydantic import TypeAdapter

T = TypeVar("T")
LARGEST_INTEGER = 1 << 63
MOST_LEVELS = 100
CHECKSUM, END = "checksum", '"\n}\n'
SHOWN_CHARACTERS = 60
MOST_ROWS_A_BYTE = 10_000  # a file that claims more is a bomb, or damaged
_ADAPTERS: dict[Any, "TypeAdapter[Any]"] = {}  # making one takes longer than reading a record


def read_record(path: Path, schema: type[T], mend: str) -> T:
    """Read a JSON file as `schema`.

    Raises:
        FileNotFoundError: it is not there.
        CorruptInputError: it is no such record; names the file, the field, its value, and `mend`, the way out.
    """
    try:
        if not path.is_file() and path.exists() and not path.is_dir():
            raise CorruptInputError(f"{path} is no file, but a pipe, a socket or a device; {mend}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:  # a folder, a link to itself, a bad sector
        raise CorruptInputError(f"{path} cannot be read ({error.strerror}); {mend}") from None
    return parse_record(data, schema, str(path), mend)


def parse_record(data: bytes, schema: type[T], origin: str, mend: str) -> T:
    """The same for bytes that came from `origin`.

    >>> parse_record(b'[1, 2]', list[int], "a.json", "delete it")
    [1, 2]
    >>> parse_record(b'[1, "2"]', list[int], "a.json", "delete it")
    Traceback (most recent call last):
    ivr.errors.CorruptInputError: a.json, 1 = '2': input should be a valid integer; delete it
    """
    from pydantic import ValidationError

    try:
        value = json.loads(data)
        _refuse_odd(value)
        if isinstance(value, dict) and value.get(CHECKSUM):
            _check_seal(data)
        return cast("T", _adapter(schema).validate_json(data, strict=True, extra="forbid"))
    except ValidationError as error:
        raise CorruptInputError(f"{origin}{_first(error)}; {mend}") from None
    except UnicodeDecodeError as error:
        raise CorruptInputError(f"{origin} is not UTF-8 ({error.reason} at byte {error.start}); {mend}") from None
    except json.JSONDecodeError as error:
        raise CorruptInputError(f"{origin} is not JSON, perhaps cut short ({error}); {mend}") from None
    except RecursionError:
        raise CorruptInputError(f"{origin} is nested too deeply; {mend}") from None
    except ValueError as error:
        raise CorruptInputError(f"{origin}: {error}; {mend}") from None


def check_value(value: Any, schema: type[T], origin: str, mend: str) -> T:
    """A value that was read as JSON already, as `schema`; what the schema does not name is let through."""
    from pydantic import ValidationError

    try:
        _refuse_odd(value)
        return cast("T", _adapter(schema).validate_python(value, strict=True))
    except ValidationError as error:
        raise CorruptInputError(f"{origin}{_first(error)}; {mend}") from None
    except (ValueError, RecursionError) as error:
        raise CorruptInputError(f"{origin}: {error}; {mend}") from None


def read_table(path: Path, columns: Mapping[str, str], mend: str) -> "pa.Table":
    """Read a Parquet file that has these columns, name -> Arrow type (`int` stands for every size), without nulls.

    Raises CorruptInputError naming file, column and `mend`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as stream:  # what is not there is that, not a damaged table
            stream.read(1)
        file = pq.ParquetFile(path)
        names = set(file.schema_arrow.names)
        missing = [name for name in columns if name not in names]
        if missing:
            raise CorruptInputError(f"{path} has no column {missing[0]!r}; {mend}")
        if file.metadata.num_rows > path.stat().st_size * MOST_ROWS_A_BYTE:
            raise CorruptInputError(f"{path} claims {file.metadata.num_rows:,} rows; {mend}")
        table = file.read(columns=list(columns))
        table.validate(full=True)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, UnicodeDecodeError, MemoryError) as error:
        raise CorruptInputError(f"{path} is no whole Parquet file ({str(error).splitlines()[0]}); {mend}") from None
    for name, kind in columns.items():
        column = table[name]
        if not str(column.type).removeprefix("large_").startswith(kind) or column.null_count:
            nulls = ", with nulls" if column.null_count else ""
            raise CorruptInputError(f"{path}: the column {name!r} is {column.type}{nulls}, not {kind}; {mend}")
    return table


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object, whole or not at all, as `sealed` has it."""
    write_text(path, sealed(value))


def sealed(value: dict[str, Any]) -> str:
    """A JSON object with a last field `checksum`: sha256 of the text with it empty."""
    fields = {key: item for key, item in value.items() if key != CHECKSUM}
    unsealed = json.dumps({**fields, CHECKSUM: ""}, indent=2, ensure_ascii=False) + "\n"
    digest = hashlib.sha256(unsealed.encode()).hexdigest()
    return unsealed.removesuffix(END) + digest + END


def loads_text(data: bytes) -> Any:
    """The value of JSON that a person brings. Raises ValueError or RecursionError where it is none, and where a text in
    it is half a character (`"\\ud800"`), which no file of ours could hold.
    """
    value = json.loads(data)
    if b"\\u" in data or b"\xed" in data:  # else there is none
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            raise ValueError(f"a text in it has half a character, {half!a}") from None
    return value


def _check_seal(data: bytes) -> None:
    """Raises ValueError where the text is not the one whose checksum it carries."""
    body, digest = data[: -64 - len(END)], data[-64 - len(END) : -len(END)]
    if hashlib.sha256(body + END.encode()).hexdigest().encode() != digest or not data.endswith(END.encode()):
        raise ValueError("it was altered since it was written (its checksum differs)")


def _adapter(schema: Any) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    if schema not in _ADAPTERS:
        _ADAPTERS[schema] = TypeAdapter(schema)
    return _ADAPTERS[schema]


def _refuse_odd(value: Any, where: str = "", levels: int = 0) -> None:
    """Raises ValueError for what JSON allows and no record of ours holds."""
    if levels > MOST_LEVELS:
        raise ValueError(f"{where[:SHOWN_CHARACTERS]}... is nested more than {MOST_LEVELS} deep")
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_odd(key, where, levels)
            _refuse_odd(item, f"{where}.{key}" if where else key, levels + 1)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _refuse_odd(item, f"{where}.{number}" if where else str(number), levels + 1)
    elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise ValueError(f"{where} is a whole number beyond 2^63")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} = {value}, which is no finite number")
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{where} = {value!a:.{SHOWN_CHARACTERS}} is half a character") from None


def _first(error: Any) -> str:
    """`, outputs.0.path: field required` of a pydantic error."""
    one = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in one["loc"])
    kind, said = one["type"], one["msg"][0].lower() + one["msg"][1:]
    if kind == "missing":
        return f", {where}: this field is missing"
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return f", {where}: a field that this version does not know"
    shown = repr(one["input"])
    shown = shown if len(shown) <= SHOWN_CHARACTERS else shown[:SHOWN_CHARACTERS] + "..."
    return f", {where} = {shown}: {said}" if where else f": {said}"
