"""The distilled tokenizer against the BPE it replaces, both in `tokenizers` and as loaded from their tokenizer.json.

    python tests/benchmarks/bench_encode.py --distilled DIR --original DIR [--runs 5] [--json FILE]
                                            [--document-characters 4000] [--results]

Batches of documents through `encode_batch_fast`, and through `encode_batch`, which also finds each token's place in the
text and is what transformers calls: English, Korean and Python code. Both are loaded anew for every run,
since both keep what they met first: 10,000 words for good. A tokenizer that has read English has no place left for
Korean words, and one that is given a text again finds all of it. Within a run the two take turns batch by batch on the
same cores, so that both meet the machine's quick and slow moments; prints megabytes a second and the medians over runs
of the ratio of all batches' times, by the clock and by CPU time on all cores, and by CPU time on one (bar: 0.9).

A third takes its turn: the same scores behind the original's own pre-tokenizer, so without the rules for runs and not
exact. It says what the Unigram model of `tokenizers` costs by itself, whatever pattern stands before it.
"""

import argparse
import json
import lzma
import os
import resource
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from results import Record, add_option, command_line, publish
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
BATCH_CHARACTERS = 100_000  # a few hundredths of a second
SMALLEST_BATCH = 8  # documents: every core has some


def documents(text: str, characters: int) -> list[str]:
    """Lines joined to documents of about so many characters."""
    found: list[str] = []
    lines: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        lines.append(line)
        size += len(line)
        if size >= characters:
            found.append("".join(lines))
            lines, size = [], 0
    return [*found, "".join(lines)] if lines else found


def texts(corpora: Path, megabytes: float, characters: int) -> dict[str, list[str]]:
    """Kind of text -> documents of so many characters, about so many megabytes each."""
    wanted = int(1e6 * megabytes)
    found = {}
    for kind, name in (("English", "english_docs"), ("Korean", "korean_reviews")):
        with lzma.open(corpora / f"{name}.txt.xz", "rt", encoding="utf-8", newline="\n") as stream:
            found[kind] = documents(stream.read(wanted if kind == "English" else wanted // 2), characters)
    code = ""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        code += path.read_text(encoding="utf-8", errors="replace")
        if len(code) >= wanted:
            break
    found["code"] = documents(code[:wanted], characters)
    return found


def encode(tokenizer: Tokenizer, call: str, batch: list[str]) -> np.ndarray:
    """Seconds and seconds of CPU for one batch by this method: float64 (2)."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    getattr(tokenizer, call)(batch, add_special_tokens=False)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    return np.array([seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime])


def take_turns(files: Sequence[str], call: str, texts: list[str]) -> np.ndarray:
    """Seconds and seconds of CPU of each for all batches, float64 (files, 2): who is first changes with every batch."""
    tokenizers = [load(file) for file in files]
    taken = np.zeros((len(files), 2))
    batch = max(SMALLEST_BATCH, BATCH_CHARACTERS * len(texts) // sum(map(len, texts)))
    for number, begin in enumerate(range(0, len(texts), batch)):
        for turn in range(len(files)):
            one = (number + turn) % len(files)
            taken[one] += encode(tokenizers[one], call, texts[begin : begin + batch])
    return taken


def read(path: Path) -> str:
    """The text of a tokenizer.json."""
    return (path / "tokenizer.json" if path.is_dir() else path).read_text(encoding="utf-8")


def load(file: str) -> Tokenizer:
    tokenizer = Tokenizer.from_str(file)
    tokenizer.encode_special_tokens = True
    return tokenizer


def without_run_rules(ours: str, theirs: str) -> str:
    """The model of one tokenizer.json behind the pre-tokenizer of another."""
    return json.dumps({**json.loads(ours), "pre_tokenizer": json.loads(theirs)["pre_tokenizer"]})


def compare(ours: str, theirs: str, call: str, texts: list[str], runs: int) -> dict[str, float]:
    """Medians over runs."""
    files = ours, theirs, without_run_rules(ours, theirs)
    size = sum(len(text.encode()) for text in texts) / 1e6
    taken = {}
    for parallel in ("true", "false"):
        os.environ["TOKENIZERS_PARALLELISM"] = parallel
        # (runs, whose, clock or CPU)
        taken[parallel] = np.array([take_turns(files, call, texts) for _ in range(runs)])
    both, alone = taken["true"], taken["false"]
    ratios = both[:, 1] / both[:, 0]
    seconds = np.median(both[:, :, 0], axis=0)
    return {
        "megabytes": round(size, 2),
        "distilled_megabytes_per_second": round(size / seconds[0], 2),
        "original_megabytes_per_second": round(size / seconds[1], 2),
        "ratio": round(float(np.median(ratios[:, 0])), 3),
        "ratio_of_cpu": round(float(np.median(ratios[:, 1])), 3),
        "ratio_on_one_core": round(float(np.median(alone[:, 1, 1] / alone[:, 0, 1])), 3),
        "ratio_without_run_rules": round(float(np.median(both[:, 1, 0] / both[:, 2, 0])), 3),
        "ratio_without_run_rules_on_one_core": round(float(np.median(alone[:, 1, 1] / alone[:, 2, 1])), 3),
        "lowest_ratio": round(float(ratios[:, 0].min()), 3),
        "highest_ratio": round(float(ratios[:, 0].max()), 3),
    }


def record(found: dict[str, dict[str, float]]) -> Record:
    """The table of all texts and methods, as the distilled tokenizer's speed over the BPE's."""
    keys = ("ratio", "lowest_ratio", "highest_ratio", "ratio_of_cpu", "ratio_on_one_core")
    return Record(
        command_line(),
        ["text, method", "every core, by the clock", "lowest", "highest", "CPU time", "one core"],
        [[name, *(row[key] for key in keys)] for name, row in found.items()],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared"
    parser.add_argument("--corpora-dir", type=Path, default=Path(os.environ.get("CORPORA_DIR") or shared / "corpora"))
    parser.add_argument("--distilled", type=Path, required=True, help="directory or tokenizer.json")
    parser.add_argument("--original", type=Path, required=True, help="directory or tokenizer.json")
    parser.add_argument("--megabytes", type=float, default=2.0, help="of each kind of text")
    parser.add_argument("--document-characters", type=int, default=4_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--calls", default="encode_batch_fast,encode_batch", help="methods of `tokenizers.Tokenizer`")
    parser.add_argument("--bar", type=float, default=0.0, help="exit 1 when a ratio is lower")
    parser.add_argument("--json", type=Path, help="write the figures there")
    add_option(parser)
    options = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()}")
    results = {}
    for kind, batch in texts(options.corpora_dir, options.megabytes, options.document_characters).items():
        for call in options.calls.split(","):
            found = compare(read(options.distilled), read(options.original), call, batch, options.runs)
            results[f"{kind}, {call}"] = found
            print(
                f"{kind:8} {call:17} {found['megabytes']:5.2f} MB  "
                f"distilled {found['distilled_megabytes_per_second']:6.2f} MB/s  "
                f"original {found['original_megabytes_per_second']:6.2f} MB/s  "
                f"ratio {found['ratio']:.3f} ({found['lowest_ratio']:.2f}-{found['highest_ratio']:.2f}), "
                f"of CPU {found['ratio_of_cpu']:.3f}, on one core {found['ratio_on_one_core']:.3f}; "
                f"without run rules {found['ratio_without_run_rules']:.3f}, "
                f"on one core {found['ratio_without_run_rules_on_one_core']:.3f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    publish(options, "encode", record(results))
    if min(found["ratio"] for found in results.values()) < options.bar:
        sys.exit(1)


if __name__ == "__main__":
    main()
