"""The fit of `distill-tokenizer` on 75,000 to 600,000 distinct pretokens: seconds, memory, linearity, and a peer.

    python tests/benchmarks/bench_distill.py [--types 75000,150000,300000,600000] [--peer-types 75000] [--json FILE]
                                              [--plot FILE] [--results]

The pretokens are those of the corpora and, where these are not enough, of this machine's Python packages and of seeded
joins of vocabulary tokens; every token and every short number, 270,000 strings, are fitted besides, at every size. Each
size is fitted in a fresh process (bar: 600,000 in 90 s and 3 GB); timed is all from the pretokens to the Unigram
tokenizer, run rules included. The peer is the `tokenizers` library's own UnigramTrainer, on as many of the same
pretokens: it learns a vocabulary of the same size, the usual way to a Unigram tokenizer. Of both, the share of the
pretokens that are segmented as by the BPE is printed.
"""

import argparse
import json
import lzma
import os
import random
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import results

ROOT = Path(__file__).resolve().parents[2]
SEED = 0
BAR_TYPES, BAR_SECONDS = 600_000, 90

LOAD = """
import json, resource, sys, time
from tokenizers import Tokenizer
base = Tokenizer.from_file(sys.argv[1])
pretokens = json.load(open(sys.argv[2], encoding="utf-8"))[: int(sys.argv[3])]
"""
OURS = """
from ivr.encoding.bpe import read_bpe
from ivr.tokenizer.distill.pipeline import distill
from ivr.tokenizer.distill.stage import Config
usage, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
found = distill(base, read_bpe(base), pretokens, Config.prior_exponent)
result = found.tokenizer
more = {"constraints": len(found.fit.constraints), "rounds": found.fit.rounds, "exponent": found.exponent}
"""
PEER = """
from tokenizers import models, pre_tokenizers, trainers
usage, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
result, more = Tokenizer(models.Unigram()), {}
result.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
alphabet = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.UnigramTrainer(vocab_size=base.get_vocab_size(), initial_alphabet=alphabet, show_progress=False)
result.train_from_iterator(pretokens, trainer)
"""
REPORT = """
seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
from ivr.analysis.pretokens import pretoken_encoder
one, other = (pretoken_encoder(tokenizer) for tokenizer in (base, result))
same = 0
for begin in range(0, len(pretokens), 20000):
    part = pretokens[begin : begin + 20000]
    pairs = zip(one.encode_batch_fast(part), other.encode_batch_fast(part))
    same += sum(a.tokens == b.tokens for a, b in pairs)
print(json.dumps({"types": len(pretokens), "seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2),
    "peak_bytes": after.ru_maxrss * 1024, "agreement_percent": round(100 * same / len(pretokens), 4), **more}))
"""


def measure(code: str, *arguments: object) -> dict[str, Any]:
    """Run in a fresh process. Peak memory is that at the end of the fit, loading included."""
    command = [sys.executable, "-c", LOAD + code + REPORT, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout))


def pieces_of_text(corpora: Path) -> Iterator[str]:
    """The corpora, then the Python code and text of this machine, in blocks of whole lines."""
    for path in sorted(corpora.glob("*.txt.xz")):
        with lzma.open(path, "rt", encoding="utf-8", newline="\n") as stream:
            while lines := stream.readlines(1 << 20):
                yield "".join(lines)
    for folder in ("stdlib", "purelib"):
        for path in sorted(Path(sysconfig.get_path(folder)).rglob("*.py")):
            if path.is_file():
                yield path.read_text(encoding="utf-8", errors="replace")


def make_pretokens(tokenizer_file: Path, corpora: Path, count: int) -> tuple[list[str], int]:
    """`count` distinct pretokens in a seeded order, and how many of them are joined tokens."""
    from tokenizers import Tokenizer

    from ivr.analysis.pretokens import PretokenSplitter
    from ivr.encoding.string_table import StringTable

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    splitter, table = PretokenSplitter(tokenizer), StringTable()
    for text in pieces_of_text(corpora):
        pieces = splitter.split([text.encode()])
        table.numbers(pieces.data, pieces.ends)
        if len(table) >= count:
            break
    strings = table.strings()
    found = [strings.string(row).decode() for row in range(min(len(table), count))]
    known, draw = set(found), random.Random(SEED)
    words = [word for word in (tokenizer.decode([i]) for i in range(tokenizer.get_vocab_size())) if word.isalpha()]
    joined = 0
    while len(found) < count:
        word = "".join(draw.choices(words, k=draw.randint(2, 4)))
        if word not in known and len(splitter(word)) == 1:
            known.add(word)
            found.append(word)
            joined += 1
    draw.shuffle(found)
    return found, joined


