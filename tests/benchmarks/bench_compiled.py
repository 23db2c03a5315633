"""Small BPEs of every kind, drawn from a seed: does the compiled encoder give the ids of `tokenizers`?

    python tests/benchmarks/bench_compiled.py [--draws 10000] [--seed 0] [--results]

A draw is a list of merges over two to four letters: products made twice, pairs listed twice, parts that only later
merges make, tokens merged with themselves. Compared on every string of up to five letters, on random ones, and on some
that are long enough for the encoder's other algorithm. Prints the draws that differ; ends with 1 where one does.
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from results import Record, add_option, command_line, publish

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from small_bpe import Merges, bpe_of, letters_of, strings_over

from ivr.encoding.batch import Batch
from ivr.encoding.bpe import read_bpe
from ivr.encoding.bpe_encoder import LONG, BpeEncoder

LETTERS, MOST_MERGES, LONGEST_TOKEN = "abcd", 30, 12


def draw_merges(draw: random.Random) -> Merges:
    """Of parts that are there, some products once more of other parts; some merges moved."""
    tokens = list(LETTERS[: draw.randint(2, len(LETTERS))])
    merges: Merges = []
    for _ in range(draw.randint(3, MOST_MERGES)):
        left, right = draw.choice(tokens), draw.choice(tokens)
        if draw.random() < 0.1 and merges:
            whole = "".join(draw.choice(merges))
            cut = draw.randrange(1, len(whole))
            if whole[:cut] in tokens and whole[cut:] in tokens:  # a product once more, of other parts
                left, right = whole[:cut], whole[cut:]
        if len(left + right) <= LONGEST_TOKEN:
            merges.append((left, right))
            tokens.append(left + right)
    for _ in range(draw.choice((0, 0, 1, 3))):
        merges.insert(draw.randrange(len(merges)), merges.pop(draw.randrange(len(merges))))
    return merges


def strings_for(merges: Merges, draw: random.Random) -> list[str]:
    letters = letters_of(merges)
    drawn = ["".join(draw.choices(letters, k=draw.randint(6, 60))) for _ in range(10)]
    return [*strings_over(letters, 5), *drawn, *(text * (LONG // len(text) + 1) for text in drawn[:2])]


def differing(merges: Merges, strings: Sequence[str]) -> list[str]:
    """The strings with other ids than the library's."""
    tokenizer = bpe_of(merges)
    ours = BpeEncoder(read_bpe(tokenizer, in_order=False)).encode(Batch.of([text.encode() for text in strings]), 1)
    theirs = ([piece.id for piece in tokenizer.model.tokenize(text)] for text in strings)
    return [text for row, (text, ids) in enumerate(zip(strings, theirs, strict=True)) if ours.row(row).tolist() != ids]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    add_option(parser)
    options = parser.parse_args()
    begun, compared, twice, faulty = time.monotonic(), 0, 0, 0
    for number in range(options.draws):
        draw = random.Random(f"{options.seed} {number}")
        merges = draw_merges(draw)
        twice += len({left + right for left, right in merges}) < len(merges)
        strings = strings_for(merges, draw)
        compared += len(strings)
        if wrong := differing(merges, strings):
            faulty += 1
            print(f"draw {number}: {len(wrong)} strings differ, {wrong[0][:60]!r} with {merges}", flush=True)
    rows: list[list[str | int | float | None]] = [
        ["BPEs drawn", options.draws],
        ["of these with a product made twice", twice],
        ["strings compared", compared],
        ["BPEs with any difference", faulty],
    ]
    for what, figure in rows:
        print(f"{figure:>10,}  {what}")
    print(f"{time.monotonic() - begun:.0f} s")
    publish(options, "compiled", Record(command_line(), ["", "number"], rows))
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
