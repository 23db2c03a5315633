"""`ivr select` against what else one could do with K ids: tokens of held-out text, and of general text.

    python tests/benchmarks/bench_select.py --work DIR [--corpora chem_smiles] [--swaps 500,2000] [--budget 500]
                                            [--methods base,superwords,pairs] [--results]

Methods: ours (`ivr init ... remap`, the stages themselves, with their defaults), the same with general text protected,
the same with superwords (`--max-words 4`; `loose`: with `--superword-boundaries none`), (a) whole words, (b) continued
BPE, (c) AdaptBPE, (d) a tokenizer trained on the domain alone, (e) pair merging across words, (f) AdaptiVocab's ngrams;
`pairs-loose`: (e) without limits.
All learn from the same nine tenths; every figure is counted by the `tokenizers` library from a tokenizer.json, on the
documents held out.

A cell is done once: it is kept in DIR/cells with a hash of its inputs, of the baseline's code and of the versions of
the stages (`ivr/versions.py`), which say when results change. With `--budget` no new
cell begins after so many seconds, and the exit code is 75 when some are left: run it again. `--table` only prints.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from baselines.across_words import write_spanning
from baselines.adapt_bpe import adapt_bpe
from baselines.base_bpe import BaseBpe, save_bpe
from baselines.continued_bpe import continued_bpe
from baselines.from_scratch import train_from_scratch
from baselines.ours import STAGES, Run
from baselines.tables import print_tables, superwords_record
from baselines.whole_words import whole_words
from results import add_option, publish

from ivr.versions import stage_version

ROOT = Path(__file__).resolve().parents[2]
CORPORA = "biomedical,legal_uscode,chem_smiles,korean_reviews"
SWAPS = "500,2000,5000,10000"
GENERAL = "english_books"
Tokenizer = tuple[list[bytes], list[tuple[int, int, int]]]  # bytes of every id, merges
BASELINES: dict[str, Callable[..., Tokenizer]] = {"words": whole_words, "continued": continued_bpe, "adapt": adapt_bpe}
SPANNING = ("pairs", "adaptivocab", "pairs-loose")
OURS = {  # arguments of `ivr select`
    "ours": (), "protected": (), "superwords": ("--max-words", "4"),
    "loose": ("--max-words", "4", "--superword-boundaries", "none"),
}  # fmt: skip
METHODS = ["base", "scratch", *BASELINES, *SPANNING, *OURS]  # in the order in which they are done
MODULES = {"words": "whole_words", "continued": "continued_bpe", "adapt": "adapt_bpe", "scratch": "from_scratch"}


@dataclass(frozen=True)
class Cell:
    """One tokenizer to make and to count with."""

    corpus: str
    method: str
    swaps: int  # 0 where the method has no such number

    @property
    def name(self) -> str:
        return f"{self.corpus}-{self.method}" + (f"-{self.swaps}" if self.swaps else "")


class Bench:
    """The cells of one work directory."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.cells: Path = options.work / "cells"
        self.cells.mkdir(parents=True, exist_ok=True)
        self.inputs = _hash_files([options.gpt2_dir / "vocab.json", options.gpt2_dir / "merges.txt"])
        self._base: BaseBpe | None = None

    def run_of(self, corpus: str, protected: bool) -> Run:
        """The artifacts of one corpus; with `protected`, of the run that knows the general text."""
        return Run(
            self.options.work / corpus / ("protected" if protected else "plain"), self.options.gpt2_dir,
            self.options.corpora_dir / f"{corpus}.txt.xz",
            self.options.corpora_dir / f"{GENERAL}.txt.xz" if protected else None,
        )  # fmt: skip

    def key(self, cell: Cell) -> str:
        """A hash of all that decides the cell's figures."""
        files = [self.options.corpora_dir / f"{name}.txt.xz" for name in (cell.corpus, GENERAL)]
        here = Path(__file__).resolve().parent / "baselines"
        stages = [*STAGES[:2], *([*STAGES[2:], "select", "remap"] if cell.method in (*OURS, *SPANNING) else [])]
        if cell.method in SPANNING:
            files.append(here / "across_words.py")
        elif cell.method in MODULES:
            files += [here / f"{name}.py" for name in ("base_bpe", "word_corpus", MODULES[cell.method])]
        versions = [version("tokenizers"), *(f"{stage} {stage_version(stage)}" for stage in stages)]
        return hashlib.sha256("\n".join([self.inputs, _hash_files(files), *versions]).encode()).hexdigest()[:16]

    def done(self, cell: Cell) -> bool:
        path = self.cells / f"{cell.name}.json"
        if not path.is_file():
            return False
        figures = json.loads(path.read_text())
        return figures["key"] == self.key(cell) and ("general_tokens" in figures or not self.counts_general)

    @property
    def counts_general(self) -> bool:
        return "protected" in self.options.methods.split(",")

    def do(self, cell: Cell) -> None:
        """Make the cell's tokenizer, count, write its figures."""
        plain, protected = self.run_of(cell.corpus, False), self.run_of(cell.corpus, True)
        plain.prepare("analyze")
        if self.counts_general:
            protected.prepare("init")  # its held-out general text is everyone's
        key, started = self.key(cell), time.perf_counter()
        if cell.method == "base":
            tokenizer = plain.paths.original_tokenizer / "tokenizer.json"
        elif cell.method in OURS:
            run = protected if cell.method == "protected" else plain
            run.prepare("distill-tokenizer")
            started = time.perf_counter()
            tokenizer = run.select_and_remap(cell.swaps, *OURS[cell.method])
        else:
            tokenizer = self.options.work / cell.corpus / f"{cell.method}.json"
            self._make_baseline(cell, plain, tokenizer)
        figures = {"key": key, "corpus": cell.corpus, "method": cell.method, "swaps": cell.swaps}
        figures["seconds"] = round(time.perf_counter() - started, 1)
        figures["changed_ids"] = _changed(plain.paths.original_tokenizer / "tokenizer.json", tokenizer)
        figures["heldout_tokens"] = count_tokens(tokenizer, plain.paths.heldout_corpora)
        if self.counts_general:
            figures["general_tokens"] = count_tokens(tokenizer, protected.paths.general_heldout)
        if cell.method == "base":
            figures["heldout_pretokens"] = plain.heldout_pretokens()
        part = self.cells / f"{cell.name}.part"
        part.write_text(json.dumps(figures, indent=1) + "\n")
        part.replace(self.cells / f"{cell.name}.json")

    def _make_baseline(self, cell: Cell, run: Run, tokenizer: Path) -> None:
        from ivr.console import Progress

        if cell.method == "scratch":
            train_from_scratch(tokenizer, run.documents(), 50_257)
            return
        if cell.method in SPANNING:
            run.prepare("distill-tokenizer")
            with Progress(cell.name, cell.swaps, "steps") as bar:
                write_spanning(cell.method, run.paths.root, cell.swaps, tokenizer, lambda: bar.update(1))
            return
        self._base = self._base or BaseBpe.read(self.options.gpt2_dir)
        with Progress(cell.name, 0, "steps") as bar:
            words, weights = run.words()
            tokens, merges = BASELINES[cell.method](
                self._base, words, weights, cell.swaps, on_step=lambda: bar.update(1)
            )
        save_bpe(tokenizer, self._base, tokens, merges, whole_words=cell.method == "words")

    def figures(self) -> list[dict[str, object]]:
        """What is known of every cell that is current."""
        cells = [cell for cell in all_cells(self.options) if self.done(cell)]
        return [json.loads((self.cells / f"{cell.name}.json").read_text()) for cell in cells]


