"""Tokenizers that people publish, distilled and verified: one row for each directory with a tokenizer.json.

    python tests/benchmarks/bench_tokenizers.py DIR... [--work DIR] [--corpora biomedical,...] [--megabytes N]
                                                [--adversarial 20000] [--runs 16] [--results [RECORD.json]]

Each goes through `ivr init`, `analyze`, `distill-tokenizer` and `verify` as a user runs them, on all corpora, a tenth
of whose documents is held out. Other kinds of text: the standard library's source code, HTML of its tests and CSV of
code points, which no corpus holds. In the table: ids, and those whose own string is encoded otherwise; pretokens that
differ, of the corpora (of all occurrences), and per million of the held-out documents and of other kinds; repeats that
differ; generated strings that are equal; time and memory of the distillation. With `--work` what is done is not done
again (stages are current) and stays there.
"""

import argparse
import json
import lzma
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from results import Record, add_option, command_line, publish

ROOT = Path(__file__).resolve().parents[2]
NAME = "tokenizers"
COLUMNS = (
    "tokenizer", "ids", "ids that differ", "pretokens of the corpora", "distinct", "distinct that differ",
    "held out, per million", "other kinds, per million", "repeats", "repeats that differ", "generated, equal %",
    "distilled in s", "GiB",
)  # fmt: skip
OTHER_BYTES = 6_000_000
LOOKED_AT = ("*.py", "*.txt", "*.xml", "*.html", "*.cfg")


def ivr(stage: str, artifacts: Path, *arguments: object) -> dict[str, Any]:
    """Run a stage; returns its manifest. Exit code 1 is `verify` that found a difference."""
    command = [sys.executable, "-m", "ivr", stage, "--artifacts-dir", str(artifacts), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return dict(json.loads((artifacts / "manifests" / f"{stage}.json").read_text(encoding="utf-8")))


def other_kinds() -> Iterator[str]:
    """Text of the running Python's standard library, its tests and their data, until there is enough."""
    left = OTHER_BYTES
    library = Path(sysconfig.get_path("stdlib"))
    for pattern in LOOKED_AT:
        for file in sorted(library.rglob(pattern)):
            if "site-packages" in file.parts or left <= 0:
                continue
            text = file.read_bytes().decode("utf-8", "ignore").replace("\x00", "")
            left -= len(text)
            yield text


def write_texts(options: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """(directory of the corpora, file of other kinds), written once."""
    corpora, others = folder / "corpora", folder / "others.jsonl"
    corpora.mkdir(parents=True, exist_ok=True)
    for name in options.corpora.split(","):
        target = corpora / f"{name}.txt"
        if not target.is_file():
            with lzma.open(options.corpora_dir / f"{name}.txt.xz", "rb") as stream:
                data = stream.read(int(options.megabytes * 1e6)) if options.megabytes else stream.read()
            target.write_bytes(data.decode("utf-8", "ignore").encode())
    if not others.is_file():
        others.write_text("".join(json.dumps({"text": text}) + "\n" for text in other_kinds()), encoding="utf-8")
    return corpora, others


def measure(directory: Path, run: Path, corpora: Path, others: Path, options: argparse.Namespace) -> list[Any]:
    """Distil and verify one of them; returns its row."""
    ivr("init", run, "--model-name", directory.resolve(), "--raw-corpora-dir", corpora)
    ivr("analyze", run, "--no-sequences")
    distilled = ivr("distill-tokenizer", run)
    held_out = run / "corpora" / "heldout"
    quick = ("--corpus", held_out, "--runs", options.runs, "--adversarial", options.adversarial)
    found = ivr("verify", run, *quick)["results"]
    beyond = ("--corpus", others, "--runs", 0, "--output", run / "others.json")
    other = ivr("verify", run, *beyond)["results"]
    said = json.loads((run / "tokenizers" / "distilled_unigram" / "certificate.json").read_text(encoding="utf-8"))
    vocabulary, corpus = said["vocabulary"], said["corpus"]
    names = ("different_strings", "different_encodings", "different_decodings", "not_to_themselves")
    return [
        directory.name,
        vocabulary["ids"],
        len({str(row) for name in names for row in vocabulary[name]}),
        corpus["occurrences"],
        corpus["types"],
        corpus["mismatched_types"],
        round(found["mismatches_per_million"], 2),
        round(other["mismatches_per_million"], 1),
        found["runs"],
        found["different_runs"],
        found["adversarial_equal_percent"],
        round(distilled["wall_seconds"]),
        round(distilled["peak_memory_bytes"] / 2**30, 2),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared"
    parser.add_argument("directories", type=Path, nargs="+", metavar="DIR")
    parser.add_argument("--corpora-dir", type=Path, default=Path(os.environ.get("CORPORA_DIR") or shared / "corpora"))
    parser.add_argument(
        "--corpora", default="biomedical,chem_smiles,english_books,english_docs,korean_reviews,legal_uscode"
    )
    parser.add_argument("--megabytes", type=float, help="of each corpus (default: all of it)")
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--adversarial", type=int, default=20_000)
    parser.add_argument("--work", type=Path, help="keep what is made here (default: a folder that is removed)")
    add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.work or Path(name)
        corpora, others = write_texts(options, folder)
        rows = []
        for directory in options.directories:
            rows.append(measure(directory, folder / directory.name, corpora, others, options))
            print(
                *(f"{column}: {value}" for column, value in zip(COLUMNS, rows[-1], strict=True)), sep="; ", flush=True
            )
    publish(options, NAME, Record(command_line(), COLUMNS, rows))


if __name__ == "__main__":
    main()
