"""RESULTS.md is filled by the benchmarks: what stands between `<!-- begin NAME -->` and `<!-- end NAME -->` is theirs.

    python tests/benchmarks/results.py NAME RECORD.json [--document FILE]

A record is a table, and where it comes from: the command, the day, the commit and the machine. A benchmark with the
option `--results` fills its own place when it is done; with a file given (`--results RECORD.json`) it also keeps the
record, from which this script fills the place again. Only the newest value stays: git keeps the older ones.
"""

import argparse
import dataclasses
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE / "RESULTS.md"
LINE_LENGTH = 120
MARKER = re.compile(r"<!-- (begin|end) ([\w-]+) -->")


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def commit() -> str:
    """The short hash, with `+` behind it where tracked files differ from that commit; `unknown` without git."""
    if shutil.which("git") is None:
        return "unknown"
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def machine() -> str:
    """
    >>> machine()  # doctest: +ELLIPSIS
    '... CPU core..., Python 3...'
    """
    cores = len(os.sched_getaffinity(0))
    return f"{cores} CPU core{'s' if cores > 1 else ''}, Python {platform.python_version()}"


@dataclass(frozen=True)
class Record:
    """One table; numbers in `rows` are kept as they are and written with thousands separators."""

    command: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int | float | None]]
    date: str = field(default_factory=today)
    commit: str = field(default_factory=commit)
    machine: str = field(default_factory=machine)


def command_line() -> str:
    """The running script and its options, from the project's root; where the results go is left out."""
    script, root = Path(sys.argv[0]).resolve(), HERE.parents[1]
    words = [str(script.relative_to(root) if root in script.parents else script.name), *sys.argv[1:]]
    if "--results" in words:
        at = words.index("--results")
        del words[at : at + (2 if words[at + 1 : at + 2] and not words[at + 1].startswith("-") else 1)]
    return " ".join(["python", *words])


def cell(value: str | int | float | None) -> str:
    """
    >>> cell(71393), cell(0.5), cell(None), cell("a|b")
    ('71,393', '0.5', '', 'a\\\\|b')
    """
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int | float) else value.replace("|", "\\|")


def table(record: Record) -> str:
    """The record in Markdown: its table, and a line that says where it comes from.

    >>> print(table(Record("python x.py", ["swaps", "s"], [[500, 4.5]], "2026-01-01", "abc", "2 CPU cores")))
    | swaps | s |
    |---:|---:|
    | 500 | 4.5 |
    <BLANKLINE>
    `python x.py`, 2026-01-01, abc, 2 CPU cores.
    """
    for row in record.rows:
        if len(row) != len(record.columns):
            raise ValueError(f"a row of {len(row)} cells under {len(record.columns)} columns: {row}")
    # a column that nothing was measured for is left out
    filled = [place for place in range(len(record.columns)) if any(row[place] is not None for row in record.rows)]
    columns, rows = (
        [record.columns[place] for place in filled],
        [[row[place] for place in filled] for row in record.rows],
    )
    numbers = [all(not isinstance(row[place], str) for row in rows) for place in range(len(columns))]
    lines = [" | ".join(columns), "|".join("---:" if number else "---" for number in numbers)]
    lines = [f"| {lines[0]} |", f"|{lines[1]}|"]
    lines += [f"| {' | '.join(map(cell, row))} |" for row in rows]
    source = [f"`{record.command}`,", f"{record.date}, {record.commit}, {record.machine}."]
    one_line = " ".join(source)
    if len(one_line) <= LINE_LENGTH:
        source = [one_line]
    wrapped = [part for line in source for part in textwrap.wrap(line, LINE_LENGTH, break_on_hyphens=False)]
    return "\n".join([*lines, "", *wrapped])


def places(text: str) -> list[str]:
    """Names of all places of a document, in order; raises ValueError where a marker stands alone or twice.

    >>> places("<!-- begin a --><!-- end a -->")
    ['a']
    """
    found = MARKER.findall(text)
    names = [name for kind, name in found if kind == "begin"]
    if found != [(kind, name) for name in names for kind in ("begin", "end")] or len(set(names)) < len(names):
        raise ValueError(f"markers are not in pairs, or a name stands twice: {found}")
    return names


def fill(document: Path, name: str, record: Record) -> None:
    """Put the record's table between the markers `name` of `document`; all else stays, byte for byte."""
    text = document.read_text(encoding="utf-8")
    if name not in places(text):
        raise ValueError(f"{document} has no place `<!-- begin {name} -->` ... `<!-- end {name} -->`")
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    document.write_text(f"{before}{begin}{table(record)}\n{end}{after}", encoding="utf-8")


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--results [RECORD.json]` of a benchmark."""
    parser.add_argument(
        "--results",
        nargs="?",
        const="",
        metavar="RECORD.json",
        help="fill this benchmark's place in tests/benchmarks/RESULTS.md; with a file, keep the record there, too",
    )


def publish(options: argparse.Namespace, name: str, record: Record, document: Path = DOCUMENT) -> None:
    """What `--results` asks for."""
    if options.results is None:
        return
    if options.results:
        Path(options.results).write_text(json.dumps(dataclasses.asdict(record), indent=1) + "\n", encoding="utf-8")
    fill(document, name, record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the place")
    parser.add_argument("record", type=Path, metavar="RECORD.json")
    parser.add_argument("--document", type=Path, default=DOCUMENT, metavar="FILE", help="default: RESULTS.md here")
    options = parser.parse_args()
    fill(options.document, options.name, Record(**json.loads(options.record.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
