"""Stage `distill-tokenizer`: the base BPE tokenizer as a Unigram tokenizer with the same ids and segmentations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.artifacts import ArtifactPaths
from ivr.console import LOG, Progress
from ivr.disk.digest import sha256_file
from ivr.disk.writer import atomic_directory, write_json
from ivr.errors import ConfigError, StaleInputError
from ivr.options.declared import StageConfig, option
from ivr.stage import Input, Manifest, open_stage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ivr.analysis.tables import PretokenTable

DESCRIPTION = """\
Turn the base model's BPE tokenizer into a Unigram tokenizer that gives the same ids for the same text.

Every merge gets an integer weight, and a token scores the sum of the weights of its merges. The weights are fitted to
every token and every distinct pretoken of the corpora. Repeats such as `-----`, which no scores can order, are split by
the pre-tokenizer where BPE has a border. certificate.json says what was compared, and names each difference.
"""
EPILOG = """\
examples:
  ivr distill-tokenizer
  ivr distill-tokenizer --prior-exponent 6 --allow-mismatches 0
  ivr distill-tokenizer --extend
"""


@dataclass(frozen=True)
class Config(StageConfig):
    """Options of `ivr distill-tokenizer`."""

    original_tokenizer_dir: Path | None = option(
        None, "base tokenizer (default: ARTIFACTS/tokenizers/original)", group="input", metavar="DIR"
    )
    prior_exponent: float = option(
        6.8,
        "weights start at ((R + c) / (rank + 1 + c))^P, c = 0.014 R; lowered where scores outgrow a file",
        group="fit",
        metavar="P",
        bounds="[0, 50]",  # weights are cut at 2^53 long before 50
    )
    allow_mismatches: int | None = option(
        None,
        "fail when more than N distinct pretokens of the corpora differ (default: list them and go on)",
        bounds="[0, 1e9]",
    )
    extend: bool = option(
        False,
        "also keep the existing tokenizer's text exact: fit to the pretokens stored beside its certificate, too "
        "(default: fit to the analysed text alone)",
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
        stage.replaces(paths.distilled_tokenizer)
        from ivr.base.auto_tokenizer import check_auto_tokenizer
        from ivr.encoding.bpe import read_bpe
        from ivr.tokenizer.distill.certificate import Compared, build_certificate
        from ivr.tokenizer.distill.fitted_text import write_fitted
        from ivr.tokenizer.distill.pipeline import distill
        from ivr.tokenizer.proof.checker import NAME as PROOF
        from ivr.tokenizer.unigram_file import write_tokenizer

        base_file = tokenizer_dir / "tokenizer.json"
        base = load_base(base_file)
        if config.original_tokenizer_dir is not None:
            check_auto_tokenizer(tokenizer_dir, str(tokenizer_dir))  # what init has seen to for its own
        bpe = read_bpe(base)
        table = corpus_table(paths)
        earlier = _earlier_pretokens(paths, sha256_file(base_file), table.pretokens, config.extend)
        result = distill(base, bpe, [*table.pretokens, *earlier], config.prior_exponent)
        with atomic_directory(paths.distilled_tokenizer) as directory:
            write_tokenizer(directory, result.tokenizer, tokenizer_dir)
            if result.proofs:
                write_json(directory / PROOF, {"proofs": [proof.entry() for proof in result.proofs]})
            write_fitted(directory, [*table.pretokens, *earlier], sha256_file(base_file))
            compared = Compared(base_file, directory / "tokenizer.json", table, earlier, **_corpora(paths))
            with Progress("compare", len(table) + len(earlier), "pretokens") as bar:
                certificate = build_certificate(compared, result, bar.update)
            write_json(directory / "certificate.json", certificate)
            _enforce(certificate, config.allow_mismatches)
        LOG.info("%s", certificate["summary"])
        corpus = certificate["corpus"]
        stage.results.update(
            {key: corpus[key] for key in ("types", "occurrences", "mismatched_types", "mismatched_occurrences")},
            agreement_percent=corpus["agreement_percent"],
            constraints=len(result.fit.constraints),
            rounds=result.fit.rounds,
            earlier_types=len(earlier),
            earlier_mismatched_types=certificate["earlier_text"]["mismatched_types"],
            largest_score=int(result.fit.scores_V.max()),
        )
        return stage.finish([paths.distilled_tokenizer])


def corpus_table(paths: ArtifactPaths) -> "PretokenTable":
    """The distinct pretokens of the corpus and of the general text together."""
    from ivr.analysis.tables import merge_tables, read_pretoken_frequency

    files = [file for file in (paths.pretoken_frequency, paths.general_pretoken_frequency) if file.is_file()]
    return merge_tables([read_pretoken_frequency(file) for file in files])


def load_base(file: Path) -> "Tokenizer":
    """The base tokenizer, its file checked first as `ivr init` does: the library panics at some that it refuses.

    Raises ConfigError naming the first offender, CorruptInputError for what is no tokenizer.json.
    """
    from ivr.base.tokenizer import check_tokenizer_json
    from ivr.encoding.text.tokenizer_file import load_tokenizer

    check_tokenizer_json(file, str(file))
    base = load_tokenizer(file)
    if base.truncation or base.padding:
        LOG.warning("%s cuts or fills texts up (truncation, padding); the distilled tokenizer does not", file)
        base.no_truncation()
        base.no_padding()
    return base


def _earlier_pretokens(paths: ArtifactPaths, base_sha256: str, pretokens: Sequence[str], extend: bool) -> list[str]:
    """What the tokenizer that stands there was fitted to, less these pretokens; nothing without `extend`."""
    from ivr.tokenizer.distill.fitted_text import NAME, read_fitted

    folder = paths.distilled_tokenizer
    if not extend:
        return []
    if not (folder / NAME).is_file():
        raise StaleInputError(
            f"--extend needs {folder / NAME}, which is not there; run `ivr distill-tokenizer` on the earlier text first"
        )
    earlier, made_for = read_fitted(folder)
    if made_for != base_sha256:
        raise StaleInputError(
            f"{folder} was distilled from another tokenizer (sha256 {made_for[:16]}, now {base_sha256[:16]}), so its "
            "text cannot be kept; run `ivr distill-tokenizer` without --extend"
        )
    known = set(pretokens)
    kept = [pretoken for pretoken in earlier if pretoken not in known]
    LOG.info("%s distinct pretokens of earlier text are kept", f"{len(kept):,}")
    return kept


def _corpora(paths: ArtifactPaths) -> dict[str, Any]:
    """The files that were analysed, as `analyze` recorded them."""
    manifest = Manifest.read(paths.manifest("analyze"))
    assert manifest is not None, "open_stage has checked it"
    files = [row for row in manifest.inputs if row.path.endswith(".txt")]
    folders = dict.fromkeys((paths.root / row.path).parent for row in files)
    corpora = [folder for folder in folders if folder.is_dir()]
    entries = [row.entry() for row in files]
    return {"corpora": corpora, "files": entries, "documents": manifest.results.get("documents")}


def _enforce(certificate: dict[str, dict[str, int]], allowed: int | None) -> None:
    found = certificate["corpus"]["mismatched_types"] + certificate["earlier_text"]["mismatched_types"]
    if allowed is not None and found > allowed:
        raise ConfigError(
            f"{found} distinct pretokens of the corpora differ, --allow-mismatches is {allowed}; "
            f"`ivr distill-tokenizer --allow-mismatches {found}` accepts them and lists each in certificate.json"
        )
