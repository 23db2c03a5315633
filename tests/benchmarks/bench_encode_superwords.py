"""Tokenizers with superwords against the BPE they replace, on the text they were made for; and how long they load.

    python tests/benchmarks/bench_encode_superwords.py --original DIR --text TEXT REMAPPED [REMAPPED ...] [--results]

`encode_batch_fast` on documents of 4,000 and of 40,000 characters. All are loaded anew for every run and take turns
batch by batch (`bench_encode`); a ratio is that of bytes a second, median over runs. Bars: 0.8 with 2,000 swaps, 0.65
with 10,000. Loading is `Tokenizer.from_file` and one word encoded, the fewest processor seconds of three; bar: 2.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from bench_encode import documents, read, take_turns
from results import Record, add_option, command_line, publish, table
from tokenizers import Tokenizer

CHARACTERS = (4_000, 40_000)


def swaps_and_superwords(ours: str, theirs: str) -> tuple[int, int]:
    """(ids whose strings differ, those of them whose string the original splits before its model sees it)."""
    remapped, original = Tokenizer.from_str(ours), Tokenizer.from_str(theirs)
    new = set(remapped.get_vocab()) - set(original.get_vocab())
    texts = [remapped.decoder.decode([string]) for string in new]
    return len(new), sum(len(original.pre_tokenizer.pre_tokenize_str(text)) > 1 for text in texts)


def loading(path: Path) -> float:
    """Processor seconds until a tokenizer.json has encoded its first word."""
    taken = []
    for _ in range(3):
        started = time.process_time()
        Tokenizer.from_file(str(path / "tokenizer.json" if path.is_dir() else path)).encode("word")
        taken.append(time.process_time() - started)
    return min(taken)


def row(path: Path, original: Path, text: str, runs: int) -> list[str | int | float | None]:
    """One line of the table."""
    ours, theirs = read(path), read(original)
    cells: list[str | int | float | None] = [*swaps_and_superwords(ours, theirs)]
    for characters in CHARACTERS:
        batches = documents(text, characters)
        taken = np.array([take_turns([ours, theirs], "encode_batch_fast", batches) for _ in range(runs)])
        ratios = taken[:, 1] / taken[:, 0]
        cells += [round(float(np.median(ratios[:, 0])), 2), round(float(np.median(ratios[:, 1])), 2)]
    return [*cells, round(loading(path), 2)]


def record(rows: list[list[str | int | float | None]]) -> Record:
    """The table of all tokenizers."""
    heads = [f"{characters:,} characters{of}" for characters in CHARACTERS for of in ("", ", CPU time")]
    return Record(command_line(), ["swaps", "superwords", *heads, "s to load"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("remapped", type=Path, nargs="+", help="directory or tokenizer.json")
    parser.add_argument("--original", type=Path, required=True, help="directory or tokenizer.json")
    parser.add_argument("--text", type=Path, required=True, help="text of the domain")
    parser.add_argument("--megabytes", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=5)
    add_option(parser)
    options = parser.parse_args()
    text = options.text.read_text(encoding="utf-8")[: int(1e6 * options.megabytes)]
    found = record([row(path, options.original, text, options.runs) for path in options.remapped])
    print(table(found))
    publish(options, "encode-superwords", found)


if __name__ == "__main__":
    main()
