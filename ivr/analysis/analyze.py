"""Stage `analyze`: what the base tokenizer does to the corpus.

Writes the ids of every document, how often each id and each pretoken occurs and in how many documents, and the
same pretoken counts for the general text that is to be protected.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ivr.artifacts import ArtifactPaths
from ivr.corpus.documents import check_cleaned
from ivr.disk.digest import sha256_json
from ivr.disk.ownership import remove_written
from ivr.errors import ConfigError
from ivr.options.declared import WORKERS_OR_ALL, StageConfig, option
from ivr.stage import Input, Manifest, check_present, config_identity, open_stage
from ivr.versions import stage_version

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ivr.analysis.counting import CorpusCounts
    from ivr.analysis.shards import Shards

DESCRIPTION = """\
Encode the cleaned corpora with the base tokenizer: how often each id and each pretoken occurs, and every document's
ids. `ivr distill-tokenizer` fits to these pretokens, and `ivr select` counts on them.

Reads corpora/cleaned and, where there is one, corpora/general/cleaned; writes analysis/reports/.
"""
EPILOG = """\
examples:
  ivr analyze
  ivr analyze --threads 16 --no-sequences
  ivr analyze --shards 16 --part 3   # one part, for a node of its own; `ivr analyze --shards 16` joins them
"""
SHARDS = "analysis/shards"  # below the artifacts directory, until they are joined


@dataclass(frozen=True)
class Config(StageConfig):
    """Options of `ivr analyze`."""

    cleaned_corpora_dir: Path | None = option(
        None, "cleaned text (default: ARTIFACTS/corpora/cleaned)", group="input", metavar="DIR"
    )
    original_tokenizer_dir: Path | None = option(
        None, "base tokenizer (default: ARTIFACTS/tokenizers/original)", metavar="DIR"
    )
    sequences: bool = option(
        True,
        "do not write bpe_token_id_sequences.txt, the largest output (default: write it)",
        group="work",
        flag="--no-sequences",
    )
    threads: int = option(0, "worker threads, 0 for every core", bounds=WORKERS_OR_ALL, identity=False)
    shards: int = option(
        1, "count in N parts and join them; the result is the same", bounds="[1, 10000]", identity=False
    )
    part: int | None = option(
        None,
        "only count part K of the N, 0 the first; parts may run at once (default: all that are missing)",
        metavar="K",
        bounds="[0, 9999]",
        identity=False,
    )


def run(config: Config) -> Manifest | None:
    """Run the stage; returns its manifest, or None after a part of it."""
    if config.part is not None and config.part >= config.shards:
        raise ConfigError(f"--shards {config.shards} --part {config.part}: parts are 0 to shards - 1")
    paths = ArtifactPaths(config.artifacts_dir)
    corpus = config.cleaned_corpora_dir or paths.cleaned_corpora
    tokenizer_dir = config.original_tokenizer_dir or paths.original_tokenizer
    inputs = [
        Input(corpus, made_by="init", check=check_cleaned if config.cleaned_corpora_dir else None),
        Input(paths.general_cleaned, made_by="init", optional=True),
        Input(tokenizer_dir / "tokenizer.json", made_by="init"),
    ]
    if config.part is not None:
        from ivr.analysis.shards import count_part

        check_present("analyze", inputs)
        count_part(_shards(config, paths, corpus, tokenizer_dir), config.part, config.force)
        return None
    with open_stage("analyze", config, inputs) as stage:
        if stage.current:
            return stage.manifest
        stage.replaces(paths.token_frequency, paths.pretoken_frequency, paths.general_pretoken_frequency)
        if config.sequences:
            stage.replaces(paths.token_id_sequences)
        from ivr.analysis.tables import write_pretoken_frequency, write_token_frequency
        from ivr.encoding.batch import default_processes
        from ivr.encoding.text.tokenizer_file import load_tokenizer

        tokenizer = load_tokenizer(tokenizer_dir)
        threads = config.threads or default_processes()
        sequences = paths.token_id_sequences if config.sequences else None
        general: CorpusCounts | None = None
        if config.shards > 1:
            counts, general = _shards(config, paths, corpus, tokenizer_dir).join(sequences)
        else:
            counts = count_corpus(tokenizer, corpus, threads, "analyze", sequences)
            if paths.general_cleaned.is_dir():
                general = count_corpus(tokenizer, paths.general_cleaned, threads, "analyze general text")
        write_token_frequency(paths.token_frequency, tokenizer, counts)
        write_pretoken_frequency(paths.pretoken_frequency, counts)
        outputs = [paths.token_frequency, paths.pretoken_frequency]
        if sequences:
            outputs.append(sequences)
        if general is not None:
            write_pretoken_frequency(paths.general_pretoken_frequency, general)
            outputs.append(paths.general_pretoken_frequency)
            stage.results["general_tokens"] = int(general.token_counts_V.sum())
        else:
            paths.general_pretoken_frequency.unlink(missing_ok=True)
        stage.results.update(_figures(counts))
        manifest = stage.finish(outputs)
        _remove_shards(paths.root / SHARDS)  # joined: of no more use
        return manifest


def _figures(counts: "CorpusCounts") -> dict[str, int]:
    """What the manifest records of the corpus."""
    return {
        "documents": counts.num_documents,
        "bytes": counts.num_bytes,
        "tokens": int(counts.token_counts_V.sum()),
        "pretokens": int(counts.counts_P.sum()),
        "distinct_pretokens": len(counts.pretokens),
        "ids_used": int((counts.token_counts_V > 0).sum()),
        "ids": len(counts.token_counts_V),
    }


def _remove_shards(folder: Path) -> None:
    """The parts and their locks; what else lies there stays."""
    for part in folder.glob("part-*-of-*"):
        remove_written(part, contents=False)
    for lock in folder.glob(".part-*-of-*.lock"):
        lock.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _shards(config: Config, paths: ArtifactPaths, corpus: Path, tokenizer_dir: Path) -> "Shards":
    from ivr.analysis.shards import Shards
    from ivr.encoding.batch import default_processes

    return Shards(
        folder=paths.root / SHARDS,
        paths=paths,
        tokenizer_file=tokenizer_dir / "tokenizer.json",
        corpus=corpus,
        parts=config.shards,
        threads=config.threads or default_processes(),
        sequences=config.sequences,
        identity=sha256_json([config_identity(config), stage_version("analyze")]),
    )


def count_corpus(
    tokenizer: "Tokenizer", corpus: Path, threads: int, what: str, sequences: Path | None = None
) -> "CorpusCounts":
    """Count all documents below `corpus`; with `sequences`, write their ids there too, one document a line."""
    from contextlib import ExitStack

    from ivr.analysis.counting import count_documents
    from ivr.console import Progress
    from ivr.corpus.documents import corpus_files, read_documents_utf8
    from ivr.disk.writer import atomic_file

    total = sum(file.stat().st_size for file in corpus_files(corpus))
    with ExitStack() as stack:
        lines = stack.enter_context(atomic_file(sequences, "wb")) if sequences else None
        bar = stack.enter_context(Progress(what, total, "B"))
        return count_documents(tokenizer, read_documents_utf8(corpus), threads, lines, bar.update)
