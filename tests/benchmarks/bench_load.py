"""How the time and memory of the first stages grow with the corpus: made text through `ivr` commands, measured.

    python tests/benchmarks/bench_load.py [--sizes 0.25,0.5,1,2] [--processes 2] [--work DIR] [--keep FILE] [--results]

The text is drawn from a seed and has the word statistics of large corpora: the words of GPT-2's vocabulary and chains
of them, by Zipf's law with its two slopes, so that new words go on coming. Each stage is one command with GPT-2's
tokenizer and a model of a few rows' width. Memory is the largest sum, looked at up to ten times a second, of what the
command and all its children hold (PSS: a page that n processes share counts as 1/n each). Ends with 1 where a stage
took more than LIMIT_GIB, or twice the time a gigabyte that it took for the smallest text.

What is made lies below --work (default: a temporary directory) and is deleted, text and runs; at most five times the
largest text at once. `--keep` has one line a stage and is read again: an interrupted run goes on.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from results import Record, add_option, command_line, publish

ROOT = Path(__file__).resolve().parents[2]
LIMIT_GIB, LIMIT_GROWTH = 3.0, 2.0
BEND, SLOPES, RANKS = 8_000, (1.0, 1.7), 20_000_000  # of Zipf's law in large corpora
WORDS_A_DOCUMENT = 500
DOCUMENTS_A_FILE = 20_000
SECONDS_BETWEEN_LOOKS = 0.1
STAGES = {
    "init": ["--document-separator", "blank-line"],
    "analyze": [],
    "distill-tokenizer": [],
    "select": ["--swaps", "2000"],
}


class Words:
    """Word number n (by falling frequency), made when it is first drawn.

    The first are GPT-2's own, in the order of their ids; the others are chains of two to four of them, as many as RANKS
    asks for. Which ones is a matter of the number alone.
    """

    def __init__(self, gpt2_dir: Path) -> None:
        vocabulary = json.loads((gpt2_dir / "vocab.json").read_text(encoding="utf-8"))
        words = [token for token in vocabulary if token.isascii() and token.isalpha() and token.islower()]
        self.parts = [word for word in words if len(word) > 1][:4_000]
        own = [token[1:] for token in vocabulary if token[0] == "Ġ" and token[1:].isascii() and token[1:].isalpha()]
        self.made = dict(enumerate(own[:BEND]))

    def take(self, ranks: np.ndarray) -> np.ndarray:
        """The words of these ranks, an array of str."""
        distinct, places = np.unique(ranks, return_inverse=True)
        made = self.made
        for rank in distinct.tolist():
            if rank not in made:
                made[rank] = self._make(rank)
        return np.array([made[rank] for rank in distinct.tolist()], object)[places]

    def _make(self, rank: int) -> str:
        state, size = rank * 2_654_435_761 % 2**32, len(self.parts)
        kind, word = state % 40, ""
        for _ in range(2 + state % 3):
            state = (state * 1_664_525 + 1_013_904_223) % 2**32
            word += self.parts[(state >> 8) % size]
        return word.capitalize() if kind < 6 else f"{word}{rank % 1000}" if kind == 6 else word


def rank_edges() -> tuple[np.ndarray, float]:
    """Cumulative weights of the ranks up to BEND, and the share of all words that these are."""
    head = 1 / np.arange(1, BEND + 1) ** SLOPES[0]
    level = BEND ** (SLOPES[1] - SLOPES[0])  # the two laws meet at BEND
    power = 1 - SLOPES[1]
    tail = level * (RANKS**power - BEND**power) / power
    return np.cumsum(head) / head.sum(), float(head.sum() / (head.sum() + tail))


def draw_ranks(draw: np.random.Generator, count: int, edges: np.ndarray, share: float) -> np.ndarray:
    """`count` ranks from 0."""
    ranks = np.searchsorted(edges, draw.random(count))
    in_tail = draw.random(count) >= share
    power = 1 - SLOPES[1]
    chance = draw.random(int(in_tail.sum()))
    ranks[in_tail] = (BEND**power + chance * (RANKS**power - BEND**power)) ** (1 / power)
    return ranks


def documents(gpt2_dir: Path, seed: int) -> Iterator[str]:
    """Documents of WORDS_A_DOCUMENT words with sentences, numbers and lines, without end."""
    words, draw = Words(gpt2_dir), np.random.default_rng(seed)
    edges, share = rank_edges()
    gaps = np.array([" "] * 84 + [", "] * 6 + [". "] * 6 + ["\n", " - ", ": ", "; "], object)
    numbers = np.array([str(number) for number in range(10_000)], object)
    count = WORDS_A_DOCUMENT * 200
    while True:
        pieces = np.empty((count, 2), object)
        pieces[:, 0] = words.take(draw_ranks(draw, count, edges, share))
        pieces[::25, 0] = numbers[draw.integers(0, len(numbers), count // 25)]
        pieces[:, 1] = gaps[draw.integers(0, len(gaps), count)]
        for document in pieces.reshape(-1, 2 * WORDS_A_DOCUMENT).tolist():
            yield "".join(document).strip()


def write_text(folder: Path, gigabytes: float, gpt2_dir: Path, seed: int) -> int:
    """Files of DOCUMENTS_A_FILE documents, parted by blank lines; returns their bytes."""
    folder.mkdir(parents=True)
    source, size, number = documents(gpt2_dir, seed), 0, 0
    while size < gigabytes * 1e9:
        path = folder / f"text-{number:04}.txt"
        with path.open("w", encoding="utf-8") as stream:
            for _ in range(DOCUMENTS_A_FILE):
                size += stream.write(next(source) + "\n\n")
                if size >= gigabytes * 1e9:
                    break
        number += 1
    return sum(path.stat().st_size for path in folder.iterdir())


def write_model(folder: Path, gpt2_dir: Path) -> None:
    """GPT-2's tokenizer with a model of one narrow layer, in a process of its own: torch stays out of this one."""
    code = (
        "import sys; from pathlib import Path; from transformers import GPT2Config, GPT2LMHeadModel\n"
        "from ivr.base.tokenizer import build_tokenizer, read_vocab_and_merges\n"
        "made, gpt2 = map(Path, sys.argv[1:])\n"
        "GPT2LMHeadModel(GPT2Config(n_embd=4, n_layer=1, n_head=1, n_positions=32)).save_pretrained(made)\n"
        "build_tokenizer(*read_vocab_and_merges(gpt2, 'gpt2')).save(str(made / 'tokenizer.json'))\n"
    )
    subprocess.run([sys.executable, "-c", code, folder, gpt2_dir], check=True, cwd=ROOT, stderr=subprocess.DEVNULL)


