"""replacement_candidates.csv: the swaps as a table that a person may edit, and reading it back strictly.

`new_token`, `old_id` and `score` decide; a `new_token` left empty is made from `new_text`, a `score` left empty or out
is the least one that the string needs. The other columns are for reading. A spreadsheet may open and save it: cells it
would change have an apostrophe in front (ivr.tokenizer.select.output.cells), and what it makes of the file (`;` or tabs
between cells, a byte order mark, CRLF, empty cells and rows behind the table) is read.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ivr.console import LOG
from ivr.disk.writer import atomic_file
from ivr.encoding.byte_alphabet import CHARACTER_TO_BYTE, readable, to_alphabet
from ivr.errors import CorruptInputError
from ivr.tokenizer.select.output.cells import read_cell, read_number, write_cell, write_number

if TYPE_CHECKING:
    from ivr.tokenizer.select.selection import Swap

COLUMNS = (
    "old_id", "old_token", "old_count", "new_token", "new_text", "new_count", "tokens_saved", "tokens_lost", "score",
    "reason",
)  # fmt: skip
NEEDED = ("old_id", "old_token", "new_token")
TEXTS = ("old_token", "new_token", "new_text")
DELIMITERS = ",;\t"
WORDS = "words"  # a last column, where strings may span several
# in every reason; an encoding without the letters of the tokens has not this one either
CANARY = "\u2192"
MOST_FIELD_CHARACTERS = 1 << 24


@dataclass(frozen=True)
class Candidate:
    """One row: the id, the string it must have now and the string it gets (byte alphabet); where the row stands."""

    line: int  # 0 for a swap of a rules file, which is known by its id
    old_id: int
    old_token: str
    new_token: str
    score: int | None = None


def write_candidates(path: Path, swaps: "Sequence[Swap]", superwords: bool = False) -> None:
    """Write the table, best swap first; with `superwords`, a last column `words`: how many a new string spans."""
    with atomic_file(path) as stream:
        writer = csv.writer(_LineFeeds(stream), lineterminator="\r\n")
        writer.writerow([*COLUMNS, *([WORDS] if superwords else [])])
        for swap in swaps:
            old, new = to_alphabet(swap.old), to_alphabet(swap.new)
            texts = [write_cell(text) for text in (old, new, readable(new))]
            writer.writerow(
                [
                    swap.token_id, texts[0], swap.old_count, *texts[1:], swap.new_count,
                    f"{swap.saved:g}", f"{swap.lost:g}", write_number(swap.score), reason(swap),
                    *([max(len(swap.parts), 1)] if superwords else []),
                ]
            )  # fmt: skip


class _LineFeeds:
    """Ends rows by LF. The csv module puts a cell with CR in it in quotes only where rows end by CR and LF."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, row: str) -> int:
        return self._stream.write(row.removesuffix("\r\n") + "\n")


