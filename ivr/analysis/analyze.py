"""Stage `analyze`: what the base tokenizer does to the corpus.

Writes the ids of every document, how often each id and each pretoken occurs and in how many documents, and the
same pretoken counts for the general text that is to be protected.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ivr.artifacts import ArtifactPaths
from ivr.stage import Input, Manifest, open_stage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ivr.analysis.counting import CorpusCounts

DESCRIPTION = """\
Encode the cleaned corpus with the base tokenizer: ids of every document, frequencies of ids and of pretokens.

Reads corpora/cleaned and corpora/general/cleaned (when there), writes analysis/reports/.
"""
EPILOG = """\
examples:
  ivr analyze
  ivr analyze --threads 16 --no-sequences
"""


@dataclass(frozen=True)
class Config:
    """Options of `ivr analyze`."""

    artifacts_dir: Path = Path("artifacts")
    force: bool = False
    cleaned_corpora_dir: Path | None = None
    original_tokenizer_dir: Path | None = None
    sequences: bool = True
    threads: int = field(default=0, metadata={"identity": False})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    inputs = parser.add_argument_group("input")
    inputs.add_argument(
        "--cleaned-corpora-dir", type=Path, metavar="DIR", help="cleaned text (default: ARTIFACTS/corpora/cleaned)"
    )
    inputs.add_argument(
        "--original-tokenizer-dir",
        type=Path,
        metavar="DIR",
        help="base tokenizer (default: ARTIFACTS/tokenizers/original)",
    )
    work = parser.add_argument_group("work")
    work.add_argument(
        "--no-sequences",
        dest="sequences",
        action="store_false",
        help="do not write bpe_token_id_sequences.txt, the largest output (default: write it)",
    )
    work.add_argument(
        "--threads",
        type=int,
        default=Config.threads,
        metavar="N",
        help="worker threads, 0 for every core (default: %(default)s)",
    )


def run(config: Config) -> Manifest:
    """Run the stage; returns its manifest."""
    paths = ArtifactPaths(config.artifacts_dir)
    corpus = config.cleaned_corpora_dir or paths.cleaned_corpora
    tokenizer_dir = config.original_tokenizer_dir or paths.original_tokenizer
    inputs = [
        Input(corpus, made_by="init"),
        Input(paths.general_cleaned, made_by="init", optional=True),
        Input(tokenizer_dir / "tokenizer.json", made_by="init"),
    ]
    with open_stage("analyze", config, inputs) as stage:
        if stage.current:
            return stage.manifest
        from tokenizers import Tokenizer

        from ivr.analysis.tables import write_pretoken_frequency, write_token_frequency
        from ivr.encoding.batch import default_processes

        tokenizer = Tokenizer.from_file(str(tokenizer_dir / "tokenizer.json"))
        threads = config.threads or default_processes()
        sequences = paths.token_id_sequences if config.sequences else None
        counts = count_corpus(tokenizer, corpus, threads, "analyze", sequences)
        write_token_frequency(paths.token_frequency, tokenizer, counts)
        write_pretoken_frequency(paths.pretoken_frequency, counts)
        outputs = [paths.token_frequency, paths.pretoken_frequency]
        if sequences:
            outputs.append(sequences)
        if paths.general_cleaned.is_dir():
            general = count_corpus(tokenizer, paths.general_cleaned, threads, "analyze general text")
            write_pretoken_frequency(paths.general_pretoken_frequency, general)
            outputs.append(paths.general_pretoken_frequency)
            stage.results["general_tokens"] = int(general.token_counts_V.sum())
        else:
            paths.general_pretoken_frequency.unlink(missing_ok=True)
        stage.results.update(
            documents=counts.num_documents,
            bytes=counts.num_bytes,
            tokens=int(counts.token_counts_V.sum()),
            pretokens=int(counts.counts_P.sum()),
            distinct_pretokens=len(counts.pretokens),
            ids_used=int((counts.token_counts_V > 0).sum()),
            ids=len(counts.token_counts_V),
        )
        return stage.finish(outputs)


def count_corpus(
    tokenizer: "Tokenizer", corpus: Path, threads: int, what: str, sequences: Path | None = None
) -> "CorpusCounts":
    """Count all documents below `corpus`; with `sequences`, write their ids there too, one document a line."""
    from contextlib import ExitStack

    from ivr.analysis.counting import count_documents
    from ivr.artifacts import atomic_file
    from ivr.console import Progress
    from ivr.corpus.documents import corpus_files, read_documents

    total = sum(file.stat().st_size for file in corpus_files(corpus))
    with ExitStack() as stack:
        lines = stack.enter_context(atomic_file(sequences, "wb")) if sequences else None
        bar = stack.enter_context(Progress(what, total, "B"))
        return count_documents(tokenizer, read_documents(corpus), threads, lines, bar.update)