def measured(words: Sequence[str], log: Path) -> dict[str, Any]:
    """Run `ivr WORDS`: seconds by the clock and of CPU, and the largest memory of its processes in GiB."""
    begun, most = time.monotonic(), 0
    with log.open("a") as stream:
        child = subprocess.Popen([sys.executable, "-m", "ivr", *words], cwd=ROOT, stdout=stream, stderr=stream)
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        looked = time.monotonic()
        most = max(most, sum(map(proportional_bytes, tree_of(child.pid))))
        # the kernel walks every page for it, and the one that is looked at waits
        time.sleep(max(SECONDS_BETWEEN_LOOKS, 20 * (time.monotonic() - looked)))
    if status:
        raise SystemExit(f"ivr {words[0]} ended with {os.waitstatus_to_exitcode(status)}: {log.read_text()[-2000:]}")
    seconds, cpu = time.monotonic() - begun, usage.ru_utime + usage.ru_stime
    return {"seconds": round(seconds, 1), "cpu": round(cpu, 1), "gib": round(most / 2**30, 2)}


def tree_of(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def proportional_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def run_size(gigabytes: float, options: argparse.Namespace, done: set[tuple[float, str]]) -> Iterator[dict[str, Any]]:
    """A row for each stage on text of this size."""
    with tempfile.TemporaryDirectory(prefix="ivr-load-", dir=options.work) as made:
        folder, artifacts = Path(made), Path(made, "artifacts")
        begun = time.monotonic()
        size = write_text(folder / "text", gigabytes, options.gpt2_dir, options.seed)
        print(f"{size / 1e9:.2f} GB of text made in {time.monotonic() - begun:.0f} s", flush=True)
        write_model(folder / "model", options.gpt2_dir)
        for stage, words in STAGES.items():
            command = [stage, "--artifacts-dir", str(artifacts), *words]
            if stage == "init":
                command += ["--model-name", str(folder / "model"), "--raw-corpora-dir", str(folder / "text")]
                command += ["--processes", str(options.processes)]
            row = {"gigabytes": gigabytes, "stage": stage, **measured(command, folder / "log")}
            print(
                f"{gigabytes:>5} GB  {stage:<18}{row['seconds']:>8} s{row['cpu']:>8} s CPU{row['gib']:>6} GiB",
                flush=True,
            )
            if (gigabytes, stage) not in done:
                yield row
        print("\n".join(line for line in (folder / "log").read_text().splitlines() if "/s" in line), flush=True)


def table_rows(rows: Sequence[dict[str, Any]]) -> list[list[str | int | float | None]]:
    """Stage, GB, seconds, CPU seconds, CPU seconds a GB over those of the smallest text, GiB."""
    found: list[list[str | int | float | None]] = []
    for stage in STAGES:
        some = sorted((row for row in rows if row["stage"] == stage), key=lambda row: float(row["gigabytes"]))
        for row in some:
            growth = (row["cpu"] / row["gigabytes"]) / (some[0]["cpu"] / some[0]["gigabytes"])
            found.append([stage, row["gigabytes"], row["seconds"], row["cpu"], round(growth, 2), row["gib"]])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared"
    parser.add_argument("--gpt2-dir", type=Path, default=Path(os.environ.get("GPT2_DIR") or shared / "gpt2"))
    parser.add_argument("--sizes", default="0.25,0.5,1,2", metavar="GB,GB")
    parser.add_argument("--processes", type=int, default=2, help="that clean in `init`")
    parser.add_argument("--work", type=Path, help="a directory for what is made and deleted")
    parser.add_argument("--keep", type=Path, help="one line of JSON a stage and size; what it holds is not run again")
    parser.add_argument("--seed", type=int, default=0)
    add_option(parser)
    options = parser.parse_args()
    rows = (
        [json.loads(line) for line in options.keep.read_text().splitlines()]
        if options.keep and options.keep.is_file()
        else []
    )
    done = {(row["gigabytes"], row["stage"]) for row in rows}
    for gigabytes in map(float, options.sizes.split(",")):
        if all((gigabytes, stage) in done for stage in STAGES):
            continue
        for row in run_size(gigabytes, options, done):
            rows.append(row)
            if options.keep:
                with options.keep.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
    found = table_rows(rows)
    publish(options, "load", Record(command_line(), COLUMNS, found))
    over = [row for row in found if float(row[5] or 0) > LIMIT_GIB or float(row[4] or 0) > LIMIT_GROWTH]
    for found_row in over:
        print(f"over the limit: {dict(zip(COLUMNS, found_row, strict=True))}")
    return 1 if over else 0


COLUMNS = ("stage", "GB of text", "s", "s of CPU", "CPU a GB, of that of the smallest", "GiB at most")

if __name__ == "__main__":
    sys.exit(main())