def all_cells(options: argparse.Namespace) -> list[Cell]:
    """In the order in which they are done: corpus by corpus."""
    swaps = [int(number) for number in options.swaps.split(",")]
    return [
        Cell(corpus, method, number)
        for corpus in options.corpora.split(",")
        for method in METHODS
        if method in options.methods.split(",")
        for number in ([0] if method in ("base", "scratch") else swaps)
    ]


def count_tokens(tokenizer_file: Path, corpus: Path) -> int:
    """Tokens of all documents below `corpus`, by the library."""
    from tokenizers import Tokenizer

    from ivr.analysis.counting import chunks_of
    from ivr.corpus.documents import read_documents

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.encode_special_tokens = True
    total = 0
    for chunk in chunks_of(read_documents(corpus)):
        total += sum(len(each) for each in tokenizer.encode_batch_fast(chunk, add_special_tokens=False))
    return total


def _changed(one: Path, other: Path) -> int:
    """Ids whose strings differ."""
    from tokenizers import Tokenizer

    old, new = (Tokenizer.from_file(str(path)).get_vocab() for path in (one, other))
    return len(set(old.items()) - set(new.items()))


def _hash_files(files: list[Path]) -> str:
    return "".join(hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared"
    parser.add_argument("--corpora-dir", type=Path, default=Path(os.environ.get("CORPORA_DIR") or shared / "corpora"))
    parser.add_argument("--gpt2-dir", type=Path, default=Path(os.environ.get("GPT2_DIR") or shared / "gpt2"))
    parser.add_argument("--work", type=Path, required=True, help="where tokenizers and figures are kept")
    parser.add_argument("--corpora", default=CORPORA)
    parser.add_argument("--swaps", default=SWAPS)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds after which no cell begins")
    parser.add_argument("--table", action="store_true", help="print what is there and stop")
    add_option(parser)
    parser.add_argument("--plot", type=Path, help="write the savings against K as a picture there (.svg or .png)")
    options = parser.parse_args()
    bench, started = Bench(options), time.perf_counter()
    left = [cell for cell in all_cells(options) if not bench.done(cell)]
    if not options.table:
        while left and time.perf_counter() - started < options.budget:
            print(f"{left[0].name} ({len(left)} left)", file=sys.stderr, flush=True)
            bench.do(left.pop(0))
    print_tables(bench.figures())
    publish(options, "superwords", superwords_record(bench.figures()))
    if options.plot:
        from baselines.tables import plot

        plot(bench.figures(), options.plot)
    print(f"{len(left)} cells left" if left else "all cells done", file=sys.stderr)
    return 75 if left and not options.table else 0


if __name__ == "__main__":
    sys.exit(main())
