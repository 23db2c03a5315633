"""Tokenizer directories of every kind, drawn from a seed: is each taken and distilled exactly, or refused?

    python tests/benchmarks/bench_exactness.py [--draws 10000] [--seed 0] [--processes 2] [--keep FILE] [--results]

A draw is a small byte-level BPE with added tokens of every kind in every file that transformers reads
(`tests/drawn_tokenizers.py`). What `ivr init` takes is distilled, and original and distilled are compared through
`tokenizers` and AutoTokenizer: ids, offsets and decoding, special tokens cut out of text and as text. Prints how many
were taken, how many comparisons were made, each difference, and the reasons of refusals. `--keep` has one line a draw
and is read again: an interrupted run goes on. Ends with 1 when anything differs, or more is refused than taken.
"""

import argparse
import dataclasses
import json
import logging
import multiprocessing
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from results import Record, add_option, command_line, publish

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from drawn_outcomes import Outcome, outcome_of, spared

SEEDS_APART = 1_000_000
DRAWS_A_TASK, DRAWS_A_PROCESS = 20, 300
SHARED_MEMORY = Path("/dev/shm")
_FOLDER: Path | None = None
_SPARED = ExitStack()  # of this process; a context manager that nobody holds would end at once


def _start() -> None:
    global _FOLDER
    from transformers import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    _FOLDER = Path(tempfile.mkdtemp(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
    _SPARED.enter_context(spared())


def _draw(seed: int) -> tuple[int, dict[str, Any]]:
    assert _FOLDER is not None
    try:
        outcome = outcome_of(seed, _FOLDER / "draw")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of `tokenizers`, too, is a fault, and the next draw is to be seen too
        outcome = Outcome(faults=[f"{type(error).__name__}: {error}"])
    shutil.rmtree(_FOLDER / "draw", ignore_errors=True)
    return seed, dataclasses.asdict(outcome)


def outcomes(seeds: Sequence[int], processes: int, keep: Path | None) -> Iterator[dict[str, Any]]:
    """One a seed, as `Outcome` has it, in any order."""
    wanted = set(seeds)
    lines = keep.read_text(encoding="utf-8").splitlines() if keep and keep.is_file() else []
    for seed, outcome in map(json.loads, lines):
        if seed in wanted:
            wanted.discard(seed)
            yield {"seed": seed, **outcome}
    # the libraries keep some megabytes of every tokenizer, so that a process ends after DRAWS_A_PROCESS draws
    # (a ProcessPoolExecutor of Python 3.11 starts no other one then, and waits for ever)
    tasks = DRAWS_A_PROCESS // DRAWS_A_TASK
    with multiprocessing.get_context("spawn").Pool(processes, _start, maxtasksperchild=tasks) as pool:
        for seed, outcome in pool.imap_unordered(_draw, sorted(wanted), chunksize=DRAWS_A_TASK):
            if keep:
                with keep.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps([seed, outcome]) + "\n")
            yield {"seed": seed, **outcome}


def reason(refused: str) -> str:
    """What refusals of one kind have in common.

    >>> reason("DIR/tokenizer.json: the byte symbol 'q' (byte 0x71) has no id, and 0 others: text that ...")
    'the byte symbol # has no id'
    """
    told = refused.partition(": ")[2] or refused
    told = re.sub(r"'[^']*'|\"[^\"]*\"|\b0x\w+|\d+", "#", told)
    return re.sub(r"\s*\([^)]*\)", "", re.split(r"[;,:]", told)[0])[:70]


def main(arguments: Sequence[str] | None = None) -> int:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="one line of JSON a draw; what it holds is not drawn again")
    add_option(parser)
    options = parser.parse_args(arguments)
    first = options.seed * SEEDS_APART
    begun, reasons, totals, faulty = time.monotonic(), Counter[str](), Counter[str](), []
    for outcome in outcomes(range(first, first + options.draws), options.processes, options.keep):
        totals.update(draws=1, comparisons=outcome["comparisons"], refused=bool(outcome["refused"]))
        if outcome["refused"]:
            reasons[reason(outcome["refused"])] += 1
        if outcome["faults"]:
            faulty.append(outcome)
            print(f"seed {outcome['seed']}: {outcome['faults'][0]}", flush=True)
        if totals["draws"] % 500 == 0:
            print(f"{totals['draws']:,} draws, {len(faulty)} differ, {time.monotonic() - begun:.0f} s", flush=True)
    rows: list[list[str | int | float | None]] = [
        ["directories drawn", totals["draws"]],
        ["taken, distilled and compared", totals["draws"] - totals["refused"]],
        ["of these with any difference", len(faulty)],
        ["texts compared in ids, offsets and decoding", totals["comparisons"]],
    ]
    rows += [[f"refused: {told}", count] for told, count in reasons.most_common()]
    for what, figure in rows:
        print(f"{figure:>10,}  {what}")
    publish(options, "exactness", Record(command_line(), ["", "number"], rows))
    return 1 if faulty or 2 * totals["refused"] > totals["draws"] else 0


if __name__ == "__main__":
    sys.exit(main())
