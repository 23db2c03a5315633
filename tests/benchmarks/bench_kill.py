"""Stages ended at random moments: by `kill -9`, by SIGTERM, by a disk that fills. Each must leave a run that goes on.

    python tests/benchmarks/bench_kill.py --keep kill.jsonl [--results]      # 200 + 50 + 20 trials, resumable
    python tests/benchmarks/bench_kill.py --keep kill.jsonl --kill 5 --term 2 --full 1

A trial begins with a copy of an undisturbed run as it was before the stage, ends the stage at a moment drawn over its
measured duration (its number and the seed decide which), and runs the same command again. Then everything the stage
left must have the hashes of the undisturbed run, but for what names times, and nothing half-written may lie about.
Every WHOLE-th trial runs all later stages, too, and compares the whole run.

Stages run in forks of one process that has imported and compiled everything, so that the moments fall into their work.
A disk that fills is a small tmpfs, which only root can mount; without it these trials are left out, and that is said.
It has room for less than the stage writes, down to nothing, so that every stage is struck.
Exit code 0: every trial came to the same; 1: not.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from results import Record, add_option, command_line, publish

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does

from small_pipeline import artifact_hashes, command, import_everything, run_forked, run_stage, write_inputs

from ivr.manifest import PIPELINE
from ivr.report.integrity import leftovers

NAMES = {"kill": "kill -9", "term": "SIGTERM", "full": "full disk"}
KINDS = tuple(NAMES)
COLUMNS = (
    "ended by", "stage", "trials", "cut short", "right exit", "resumed", "equal", "whole run", "leftovers", "tracebacks"
)  # fmt: skip
# torch does not work in these: its threads would not outlive a fork
WARM = ("init", "analyze", "distill-tokenizer", "select", "remap", "report")
RIGHT_CODES = {"kill": {-9}, "term": {-15, 75}, "full": {2, 73}}  # or 0, when the stage was faster
SLACK_BYTES = 256 << 20
MOST_ROOM = 0.9  # of what a stage writes


class Drill:
    """The undisturbed run, a state before and after each stage, and the trials on copies of it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.inputs, self.disk, self.log = folder / "inputs", folder / "disk", folder / "log"
        self.artifacts = self.disk / "artifacts"  # the same path in every trial: records name it
        self.seconds: dict[str, float] = {}
        self.hashes: dict[str, dict[str, str]] = {}
        self.written: dict[str, int] = {}  # bytes by which each stage makes the run larger

    def prepare(self) -> None:
        """Inputs, compiled code in this process, the undisturbed run."""
        self.inputs.mkdir()
        self.disk.mkdir()
        write_inputs(self.inputs)
        import_everything()
        for stage in WARM:
            assert run_stage(stage, self.inputs, self.folder / "warm") == 0
        self.artifacts.mkdir()
        for stage in PIPELINE:
            shutil.copytree(self.artifacts, self.before(stage), symlinks=True)
            status, self.seconds[stage] = run_forked(command(stage, self.inputs, self.artifacts), self.log)
            assert status == 0, f"{stage} ended with {status}: see {self.log}"
            self.written[stage] = _bytes_on_disk(self.artifacts) - _bytes_on_disk(self.before(stage))
            self.hashes[stage] = artifact_hashes(self.artifacts)
            print(f"undisturbed {stage:<18} {self.seconds[stage]:6.2f} s", flush=True)

    def before(self, stage: str) -> Path:
        return self.folder / "before" / stage

    def trial(self, kind: str, number: int, whole: bool) -> dict[str, Any]:
        """One row of the results."""
        draw = random.Random(f"{self.seed} {kind} {number}")
        stage = PIPELINE[number % len(PIPELINE)]
        share = draw.random()
        row: dict[str, Any] = {"kind": kind, "number": number, "stage": stage, "share": round(share, 4)}
        shutil.rmtree(self.artifacts, ignore_errors=True)
        self.log.write_text("")
        if kind == "full":
            row |= self._fill(stage, share)
        else:
            shutil.copytree(self.before(stage), self.artifacts, symlinks=True)
            signal_number = signal.SIGKILL if kind == "kill" else signal.SIGTERM
            row |= self._interrupt(stage, share * self.seconds[stage], signal_number)
            row |= self._go_on(stage, whole)
        said = self.log.read_text(errors="replace")
        row["traceback"] = "Traceback" in said or "a fault of gpt2-ivr" in said
        wrong = row["traceback"] or not row["equal"] or row["code"] not in {0, *RIGHT_CODES[kind]}
        if wrong:
            row["said"] = said[-3000:]
        return row

    def _interrupt(self, stage: str, seconds: float, number: int) -> dict[str, Any]:
        status, ran = run_forked(command(stage, self.inputs, self.artifacts), self.log, seconds, number)
        return {"code": os.waitstatus_to_exitcode(status), "seconds": round(ran, 3)}

    def _go_on(self, stage: str, whole: bool) -> dict[str, Any]:
        """The same command again (and, `whole`, all later ones), and what is different then."""
        later = PIPELINE[PIPELINE.index(stage) :] if whole else (stage,)
        codes = [run_forked(command(name, self.inputs, self.artifacts), self.log)[0] for name in later]
        expected, found = self.hashes[later[-1]], artifact_hashes(self.artifacts)
        different = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        left = [str(path.relative_to(self.artifacts)) for path in leftovers(self.artifacts)]
        left += [path.name for path in (self.artifacts / "manifests").glob(".*.unfinished")]
        resumed = not any(codes)
        return {"resumed": resumed, "equal": resumed and not different, "different": different, "leftovers": left} | (
            {"whole": True} if whole else {}
        )

    def _fill(self, stage: str, share: float) -> dict[str, Any]:
        """The stage on a disk that has room for `share` of what it writes."""
        used = _bytes_on_disk(self.before(stage))
        with _tmpfs(self.disk, used + SLACK_BYTES) as resize:
            shutil.copytree(self.before(stage), self.artifacts, symlinks=True)
            before = artifact_hashes(self.artifacts)
            resize(_bytes_used(self.disk) + int(MOST_ROOM * share * self.written[stage]))
            row = self._interrupt(stage, 600, signal.SIGKILL)
            now = artifact_hashes(self.artifacts)
            lost = sorted(name for name in before if name not in now)
            left = [path.name for path in leftovers(self.artifacts)]
            resize(used + SLACK_BYTES)
            row |= self._go_on(stage, whole=False)
            return row | {"lost": lost, "left_when_full": left, "equal": row["equal"] and not lost}