def record(rows: list[dict[str, Any]]) -> results.Record:
    """The table of all fits, the peer's last."""
    keys = ("who", "types", "seconds", "cpu_seconds", "gibibytes", "agreement_percent")
    told = [{**row, "gibibytes": round(row["peak_bytes"] / 2**30, 2)} for row in rows]
    return results.Record(
        results.command_line(),
        ["fit", "distinct pretokens", "s", "s of CPU", "GiB at most", "equal to the BPE, %"],
        [[row[key] for key in keys] for row in told],
    )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds of CPU and memory of our fits against the number of types, and the bar."""
    import matplotlib

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    matplotlib.rcParams["svg.hashsalt"] = "distill"
    from matplotlib import pyplot

    ours = sorted((row for row in rows if row["who"] == "ours"), key=lambda row: row["types"])
    types, seconds = [row["types"] for row in ours], [row["cpu_seconds"] for row in ours]
    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.plot(types, seconds, marker="o", color="tab:blue")
    axes.plot([BAR_TYPES], [BAR_SECONDS], marker="_", markersize=16, linestyle="", color="grey", label="the bar")
    axes.set(xlabel="distinct pretokens", xlim=(0, None), ylim=(0, None))
    axes.set_ylabel("processor seconds", color="tab:blue")
    axes.legend(loc="lower right")
    memory = axes.twinx()
    memory.plot(types, [row["peak_bytes"] / 2**30 for row in ours], marker="s", color="tab:orange")
    memory.set(ylim=(0, None))
    memory.set_ylabel("GiB at most", color="tab:orange")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared"
    parser.add_argument("--corpora-dir", type=Path, default=Path(os.environ.get("CORPORA_DIR") or shared / "corpora"))
    parser.add_argument("--gpt2-dir", type=Path, default=Path(os.environ.get("GPT2_DIR") or shared / "gpt2"))
    parser.add_argument("--types", default="75000,150000,300000,600000")
    parser.add_argument("--peer-types", type=int, default=75_000, help="pretokens for the peer; 0 for no peer")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--plot", type=Path, help="CPU time and memory against types, a picture (.svg or .png)")
    results.add_option(parser)
    options = parser.parse_args()
    from ivr.base.tokenizer import build_tokenizer, read_vocab_and_merges

    sizes = [int(size) for size in options.types.split(",")]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        base, file = Path(name, "tokenizer.json"), Path(name, "pretokens.json")
        build_tokenizer(*read_vocab_and_merges(options.gpt2_dir, "gpt2")).save(str(base))
        pretokens, joined = make_pretokens(base, options.corpora_dir, max(sizes))
        file.write_text(json.dumps(pretokens), encoding="utf-8")
        print(f"{len(pretokens):,} pretokens, {joined:,} of them joined tokens; load {os.getloadavg()}")
        measure(OURS, base, file, 1000)  # compiles, once a machine
        jobs = [("ours", OURS, size) for size in sizes]
        jobs += [("UnigramTrainer", PEER, options.peer_types)] if options.peer_types else []
        for who, code, size in jobs:
            row = {"who": who, **measure(code, base, file, size)}
            rows.append(row)
            print(
                f"{who:15} {size:8,} types  {row['seconds']:7.1f} s  {row['cpu_seconds']:7.1f} s of CPU  peak "
                f"{row['peak_bytes'] / 2**30:5.2f} GiB  {1e6 * row['cpu_seconds'] / size:6.1f} us of CPU a type  "
                f"{row['agreement_percent']:8.4f} % agree",
                flush=True,
            )
    ours = {row["types"]: row for row in rows if row["who"] == "ours"}
    first, last = min(ours), max(ours)
    growth = (ours[last]["cpu_seconds"] / ours[first]["cpu_seconds"]) / (last / first)
    print(f"CPU time grew {growth:.2f} times as much as the types, from {first:,} to {last:,} (linear: at most 1)")
    for row in rows:
        if row["who"] != "ours" and row["types"] in ours:
            mine = ours[row["types"]]
            print(f"UnigramTrainer takes {row['cpu_seconds'] / mine['cpu_seconds']:.2f} times as much CPU, "
                  f"{row['peak_bytes'] / mine['peak_bytes']:.2f} times as much memory")  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if options.plot:
        plot(rows, options.plot)
    results.publish(options, "fit", record(rows))


if __name__ == "__main__":
    main()
