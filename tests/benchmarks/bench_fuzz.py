"""Thousands of hostile files for every reader of the program: a table reader x (cases, accepted, refused, faults).

    python tests/benchmarks/bench_fuzz.py --cases 10000 --seed 1 [--results]

Each reader's cases run in a child process: one that the machine itself ends (a segmentation fault, an abort) is a fault
of its case, too, and the rest go on. A fault is printed with its seed; `--only READER --seed S --first N --cases 1`
runs it again. Exit code 0: no fault; 1: some.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from results import Record, add_option, command_line, publish

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does

from fuzz_cases import Outcome, Reader, run_case
from fuzz_readers import readers
from small_pipeline import STAGE_OPTIONS, run_stage, write_inputs

from ivr.artifacts import ArtifactPaths

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("reader", "cases", "accepted", "refused", "faults")


def cases_of(reader: Reader, all_readers: list[Reader], cases: int) -> int:
    """How many of all cases a reader gets, by its share; at least one."""
    return max(1, round(cases * reader.share / sum(one.share for one in all_readers)))


def run_reader(reader: Reader, seed: int, first: int, count: int, folder: Path) -> list[Outcome]:
    """`count` cases in child processes, a new one after each that died."""
    outcomes: list[Outcome] = []
    log = folder / "outcomes"
    while len(outcomes) < count:
        log.write_text("")
        child = os.fork()
        if not child:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            status = 1
            try:
                with log.open("a") as stream:
                    for number in range(first + len(outcomes), first + count):
                        stream.write(json.dumps(asdict(run_case(reader, f"{seed}.{number}", folder / "case"))) + "\n")
                        stream.flush()
                status = 0
            finally:
                os._exit(status)  # an exception must not go on into the parent's code, which would tidy up
        _, status = os.waitpid(child, 0)
        outcomes += [Outcome(**json.loads(line)) for line in log.read_text().splitlines()]
        if status:
            said = f"the process ended with {os.waitstatus_to_exitcode(status)}"
            outcomes.append(Outcome(reader.name, f"{seed}.{first + len(outcomes)}", "", "fault", said))
    return outcomes


def rows(outcomes: list[Outcome]) -> list[list[str | int]]:
    """Reader, cases, accepted, refused, faults; the last row is of all readers."""
    found: list[list[str | int]] = []
    for name in [*dict.fromkeys(one.reader for one in outcomes), "all"]:
        counts = Counter(one.verdict for one in outcomes if name in (one.reader, "all"))
        figures = [counts[verdict] for verdict in ("accepted", "refused", "fault")]
        found.append([name, sum(figures), *figures])
    return found


def line(row: Sequence[str | int]) -> str:
    return f"{row[0]:<26}{row[1]:>8,}{row[2]:>10,}{row[3]:>9,}{row[4]:>8,}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="of all readers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each reader")
    parser.add_argument("--only", default="", metavar="READER", help="one reader, which gets all cases")
    parser.add_argument("--run", type=Path, help="a folder with a small run, or for one (default: a new one)")
    add_option(parser)
    options = parser.parse_args()
    begun = time.monotonic()
    print(f"{COLUMNS[0]:<26}{COLUMNS[1]:>8}{COLUMNS[2]:>10}{COLUMNS[3]:>9}{COLUMNS[4]:>8}")
    with tempfile.TemporaryDirectory(prefix="ivr-fuzz-") as scratch:
        small = options.run or Path(scratch, "small")
        if not ArtifactPaths(small / "artifacts").manifest("report").exists():
            small.mkdir(parents=True, exist_ok=True)
            write_inputs(small)
            for stage in STAGE_OPTIONS:
                assert run_stage(stage, small, small / "artifacts") == 0
        found = readers(small, ROOT)
        chosen = [reader for reader in found if options.only in ("", reader.name)]
        outcomes: list[Outcome] = []
        for reader in chosen:
            count = options.cases if options.only else cases_of(reader, found, options.cases)
            some = run_reader(reader, options.seed, options.first, count, Path(scratch))
            for one in some:
                if one.verdict == "fault":
                    print(f"fault: {one.reader}, case {one.seed}, {one.mutation!r}: {one.said}", flush=True)
            outcomes += some
            print(line(rows(some)[0]), flush=True)
    print(line(rows(outcomes)[-1]))
    publish(options, "fuzz", Record(command_line(), COLUMNS, rows(outcomes)))
    print(f"seed {options.seed}, {time.monotonic() - begun:.0f} s")
    return 1 if any(one.verdict == "fault" for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