def _bytes_on_disk(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _bytes_used(mounted: Path) -> int:
    facts = os.statvfs(mounted)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


@contextlib.contextmanager
def _tmpfs(folder: Path, size: int) -> Iterator[Any]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "ivr-drill", folder], check=True)
    try:
        yield lambda new: subprocess.run(["mount", "-o", f"remount,size={new}", folder], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


def can_mount() -> str:
    """Empty, or why no tmpfs can be mounted here."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True, text=True)
        if done.returncode:
            return done.stderr.strip() or "mount failed"
        subprocess.run(["umount", folder], check=True)
    return ""


def table(rows: list[dict[str, Any]]) -> list[list[str | int]]:
    """A row of COLUMNS for each kind and stage, and one for each kind."""
    found: list[list[str | int]] = []
    for kind in KINDS:
        of_kind = [row for row in rows if row["kind"] == kind]
        for stage in (*PIPELINE, "all"):
            some = [row for row in of_kind if stage in (row["stage"], "all")]
            if some:
                right = sum(row["code"] in {0, *RIGHT_CODES[kind]} for row in some)
                counts = [len(some), sum(row["code"] != 0 for row in some), right]
                counts += [sum(row[key] for row in some) for key in ("resumed", "equal")]
                counts += [sum(row.get("whole", False) for row in some), sum(len(row["leftovers"]) for row in some)]
                found.append([NAMES[kind], stage, *counts, sum(row["traceback"] for row in some)])
    return found


def shown(lines: Sequence[Sequence[str | int]]) -> str:
    """Columns side by side."""
    cells = [[str(cell) for cell in line] for line in (COLUMNS, *lines)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="a line a trial; what is there is not repeated")
    parser.add_argument("--kill", type=int, default=200, help="trials with kill -9")
    parser.add_argument("--term", type=int, default=50, help="trials with SIGTERM")
    parser.add_argument("--full", type=int, default=20, help="trials on a disk that fills")
    parser.add_argument("--whole", type=int, default=10, help="every so many trials run all later stages, too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no trial later than this")
    add_option(parser)
    options = parser.parse_args()
    lines = options.keep.read_text().splitlines() if options.keep.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["kind"], row["number"]) for row in rows}
    counts = {"kill": options.kill, "term": options.term, "full": options.full}
    if options.full and (reason := can_mount()):
        print(f"no trials with a full disk: {reason}")
        counts["full"] = 0
    # the kinds take turns, so that a drill that is stopped has some of each
    left = [(kind, number) for kind in KINDS for number in range(counts[kind]) if (kind, number) not in done]
    left.sort(key=lambda one: (one[1] / counts[one[0]], one[0]))
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="ivr-kill-") as folder:
        drill = Drill(Path(folder), options.seed)
        if left:
            drill.prepare()
        for kind, number in left:
            if time.monotonic() > end:
                print("time is up")
                break
            row = drill.trial(kind, number, whole=kind != "full" and number % options.whole == 0)
            rows.append(row)
            with options.keep.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
    print(shown(table(rows)))
    publish(options, "kill", Record(command_line(), COLUMNS, table(rows)))
    return 0 if all(row["equal"] and not row["leftovers"] and not row["traceback"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
