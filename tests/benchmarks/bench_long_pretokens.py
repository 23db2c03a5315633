"""Text without blanks: what each stage takes in time and memory where one pretoken has 10 MB.

    python tests/benchmarks/bench_long_pretokens.py [--megabytes 10] [--work DIR] [--results]

Three documents of one pretoken each: one letter repeated, a random sequence of four letters, random letters; beside
them 5 MB of words (bench_load.py). GPT-2's tokenizer; init, analyze, distill-tokenizer, select, remap and verify as
commands. Ends with 1 where a stage fails or takes more than the limit of memory. What is made is deleted.
"""

import argparse
import itertools
import os
import random
import sys
import tempfile
from pathlib import Path

from bench_load import LIMIT_GIB, ROOT, documents, measured, write_model
from results import Record, add_option, command_line, publish

WORD_DOCUMENTS = 2_000
STAGES = {
    "init": ["--document-separator", "file", "--heldout-fraction", "0"],
    "analyze": [],
    "distill-tokenizer": [],
    "select": ["--swaps", "500"],
    "remap": [],
    "verify": ["--corpus", "TEXT", "--runs", "0", "--adversarial", "0"],
}
COLUMNS = ("stage", "s", "s of CPU", "GiB at most")


def write_text(folder: Path, megabytes: float, gpt2_dir: Path, seed: int) -> None:
    """One file a document."""
    folder.mkdir()
    draw, size = random.Random(seed), int(megabytes * 1_000_000)
    for name, letters in (("one", "A"), ("four", "ACGT"), ("many", "abcdefghijklmnopqrstuvwxyz")):
        (folder / f"{name}.txt").write_text("".join(draw.choices(letters, k=size)) + "\n")
    words = itertools.islice(documents(gpt2_dir, seed), WORD_DOCUMENTS)
    (folder / "words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--gpt2-dir", type=Path, default=Path(os.environ.get("GPT2_DIR") or ROOT.parent / "shared/gpt2")
    )
    parser.add_argument("--megabytes", type=float, default=10, help="of each long pretoken")
    parser.add_argument("--work", type=Path, help="a directory for what is made and deleted")
    parser.add_argument("--seed", type=int, default=0)
    add_option(parser)
    options = parser.parse_args()
    rows: list[list[str | int | float | None]] = []
    with tempfile.TemporaryDirectory(prefix="ivr-long-", dir=options.work) as made:
        folder = Path(made)
        write_text(folder / "text", options.megabytes, options.gpt2_dir, options.seed)
        write_model(folder / "model", options.gpt2_dir)
        for stage, words in STAGES.items():
            command = [stage, "--artifacts-dir", str(folder / "artifacts")]
            command += [str(folder / "text") if word == "TEXT" else word for word in words]
            if stage == "init":
                command += ["--model-name", str(folder / "model"), "--raw-corpora-dir", str(folder / "text")]
            row = measured(command, folder / "log")
            rows.append([stage, row["seconds"], row["cpu"], row["gib"]])
            print(f"{stage:<18}{row['seconds']:>8} s{row['cpu']:>8} s CPU{row['gib']:>6} GiB", flush=True)
    publish(options, "long-pretokens", Record(command_line(), COLUMNS, rows))
    return 1 if any(float(row[3] or 0) > LIMIT_GIB for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
