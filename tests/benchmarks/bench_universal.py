"""How large must scores be, for a Unigram model to segment every string without odd runs as a BPE of n merges does?

    python tests/benchmarks/bench_universal.py [--sizes 250,500,1000] [--kinds gpt2,biomedical] [--exponents 0,6.8]
                                                [--results]

For growing BPEs (the first n merges of GPT-2, or n merges trained on a corpus) weights are raised until the worst-
pair computation finds no counterexample (ivr/tokenizer/proof/THEOREM.md). Exponent 0 begins with a weight of 1
everywhere, 6.8 with the prior of `distill-tokenizer`. Prints the bits of the largest score against the 49.7 that a
tokenizer.json holds exactly, and writes universal.json and universal.svg to --out. What stands in the json is not
computed again, so a long table can be made in several goes.
"""

import argparse
import json
import lzma
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import results

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"


def tokenizer_of(kind: str, size: int, gpt2_dir: Path, corpora_dir: Path) -> Any:
    """A BPE tokenizer with `size` merges."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    from ivr.base.tokenizer import build_tokenizer, byte_alphabet, read_vocab_and_merges

    if kind == "gpt2":
        _, merges = read_vocab_and_merges(gpt2_dir, "gpt2")
        chosen = [(merge[0], merge[1]) for merge in merges[:size]]
        tokens = [*byte_alphabet(), *(left + right for left, right in chosen), "<|endoftext|>"]
        return build_tokenizer({token: token_id for token_id, token in enumerate(tokens)}, chosen)
    with lzma.open(corpora_dir / f"{kind}.txt.xz", "rt", encoding="utf-8") as stream:
        lines = stream.read(8_000_000).splitlines(keepends=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256 + size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def measure(kind: str, size: int, exponent: float, options: argparse.Namespace) -> dict[str, Any]:
    from ivr.encoding.bpe import read_bpe
    from ivr.tokenizer.proof.closure import close
    from ivr.tokenizer.proof.walk_graph import walk_graph
    from ivr.tokenizer.scores.merge_weights import prior_weights

    bpe = read_bpe(tokenizer_of(kind, size, options.gpt2_dir, options.corpora_dir))
    graph = walk_graph(bpe)
    result = close(bpe, prior_weights(len(bpe.merges_R3), exponent), graph=graph, seconds=options.seconds)
    return {
        "kind": kind,
        "merges": len(bpe.merges_R3),
        "exponent": exponent,
        "ended": result.ended,
        "bits": round(math.log2(max(int(result.scores_V.max()), 1)), 2),
        "largest_score": int(result.scores_V.max()),
        "constraints": len(result.constraints),
        "rounds": result.rounds,
        "counterexamples_left": len(result.pairs.counterexamples),
        "states": graph.num_states,
        "seconds": round(result.seconds, 1),
    }


def rows(options: argparse.Namespace, done: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for exponent in map(float, options.exponents.split(",")):
        for kind in options.kinds.split(","):
            for size in map(int, options.sizes.split(",")):
                found = [r for r in done if (r["kind"], r["merges"], r["exponent"]) == (kind, size, exponent)]
                yield found[0] if found else measure(kind, size, exponent, options)


def record(table: list[dict[str, Any]]) -> results.Record:
    """The table of all rows, the largest BPE of a kind last."""
    keys = ("kind", "exponent", "merges", "ended", "bits", "constraints", "rounds", "seconds")
    ordered = sorted(table, key=lambda row: (row["kind"], row["exponent"], row["merges"]))
    return results.Record(
        results.command_line(),
        ["merges of", "prior exponent", "merges", "outcome", "bits", "constraints", "rounds", "s"],
        [[row[key] for key in keys] for row in ordered],
    )


def draw(table: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "universal"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for kind, exponent in sorted({(row["kind"], row["exponent"]) for row in table}):
        points = sorted(
            (row["merges"], row["bits"])
            for row in table
            if (row["kind"], row["exponent"], row["ended"]) == (kind, exponent, "proved")
        )
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=f"{kind}, prior exponent {exponent:g}")
    axes.axhline(math.log2(2**53 // 10), color="grey", linestyle="--", label="exact in a tokenizer.json")
    axes.set(xscale="log", xlabel="merges", ylabel="bits of the largest score")
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpt2-dir", type=Path, default=Path(os.environ.get("GPT2_DIR") or SHARED / "gpt2"))
    parser.add_argument("--corpora-dir", type=Path, default=Path(os.environ.get("CORPORA_DIR") or SHARED / "corpora"))
    parser.add_argument("--sizes", default="250,500,1000,2000,4000")
    parser.add_argument("--kinds", default="gpt2,english_books,korean_reviews")
    parser.add_argument("--exponents", default="0,6.8")
    parser.add_argument("--seconds", type=float, default=600, help="for one row; what is not closed then says so")
    parser.add_argument("--out", type=Path, default=Path())
    results.add_option(parser)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "universal.json"
    table = json.loads(file.read_text()) if file.exists() else []
    print(f"{'BPE':16} {'merges':>7} {'prior':>5} {'ended':>7} {'bits':>6} {'constraints':>11} {'rounds':>6} {'s':>6}")
    for row in rows(options, table):
        print(
            f"{row['kind']:16} {row['merges']:7,} {row['exponent']:5g} {row['ended']:>7} {row['bits']:6.1f} "
            f"{row['constraints']:11,} {row['rounds']:6} {row['seconds']:6.0f}",
            flush=True,
        )
        if row not in table:
            table.append(row)
            file.write_text(json.dumps(table, indent=1) + "\n")
    draw(table, options.out / "universal.svg")
    results.publish(options, "every-string", record(table))


if __name__ == "__main__":
    main()
