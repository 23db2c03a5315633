"""New rows of a pretrained model before any training: what each initialiser costs it, with a tied head and an untied.

    python tests/benchmarks/bench_rows.py --corpus DIR --work DIR [--model-name NAME] [--swaps 500] [--words 1,4]
                                          [--max-snippets 300] [--text-bytes N] [--heldout-bytes N] [--results]

Each number of `--words` is a run of its own (`select --max-words`), behind one `init`, `analyze` and
`distill-tokenizer`; some ten minutes of two cores for each and each head. RESULTS.md needs a place `rows-untrained`. In
the table: bits per byte of held-out text, and how many bits are lost for each token that is
saved, against the base model with its own tokenizer in the same run. What is done is not done again.
"""

import argparse
import os
import shutil
from pathlib import Path

from bench_tokenizers import ivr
from results import Record, add_option, command_line, publish

NAME = "rows-untrained"
COLUMNS = ("new tokens", "head", "initialiser", "tokens saved", "bits per byte, base", "untrained", "lost per saved")
LEFT_OUT = {"random", "zeros", "gaussian", "mean"}  # controls, worse by far


def prepared(options: argparse.Namespace, words: int) -> Path:
    """A run that stands behind `remap`, with what runs share made once."""
    shared, mine = options.work / "shared", options.work / f"words-{words}"
    if not (shared / "manifests" / "distill-tokenizer.json").is_file():
        ivr("init", shared, "--model-name", options.model_name, "--raw-corpora-dir", options.corpus)
        for stage in ("analyze", "distill-tokenizer"):
            ivr(stage, shared)
    if not mine.exists():
        shutil.copytree(shared, mine, copy_function=os.link)
    ivr("select", mine, "--swaps", options.swaps, "--max-words", words)
    ivr("remap", mine)
    return mine


def measure(run: Path, words: int, untied: bool, options: argparse.Namespace) -> list[list[str | int | float | None]]:
    """The rows of the table for one selection and one kind of head."""
    arguments = ["--compare-strategies", *(["--untie-head"] if untied else [])]
    for name in ("max_snippets", "text_bytes", "heldout_bytes"):
        arguments += [f"--{name.replace('_', '-')}", getattr(options, name)]
    tried = ivr("align", run, "--force", *arguments)["results"]["strategies"]
    what = "inside pretokens" if words == 1 else f"up to {words} words"
    return [
        [
            f"{options.swaps:,} {what}", "untied" if untied else "tied", name, found["tokens_saved"],
            found["base_bits_per_byte"], found["bits_per_byte"], found["bits_lost_per_token_saved"],
        ]
        for name, found in sorted(tried.items(), key=lambda item: item[1]["bits_per_byte"])
        if name not in LEFT_OUT
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model-name", default="smollm2")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--swaps", type=int, default=500)
    parser.add_argument("--words", default="1,4")
    parser.add_argument("--max-snippets", type=int, default=300)
    parser.add_argument("--text-bytes", type=int, default=200_000)
    parser.add_argument("--heldout-bytes", type=int, default=16_000)
    add_option(parser)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    table = []
    for words in map(int, options.words.split(",")):
        run = prepared(options, words)
        for untied in (False, True):
            found = measure(run, words, untied, options)
            for row in found:
                print(*row, sep="\t", flush=True)
            table += found
    publish(options, NAME, Record(command_line(), COLUMNS, table))


if __name__ == "__main__":
    main()