def reason(swap: "Swap") -> str:
    """One phrase: why this id, why this string."""
    leaves = "never produced" if swap.old_count == 0 else f"produced {swap.old_count:,} times, costs {swap.lost:,.0f}"
    if swap.saved <= 0:
        return f"id {leaves} {CANARY} string is for words like those of the corpus"
    return f"id {leaves} {CANARY} string saves {swap.saved:,.0f} tokens"


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, cells by column as they stand) of every row that holds something.

    Raises CorruptInputError for a file that is no table of this kind.
    """
    text = _decode(path)
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().casefold().startswith("sep="):
        text, skipped = rest, 1
        first = rest.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    # the module's limit is of the whole process
    csv.field_size_limit(max(MOST_FIELD_CHARACTERS, csv.field_size_limit()))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        while columns and not columns[-1]:
            columns.pop()
        missing = [name for name in NEEDED if name not in columns]
        if missing:
            raise CorruptInputError(f"{path}, line {1 + skipped}: no column {', '.join(missing)}")
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise CorruptInputError(f"{path}, line {1 + skipped}: column {twice[0]!r} stands twice")
        for cells in reader:
            line = reader.line_num + skipped
            if not any(cells):
                continue
            if len(cells) < len(columns) or any(cells[len(columns) :]):
                what = "more" if len(cells) > len(columns) else "fewer"
                raise CorruptInputError(
                    f"{path}, line {line}: {what} fields than columns; "
                    "a token with a comma or a quote in it stands in quotes"
                )
            yield line, dict(zip(columns, cells, strict=False))
    except csv.Error as error:
        line = reader.line_num + skipped
        raise CorruptInputError(f"{path}, line {line}: not a table of this kind: {error}") from None


def read_candidates(path: Path) -> list[Candidate]:
    """Read the table. Raises CorruptInputError naming line, value and reason of the first row that cannot be."""
    rows = [*read_rows(path)]
    found = [_row(path, line, row) for line, row in rows]
    unlike = [one for one, (_, row) in zip(found, rows, strict=True) if not _text_agrees(one.new_token, row)]
    if unlike:
        LOG.warning(
            "%s: in %s rows new_text is not what new_token reads, first in line %s: new_token counts (%r); empty it in "
            "a row where the text is meant", path, f"{len(unlike):,}", unlike[0].line, readable(unlike[0].new_token),
        )  # fmt: skip
    return found


def _text_agrees(new_token: str, row: dict[str, str]) -> bool:
    """Whether a row's text is its token's, or says nothing: one may have been edited, and the other forgotten."""
    cell = row.get("new_text") or ""
    return cell == "" or plain_cell(cell) == readable(new_token)


def plain_cell(cell: str) -> str:
    """A cell for showing: without the apostrophe in front, whatever else stands there."""
    try:
        return read_cell(cell)
    except ValueError:
        return cell


def _decode(path: Path) -> str:
    if not path.is_file():
        raise CorruptInputError(f"{path} is no file, but a directory, a pipe or a device; move it away")
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise CorruptInputError(
            f"{path} is not UTF-8 ({error}), and tokens are lost in another encoding; "
            "save it as `CSV UTF-8`, from a copy that was opened as UTF-8"
        ) from None


def _row(path: Path, line: int, row: dict[str, Any]) -> Candidate:
    def refuse(column: str, why: str) -> CorruptInputError:
        return CorruptInputError(f"{path}, line {line}, {column} = {row.get(column)!r}: {why}")

    if (row.get("reason") or "").startswith("id ") and CANARY not in row["reason"]:
        raise refuse(
            "reason",
            f"{CANARY} is lost, and with it letters of tokens: the table was opened or saved in another encoding; "
            "open and save it as UTF-8",
        )
    texts: dict[str, str] = {}
    for column in TEXTS:
        if column == "new_text" and texts["new_token"]:
            break  # only for reading
        try:
            texts[column] = read_cell(row.get(column) or "")
        except ValueError as error:
            raise refuse(column, str(error)) from None
    numbers: dict[str, int | None] = {}
    for column, hint in (("old_id", ""), ("score", "; left empty, the least one that the string needs is taken")):
        cell = row.get(column) or ""
        try:
            numbers[column] = read_number(cell) if cell or column == "old_id" else None
        except ValueError as error:
            raise refuse(column, f"{error}{hint}") from None
    old_id = numbers["old_id"]
    if old_id is None or old_id < 0:
        raise refuse("old_id", "not a whole number")
    new_token = texts["new_token"] or to_alphabet(texts.get("new_text", "").encode())
    if not new_token:
        raise refuse("new_token", "empty, and no new_text to make it from")
    strange = [character for character in new_token if character not in CHARACTER_TO_BYTE]
    if strange:
        raise refuse(
            "new_token",
            f"{strange[0]!r} is not in the byte alphabet; write text into new_text and leave this empty",
        )
    return Candidate(line, old_id, texts["old_token"], new_token, numbers["score"])
