"""Does the tokenizer for Transformers.js give the same ids in JavaScript? Whole corpora and a million made-up strings.

    python tests/benchmarks/bench_javascript.py --artifacts-dir RUN --library TOKENIZERS.MJS [--strings 1000000]
                                                [--megabytes N] [--processes 2] [--results [RECORD.json]]

RUN: its remapped tokenizer is exported (`ivr export --for transformers-js`) to a scratch folder. TOKENIZERS.MJS: the
module of @huggingface/tokenizers that `make test-js` fetches. Texts: the documents of RUN's cleaned and held-out
corpora, and strings as `ivr verify --adversarial` makes them, those that are text. Compared: node with the exported
file, Python with the exported file, Python with the tokenizer it was exported from; a row for each text with how many
of its strings differ, and how fast node is. To JavaScript a literal special token is always that token, so texts that
hold an added token are left out. Exit code 1: node and Python differ on the same file.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from results import Record, add_option, command_line, publish
from tokenizers import Tokenizer

from ivr.artifacts import ArtifactPaths
from ivr.corpus.documents import read_documents
from ivr.encoding.text.tokenizer_file import load_for_text
from ivr.tokenizer.verify.adversarial import BLOCK, Vocabulary, strings
from ivr.tokenizer.verify.pair import Pair

ROOT = Path(__file__).resolve().parents[2]
BATCH_BYTES = 4_000_000  # of text a process of node
COLUMNS = (
    "text", "strings", "MB", "node differs from Python", "the portable file from the tokenizer", "node, kB/s",
    "node loads in s",
)  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """One batch: how many strings differ, and what it took."""

    strings: int
    bytes: int
    other_in_node: int
    other_in_file: int
    node_seconds: float
    load_seconds: float


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """In lists of BATCH_BYTES or a little more."""
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text.encode())
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def made_strings(tokenizer: Path, original: Path, count: int) -> Iterator[str]:
    """The first `count` strings that `verify --adversarial` would make and that are text; the rest are bytes."""
    files = (folder / "tokenizer.json" for folder in (tokenizer, original))
    vocabulary = Vocabulary.of(Pair(*(file.read_text(encoding="utf-8") for file in files)))
    block = 0
    while count > 0:
        found = [text for kind, text in strings(0, block, BLOCK, vocabulary) if kind != "bytes" and text][:count]
        yield from found
        count, block = count - len(found), block + 1


def encoded(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [found.ids for found in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


class Comparison:
    """The exported folder, and the tokenizer it comes from, in node and in Python."""

    def __init__(self, library: Path, exported: Path, own: Path) -> None:
        self.library, self.exported = library, exported
        self.portable, self.own = load_for_text(exported), load_for_text(own)
        self.special = [token.content for token in self.own.get_added_tokens_decoder().values()]

    def texts(self, texts: Iterable[str]) -> Iterator[str]:
        return (text for text in texts if not any(special in text for special in self.special))

    def compare(self, texts: list[str]) -> Compared:
        with tempfile.TemporaryDirectory() as name:
            source, target = Path(name, "texts"), Path(name, "ids")
            source.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
            script = str(ROOT / "tests" / "export" / "encode.mjs")
            words = ["node", "--max-old-space-size=4096", script, str(self.library), str(self.exported)]
            done = subprocess.run([*words, str(source), str(target)], check=True, capture_output=True, text=True)
            found = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
        took = json.loads(done.stdout.splitlines()[-1])
        expected, own = encoded(self.portable, texts), encoded(self.own, texts)
        return Compared(
            len(texts),
            sum(len(text.encode()) for text in texts),
            sum(one != other for one, other in zip(found, expected, strict=True)),
            sum(one != other for one, other in zip(expected, own, strict=True)),
            took["seconds"],
            took["loaded_ms"] / 1000,
        )


def row(name: str, parts: list[Compared]) -> list[str | int | float]:
    size = sum(part.bytes for part in parts)
    return [
        name,
        sum(part.strings for part in parts),
        round(size / 1e6, 1),
        sum(part.other_in_node for part in parts),
        sum(part.other_in_file for part in parts),
        round(size / 1000 / max(sum(part.node_seconds for part in parts), 1e-9), 1),
        round(min((part.load_seconds for part in parts), default=0), 2),
    ]


def limited(texts: Iterable[str], megabytes: float | None) -> Iterator[str]:
    left = float("inf") if megabytes is None else megabytes * 1e6
    for text in texts:
        if left <= 0:
            return
        left -= len(text.encode())
        yield text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts-dir", type=Path, required=True, metavar="RUN")
    parser.add_argument("--library", type=Path, required=True, help="the module of @huggingface/tokenizers")
    parser.add_argument("--strings", type=int, default=1_000_000)
    parser.add_argument("--megabytes", type=float, help="of each corpus (default: all of it)")
    parser.add_argument("--processes", type=int, default=2, help="of node at a time")
    add_option(parser)
    options = parser.parse_args()
    paths = ArtifactPaths(options.artifacts_dir)
    own = paths.remapped_tokenizer
    rows = []
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(options.processes) as pool:
        exported = Path(name, "exported")
        words = ["--artifacts-dir", str(paths.root), "--for", "transformers-js", "--model-dir", str(own)]
        subprocess.run([sys.executable, "-m", "ivr", "export", *words, "--output", str(exported)], check=True, cwd=ROOT)
        comparison = Comparison(options.library.resolve(), exported, own)
        made = made_strings(own, paths.original_tokenizer, options.strings)
        sources: dict[str, Iterable[str]] = {
            file.stem + of: limited(read_documents(file), options.megabytes)
            for folder, of in ((paths.cleaned_corpora, ""), (paths.heldout_corpora, ", held out"))
            for file in sorted(folder.glob("*.txt"))
        }
        for text, some in {**sources, "made-up strings": made}.items():
            parts: list[Any] = []
            remaining = batches(comparison.texts(some))
            while group := [*islice(remaining, options.processes)]:  # so many texts in memory
                parts += pool.map(comparison.compare, group)
            rows.append(row(text, parts))
            print(
                *(f"{column}: {value}" for column, value in zip(COLUMNS, rows[-1], strict=True)), sep="; ", flush=True
            )
    publish(options, "javascript", Record(command_line(), COLUMNS, rows))
    return 1 if any(found[3] for found in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
