"""metrics.jsonl, the log of a run: one JSON object a line, appended as it comes, so that a run can be watched.

A row of a step says what happened, which is the same in every run of the same inputs, and how fast (TIME_FIELDS),
which never is. A checkpoint carries a copy of the log, and resuming starts from that copy.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ivr.artifacts import append_text, atomic_file, write_text

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

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]


def without_times(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows as every run of the same inputs has them."""
    return [{key: value for key, value in row.items() if key not in TIME_FIELDS} for row in rows]
