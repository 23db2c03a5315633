"""`ivr analyze` against `Tokenizer.encode_batch_fast` on the same corpus, in turn, on the same cores.

    python tests/benchmarks/bench_analyze.py [--corpora biomedical,korean_reviews] [--pairs 3] [--threads 0]

Both read the cleaned files and end with the ids of every document as text in a file. Analyze is timed as its users see
it, counts and tables included, in a fresh process each time; so is the library. Both read plain text: `init` unpacks.
Prints seconds, megabytes a second, seconds of CPU, peak memory and the median of the paired ratios.
"""

import argparse
import json
import lzma
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINES = {"korean_reviews", "chem_smiles"}

LIBRARY = """
import resource, sys, time
from pathlib import Path
started = time.perf_counter()
from tokenizers import Tokenizer
from ivr.corpus.documents import read_documents
tokenizer = Tokenizer.from_file(sys.argv[2])
tokenizer.encode_special_tokens = True
group = []
def write(stream, group):
    for encoding in tokenizer.encode_batch_fast(group, add_special_tokens=False):
        stream.write(" ".join(map(str, encoding.ids)) + "\\n")
with open(sys.argv[3], "w") as stream:
    for document in read_documents(Path(sys.argv[1])):
        group.append(document)
        if len(group) == 1000:
            write(stream, group)
            group = []
    write(stream, group)
"""
OURS = """
import resource, sys, time
from pathlib import Path
started = time.perf_counter()
from tokenizers import Tokenizer
from ivr.analysis.analyze import count_corpus
from ivr.analysis.tables import write_pretoken_frequency, write_token_frequency
from ivr.encoding.batch import default_processes
tokenizer = Tokenizer.from_file(sys.argv[2])
out = Path(sys.argv[3])
counts = count_corpus(tokenizer, Path(sys.argv[1]), int(sys.argv[4]) or default_processes(), "analyze", out)
write_token_frequency(out.with_suffix(".tokens"), tokenizer, counts)
write_pretoken_frequency(out.with_suffix(".pretokens"), counts)
"""
REPORT = """
import json
usage = resource.getrusage(resource.RUSAGE_SELF)
seconds, cpu = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": usage.ru_maxrss * 1024}))
"""


def measure(code: str, *arguments: object) -> dict[str, float]:
    """Run in a fresh process; the time begins after the interpreter has started."""
    command = [sys.executable, "-c", code + REPORT, *map(str, arguments)]
    # a user's second run finds compiled modules
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def prepare(folder: Path, corpora: Path, names: list[str]) -> int:
    """Write the corpora as `init` would, whole; returns their bytes."""
    from ivr.corpus.documents import write_document

    size = 0
    for name in names:
        with lzma.open(corpora / f"{name}.txt.xz", "rt", encoding="utf-8", newline="\n") as source:
            text = source.read()
        with (folder / f"{name}.txt").open("w", encoding="utf-8", newline="\n") as target:
            for document in text.split("\n" if name in LINES else "\n\n"):
                if document:
                    write_document(target, document)
                    size += len(document.encode())
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared"
    parser.add_argument("--corpora-dir", type=Path, default=Path(os.environ.get("CORPORA_DIR") or shared / "corpora"))
    parser.add_argument("--gpt2-dir", type=Path, default=Path(os.environ.get("GPT2_DIR") or shared / "gpt2"))
    parser.add_argument("--corpora", default="biomedical,korean_reviews")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of analyze; 0 for every core")
    options = parser.parse_args()
    from ivr.base.tokenizer import build_tokenizer, read_vocab_and_merges

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = folder / "cleaned"
        corpus.mkdir()
        megabytes = prepare(corpus, options.corpora_dir, options.corpora.split(",")) / 1e6
        tokenizer = folder / "tokenizer.json"
        build_tokenizer(*read_vocab_and_merges(options.gpt2_dir, "gpt2")).save(str(tokenizer))
        print(f"{options.corpora}: {megabytes:.1f} MB, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()}")
        measure(OURS, corpus, tokenizer, folder / "ours.txt", options.threads)  # compiles, once a machine
        ratios, cpu_ratios = [], []
        for _ in range(options.pairs):
            theirs = measure(LIBRARY, corpus, tokenizer, folder / "theirs.txt")
            ours = measure(OURS, corpus, tokenizer, folder / "ours.txt", options.threads)
            if (folder / "ours.txt").read_bytes() != (folder / "theirs.txt").read_bytes():
                sys.exit("the ids differ")
            ratios.append(theirs["seconds"] / ours["seconds"])
            cpu_ratios.append(theirs["cpu_seconds"] / ours["cpu_seconds"])
            for what, result in (("encode_batch_fast", theirs), ("analyze", ours)):
                rate, peak = megabytes / result["seconds"], result["peak_bytes"] / 2**20
                print(
                    f"{what:18} {result['seconds']:6.2f} s  {rate:6.2f} MB/s  "
                    f"{result['cpu_seconds']:6.2f} s of CPU  peak {peak:6.0f} MiB"
                )
            time.sleep(0.5)
        each = ", ".join(f"{ratio:.1f}" for ratio in ratios)
        print(
            f"ratio {statistics.median(ratios):.1f} (each: {each}), of CPU time {statistics.median(cpu_ratios):.1f}, "
            f"load {os.getloadavg()}"
        )


if __name__ == "__main__":
    main()
