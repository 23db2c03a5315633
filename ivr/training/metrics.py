"""Two logs of a run, one JSON object a line: what happened (the same in every run) and how fast (never the same).

Lines are appended as they come, so that a run can be watched; a checkpoint carries a copy of the first log, and
resuming starts from that copy.
"""

import json
from pathlib import Path
from typing import Any

from ivr.artifacts import atomic_file, write_text


class JsonLines:
    """An append-only log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, row: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(json.dumps(row) + "\n")

    def restart(self, copy: Path | None = None) -> None:
        """Begin anew, or from a copy that a checkpoint kept."""
        if copy is None:
            write_text(self.path, "")
            return
        with atomic_file(self.path, "wb") as stream:
            stream.write(copy.read_bytes())

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
