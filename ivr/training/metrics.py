"""metrics.jsonl, the log of a run: one JSON object a line, appended as it comes, so that a run can be watched.

A row of a step says what happened, which is the same in every run of the same inputs, and how fast (TIME_FIELDS),
which never is. A checkpoint carries a copy of the log, and resuming starts from that copy.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ivr.disk.writer import append_text, atomic_file, write_text
from ivr.errors import CorruptInputError
from ivr.results import MetricsRow
from ivr.schema import parse_record

TIME_FIELDS = frozenset({"seconds", "tokens_per_second", "bytes_per_second", "mfu"})


class JsonLines:
    """An append-only log."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        append_text(self.path, json.dumps(row) + "\n")

    def restart(self, copy: Path | None = None) -> None:
        """Begin anew, or from a copy that a checkpoint kept."""
        if copy is None:
            write_text(self.path, "")
            return
        with atomic_file(self.path, "wb") as stream:
            stream.write(copy.read_bytes())

    def rows(self) -> list[MetricsRow]:
        return read_metrics(self.path)


def read_metrics(path: Path) -> list[MetricsRow]:
    """The rows of a log. A last line that a kill cut short is left out. Raises CorruptInputError naming the line."""
    lines = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            rows.append(parse_record(line, MetricsRow, f"{path}, line {number}", "`ivr train --force` writes it anew"))
        except CorruptInputError:
            if number < len(lines):
                raise
    return rows


def without_times(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows as every run of the same inputs has them."""
    return [{key: value for key, value in row.items() if key not in TIME_FIELDS} for row in rows]
