"""The distilled tokenizer against the BPE it replaces, both in `tokenizers` and as loaded from their tokenizer.json.

    python tests/benchmarks/bench_encode.py --distilled DIR --original DIR [--pairs 5] [--json FILE]

Batches of documents through `encode_batch_fast`, English, Korean and Python code, the two in turn on the same cores.
Prints megabytes a second and the median of the paired ratios, by the clock and by CPU time (bar: 0.9), and the ratio
for single documents in turn on one thread, the fastest of many runs of each: other work disturbs that least.
"""

import argparse
import json
import lzma
import os
import resource
import statistics
import sys
import sysconfig
import time
from pathlib import Path

from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
BATCH = 200
DOCUMENT_CHARACTERS = 4_000
DOCUMENTS, RUNS = 40, 15  # of `compare_documents`


def documents(text: str) -> list[str]:
    """Paragraphs joined to documents of about DOCUMENT_CHARACTERS."""
    found: list[str] = []
    lines: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        lines.append(line)
        size += len(line)
        if size >= DOCUMENT_CHARACTERS:
            found.append("".join(lines))
            lines, size = [], 0
    return [*found, "".join(lines)] if lines else found


def texts(corpora: Path, megabytes: float) -> dict[str, list[str]]:
    """Kind of text -> documents, about so many megabytes each."""
    wanted = int(1e6 * megabytes)
    found = {}
    for kind, name in (("English", "english_docs"), ("Korean", "korean_reviews")):
        with lzma.open(corpora / f"{name}.txt.xz", "rt", encoding="utf-8", newline="\n") as stream:
            found[kind] = documents(stream.read(wanted if kind == "English" else wanted // 2))
    code = ""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        code += path.read_text(encoding="utf-8", errors="replace")
        if len(code) >= wanted:
            break
    found["code"] = documents(code[:wanted])
    return found


def encode(tokenizer: Tokenizer, texts: list[str]) -> tuple[float, float]:
    """Seconds and seconds of CPU for all batches."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    for begin in range(0, len(texts), BATCH):
        tokenizer.encode_batch_fast(texts[begin : begin + BATCH], add_special_tokens=False)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def load(path: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json" if path.is_dir() else path))
    tokenizer.encode_special_tokens = True
    return tokenizer


def compare(ours: Tokenizer, theirs: Tokenizer, texts: list[str], pairs: int) -> dict[str, float]:
    """Medians over paired runs; the order changes from pair to pair, since the machine does too."""
    size = sum(len(text.encode()) for text in texts) / 1e6
    encode(ours, texts[:BATCH]), encode(theirs, texts[:BATCH])
    wall, cpu, seconds, seconds_theirs = [], [], [], []
    for pair in range(2 * pairs):
        order = (ours, theirs) if pair % 2 else (theirs, ours)
        first, second = (encode(tokenizer, texts) for tokenizer in order)
        one, other = (first, second) if pair % 2 else (second, first)
        wall.append(other[0] / one[0])
        cpu.append(other[1] / one[1])
        seconds.append(one[0])
        seconds_theirs.append(other[0])
    return {
        "megabytes": round(size, 2),
        "distilled_megabytes_per_second": round(size / statistics.median(seconds), 2),
        "original_megabytes_per_second": round(size / statistics.median(seconds_theirs), 2),
        "ratio": round(statistics.median(wall), 3),
        "ratio_of_cpu": round(statistics.median(cpu), 3),
        "lowest_ratio": round(min(wall), 3),
        "highest_ratio": round(max(wall), 3),
    }


def compare_documents(ours: Tokenizer, theirs: Tokenizer, texts: list[str]) -> float:
    """CPU time of theirs by that of ours, the least of RUNS for each of DOCUMENTS documents, after all were read."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for tokenizer in (ours, theirs):
        encode(tokenizer, texts)
    total = {True: 0.0, False: 0.0}
    for text in texts[:: max(1, len(texts) // DOCUMENTS)]:
        best = {True: float("inf"), False: float("inf")}
        for run in range(2 * RUNS):
            mine = run % 2 == 0
            started = time.process_time()
            (ours if mine else theirs).encode_batch_fast([text], add_special_tokens=False)
            best[mine] = min(best[mine], time.process_time() - started)
        for mine, seconds in best.items():
            total[mine] += seconds
    os.environ.pop("TOKENIZERS_PARALLELISM")
    return total[False] / total[True]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared"
    parser.add_argument("--corpora-dir", type=Path, default=Path(os.environ.get("CORPORA_DIR") or shared / "corpora"))
    parser.add_argument("--distilled", type=Path, required=True, help="directory or tokenizer.json")
    parser.add_argument("--original", type=Path, required=True, help="directory or tokenizer.json")
    parser.add_argument("--megabytes", type=float, default=2.0, help="of each kind of text")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--bar", type=float, default=0.0, help="exit 1 when a ratio is lower")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    ours, theirs = load(options.distilled), load(options.original)
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()}")
    results = {}
    for kind, batch in texts(options.corpora_dir, options.megabytes).items():
        found = results[kind] = compare(ours, theirs, batch, options.pairs)
        found["ratio_of_documents"] = round(compare_documents(ours, theirs, batch), 3)
        print(
            f"{kind:8} {found['megabytes']:5.2f} MB  distilled {found['distilled_megabytes_per_second']:6.2f} MB/s  "
            f"original {found['original_megabytes_per_second']:6.2f} MB/s  ratio {found['ratio']:.3f} "
            f"({found['lowest_ratio']:.2f}-{found['highest_ratio']:.2f}), of CPU {found['ratio_of_cpu']:.3f}, "
            f"single documents {found['ratio_of_documents']:.3f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if min(found["ratio"] for found in results.values()) < options.bar:
        sys.exit(1)


if __name__ == "__main__":
    main()
