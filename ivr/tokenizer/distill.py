"""Stage `distill-tokenizer`: the base BPE tokenizer as a Unigram tokenizer with the same ids and segmentations."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ivr.artifacts import ArtifactPaths, atomic_directory, sha256_file, write_json
from ivr.console import LOG, Progress
from ivr.errors import ConfigError
from ivr.stage import Input, Manifest, open_stage

if TYPE_CHECKING:
    from ivr.analysis.tables import PretokenTable

DESCRIPTION = """\
Turn the base BPE tokenizer into a Unigram tokenizer with the same id for every token and the same encoding.

Every merge gets an integer bonus, a token scores the sum of the bonuses in its merge tree; bonuses are fitted to every
distinct pretoken of the corpora and every token. Runs, which no scores can order, are cut by the pre-tokenizer where
BPE cuts them. certificate.json says what was compared and names each mismatch.
"""
EPILOG = """\
examples:
  ivr distill-tokenizer
  ivr distill-tokenizer --prior-exponent 2.5 --allow-mismatches 0
"""


@dataclass(frozen=True)
class Config:
    """Options of `ivr distill-tokenizer`."""

    artifacts_dir: Path = Path("artifacts")
    force: bool = False
    original_tokenizer_dir: Path | None = None
    prior_exponent: float = 3.0
    allow_mismatches: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    inputs = parser.add_argument_group("input")
    inputs.add_argument(
        "--original-tokenizer-dir",
        type=Path,
        metavar="DIR",
        help="base tokenizer (default: ARTIFACTS/tokenizers/original)",
    )
    fitting = parser.add_argument_group("fit")
    fitting.add_argument(
        "--prior-exponent",
        type=float,
        default=Config.prior_exponent,
        metavar="P",
        help="bonuses start at (R / (rank + 1))^P (default: %(default)s)",
    )
    fitting.add_argument(
        "--allow-mismatches",
        type=int,
        default=Config.allow_mismatches,
        metavar="N",
        help="fail when more than N distinct pretokens of the corpora differ (default: list them and go on)",
    )


def run(config: Config) -> Manifest:
    """Run the stage; returns its manifest."""
    paths = ArtifactPaths(config.artifacts_dir)
    tokenizer_dir = config.original_tokenizer_dir or paths.original_tokenizer
    inputs = [
        Input(tokenizer_dir, made_by="init"),
        Input(paths.pretoken_frequency, made_by="analyze"),
        Input(paths.general_pretoken_frequency, made_by="analyze", optional=True),
    ]
    with open_stage("distill-tokenizer", config, inputs) as stage:
        if stage.current:
            return stage.manifest
        from tokenizers import Tokenizer

        from ivr.encoding.bpe import read_bpe
        from ivr.tokenizer.certificate import build_certificate
        from ivr.tokenizer.cutting import distill
        from ivr.tokenizer.unigram_file import write_tokenizer

        base = Tokenizer.from_file(str(tokenizer_dir / "tokenizer.json"))
        bpe = read_bpe(base)
        table = corpus_table(paths)
        result = distill(base, bpe, table.pretokens, config.prior_exponent)
        with atomic_directory(paths.distilled_tokenizer) as directory:
            write_tokenizer(directory, result.tokenizer, tokenizer_dir)
            # what is certified is the file, read back
            file = directory / "tokenizer.json"
            with Progress("compare", len(table), "pretokens") as bar:
                certificate = build_certificate(
                    base,
                    Tokenizer.from_file(str(file)),
                    table,
                    result,
                    bar.update,
                    hashes=(sha256_file(tokenizer_dir / "tokenizer.json"), sha256_file(file)),
                )
            write_json(directory / "certificate.json", certificate)
            _enforce(certificate, config.allow_mismatches)
        LOG.info("%s", certificate["summary"])
        corpus = certificate["corpus"]
        stage.results.update(
            {key: corpus[key] for key in ("types", "occurrences", "mismatched_types", "mismatched_occurrences")},
            agreement_percent=corpus["agreement_percent"],
            constraints=len(result.fit.constraints),
            rounds=result.fit.rounds,
            largest_score=int(result.fit.scores_V.max()),
        )
        return stage.finish([paths.distilled_tokenizer])


def corpus_table(paths: ArtifactPaths) -> "PretokenTable":
    """The distinct pretokens of the corpus and of the general text together."""
    from ivr.analysis.tables import merge_tables, read_pretoken_frequency

    files = [file for file in (paths.pretoken_frequency, paths.general_pretoken_frequency) if file.is_file()]
    return merge_tables([read_pretoken_frequency(file) for file in files])


def _enforce(certificate: dict[str, dict[str, int]], allowed: int | None) -> None:
    found = certificate["corpus"]["mismatched_types"]
    if allowed is not None and found > allowed:
        raise ConfigError(
            f"{found} distinct pretokens of the corpora differ, --allow-mismatches is {allowed}; "
            f"`ivr distill-tokenizer --allow-mismatches {found}` accepts them and lists each in certificate.json"
        )
