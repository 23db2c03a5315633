"""replacement_candidates.csv: the swaps as a table that a person may edit, and reading it back strictly.

`new_token`, `old_id` and `score` decide; a `new_token` left empty is made from `new_text`, a `score` left empty or out
is the least one that the string needs. The other columns are for reading.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.artifacts import atomic_file
from ivr.encoding.byte_alphabet import CHARACTER_TO_BYTE, readable, to_alphabet
from ivr.errors import CorruptInputError
from ivr.tokenizer.select.selection import Swap

COLUMNS = (
    "old_id", "old_token", "old_count", "new_token", "new_text", "new_count", "tokens_saved", "tokens_lost", "score",
    "reason",
)  # fmt: skip


WORDS = "words"


@dataclass(frozen=True)
class Candidate:
    """One row: the id, the string it must have now and the string it gets (byte alphabet); where the row stands."""

    line: int  # 0 for a swap of a rules file, which is known by its id
    old_id: int
    old_token: str
    new_token: str
    score: int | None = None


def write_candidates(path: Path, swaps: Sequence[Swap], superwords: bool = False) -> None:
    """Write the table, best swap first; with `superwords`, a last column `words`: how many a new string spans."""
    with atomic_file(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*COLUMNS, *([WORDS] if superwords else [])])
        for swap in swaps:
            new = to_alphabet(swap.new)
            writer.writerow(
                [
                    swap.token_id, to_alphabet(swap.old), swap.old_count, new, readable(new), swap.new_count,
                    f"{swap.saved:g}", f"{swap.lost:g}", swap.score, reason(swap),
                    *([max(len(swap.parts), 1)] if superwords else []),
                ]
            )  # fmt: skip


def reason(swap: Swap) -> str:
    """One phrase: why this id, why this string."""
    leaves = "never produced" if swap.old_count == 0 else f"produced {swap.old_count:,} times, costs {swap.lost:,.0f}"
    if swap.saved <= 0:
        return f"id {leaves}; string is for words like those of the corpus"
    return f"id {leaves}; string saves {swap.saved:,.0f} tokens"


def read_candidates(path: Path) -> list[Candidate]:
    """Read the table. Raises CorruptInputError naming line, value and reason of the first row that cannot be."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            missing = {"old_id", "old_token", "new_token"} - set(reader.fieldnames or ())
            if missing:
                raise CorruptInputError(f"{path}, line 1: no column {', '.join(sorted(missing))}")
            return [_row(path, reader.line_num, row) for row in reader]
        except UnicodeDecodeError as error:
            raise CorruptInputError(f"{path} is not UTF-8: {error}") from None
        except csv.Error as error:
            raise CorruptInputError(f"{path}, line {reader.line_num}: not a table of this kind: {error}") from None


def _row(path: Path, line: int, row: dict[Any, Any]) -> Candidate:
    def refuse(column: str, why: str) -> CorruptInputError:
        return CorruptInputError(f"{path}, line {line}, {column} = {row.get(column)!r}: {why}")

    # DictReader keeps fields beyond the last column under None
    if None in row or None in row.values():
        raise CorruptInputError(
            f"{path}, line {line}: {'more' if None in row else 'fewer'} fields than columns; "
            "a token with a comma or a quote in it stands in quotes"
        )
    old_id = row["old_id"] or ""
    if not (old_id.isascii() and old_id.isdigit()):
        raise refuse("old_id", "not a whole number")
    new_token = row["new_token"] or to_alphabet((row.get("new_text") or "").encode())
    if not new_token:
        raise refuse("new_token", "empty, and no new_text to make it from")
    strange = [character for character in new_token if character not in CHARACTER_TO_BYTE]
    if strange:
        raise refuse(
            "new_token",
            f"{strange[0]!r} is not in the byte alphabet; write text into new_text and leave this empty",
        )
    score = row.get("score") or ""
    if score and not (score.isascii() and score.removeprefix("-").isdigit()):
        raise refuse("score", "not a whole number; left empty, the least one that the string needs is taken")
    return Candidate(line, int(old_id), row["old_token"] or "", new_token, int(score) if score else None)
