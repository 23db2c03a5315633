"""Which share of the lines of ivr/ the tests run, room by room, from what `make coverage` measured.

    python tests/benchmarks/bench_coverage.py [--data FILE] [--results]

Lines of compiled loops are left out, which Python never runs. Stages are processes of their own and counted, too.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results import Record, add_option, command_line, publish

COLUMNS = ("room", "modules", "lines", "not run", "run, %")


def room_of(path: str) -> str:
    """
    >>> room_of("ivr/tokenizer/select/output/log.py"), room_of("ivr/stage.py"), room_of("ivr/corpus/packing.py")
    ('ivr/tokenizer/select', 'ivr', 'ivr/corpus')
    """
    folders = path.split("/")[:-1]
    return "/".join(folders[: 3 if folders[1:2] == ["tokenizer"] else 2])


def rows_of(files: Mapping[str, Mapping[str, Any]]) -> list[list[str | int | float]]:
    """A row a room and one for all, of the `files` of coverage's JSON.

    >>> rows_of({"ivr/a/b.py": {"summary": {"num_statements": 8, "missing_lines": 2}}})
    [['ivr/a', 1, 8, 2, 75.0], ['all', 1, 8, 2, 75.0]]
    """
    modules, lines, missed = Counter[str](), Counter[str](), Counter[str]()
    for path, file in files.items():
        for room in (room_of(path), "all"):
            modules[room] += 1
            lines[room] += file["summary"]["num_statements"]
            missed[room] += file["summary"]["missing_lines"]
    order = [*sorted(modules.keys() - {"all"}), "all"]
    return [[room, modules[room], lines[room], missed[room], _percent(lines[room], missed[room])] for room in order]


def _percent(lines: int, missed: int) -> float:
    """Rounded down: 100 only where nothing is missed."""
    return 1000 * (lines - missed) // lines / 10 if lines else 100.0


def record(files: Mapping[str, Mapping[str, Any]]) -> Record:
    return Record(command_line(), COLUMNS, rows_of(files))


def measured(data: Path | None) -> dict[str, Any]:
    import coverage

    read = coverage.Coverage() if data is None else coverage.Coverage(data_file=str(data))
    read.load()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.json"
        read.json_report(outfile=str(path))
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["files"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FILE", help="what was measured (default: .coverage here)")
    add_option(parser)
    options = parser.parse_args()
    made = record(measured(options.data))
    for room, modules, lines, missed, percent in made.rows:
        print(f"{room:<28}{modules:>5}{lines:>8,}{missed:>7,}{percent:>8} %")
    publish(options, "coverage", made)


if __name__ == "__main__":
    main()
