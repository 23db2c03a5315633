"""Stage `init`: pin the base model and its tokenizer, clean the corpora, hold a part of them out."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from ivr.artifacts import ArtifactPaths
from ivr.base.model_directory import check_free_space, model_files
from ivr.base.pinning import SAMPLE, ModelChoice, find_model, pin_model
from ivr.base.sample_model import SampleRecipe
from ivr.base.special_tokens import special_tokens
from ivr.base.tokenizer import read_json
from ivr.console import LOG
from ivr.corpus.cleaners import clean_corpus
from ivr.corpus.cleaning import CleaningOptions, total
from ivr.corpus.dropped_bytes import say_dropped
from ivr.corpus.preview import check_beginnings, least_bytes, no_document
from ivr.corpus.readers import SEPARATORS, ReadOptions
from ivr.corpus.reading.encodings import check_encoding
from ivr.corpus.sample_text import DOMAIN_PACKAGES, GENERAL_PACKAGES, write_sample_corpora
from ivr.corpus.sources import READABLE, find_sources
from ivr.disk.ownership import remove_written
from ivr.disk.writer import atomic_directory, atomic_file
from ivr.encoding.text.missing_bytes import missing_bytes
from ivr.errors import ConfigError
from ivr.options.declared import SEEDS, WORKERS_OR_ALL, StageConfig, option
from ivr.stage import Input, Manifest, open_stage

DESCRIPTION = """\
Fetch and pin the base model and its tokenizer; clean the raw corpora into one text file per source, and hold a
part of every source's documents out."""
EPILOG = """\
examples:
  ivr init
  ivr init --model-name openai-community/gpt2 --raw-corpora-dir my/text --document-separator line
"""

RECIPE = SampleRecipe()


@dataclass(frozen=True)
class Corpus:
    """One of the two corpora: its name, where it lies, how it is read."""

    name: str
    root: Path
    read: ReadOptions
    normalize: str = "none"
    special_tokens: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config(StageConfig):
    """Everything that decides what `ivr init` makes."""

    model_name: str = option(
        SAMPLE,
        "`sample` (trained here, offline), `smollm2` (SmolLM2-135M-Instruct, from the package registry), a Hub id such "
        "as openai-community/gpt2, or a local directory",
        group="base model",
        metavar="NAME",
    )
    revision: str | None = option(None, "branch, tag or commit on the Hub (default: main)", metavar="REV")
    raw_corpora_dir: Path | None = option(
        None,
        f"your text: {READABLE} (default: ARTIFACTS/corpora/raw; with the sample model and nothing there, "
        "the docstrings of NumPy and PyTorch)",
        group="corpora",
        metavar="DIR",
    )
    cleaned_corpora_dir: Path | None = option(
        None, "where the cleaned text goes (default: ARTIFACTS/corpora/cleaned)", metavar="DIR"
    )
    general_corpora_dir: Path | None = option(
        None,
        "general text that must not get worse (default: none; with the sample model, the text it learned from)",
        metavar="DIR",
    )
    text_key: str = option(
        "text", "where the text is in a JSON object; a.b reaches into objects", group="reading", metavar="KEY"
    )
    encoding: str = option("utf-8", "of raw files without a byte order mark, such as cp949 or utf-16", metavar="NAME")
    document_separator: str = option(
        "auto",
        "what parts the documents of a .txt file; special-token: <|endoftext|>, <|startoftext|> and the model's "
        "own; auto: those where its first MiB has them on lines of their own, else blank lines where it has one, else "
        "every line is a document",
        choices=SEPARATORS,
    )
    normalize: str = option(
        "none", "NFC: compose letters that stand in parts, as in text from macOS", choices=("none", "NFC")
    )
    normalize_force: bool = option(
        False,
        "clean the corpora again, but keep the base model (default: only when something changed)",
        identity=False,
    )
    processes: int = option(
        0, "processes that clean, 0 for every core; the result is the same", bounds=WORKERS_OR_ALL, identity=False
    )
    heldout_fraction: float = option(
        0.1,
        "share of the documents no stage learns from, chosen by their own bytes",
        group="held-out text",
        metavar="F",
        bounds="[0, 1)",
    )
    seed: int = option(0, "of the split and the sample", bounds=SEEDS)


def run(config: Config) -> Manifest:
    """What can be checked in a second first, then the model (minutes), then the corpora (hours)."""
    paths = ArtifactPaths(config.artifacts_dir)
    choice = _check(config, paths)
    source = find_model(choice, paths, config.force, RECIPE)  # before a terabyte of text is hashed
    with open_stage("init", config, [Input(path) for path in _input_files(config, paths, choice)]) as stage:
        if not config.normalize_force and stage.current:
            return stage.manifest
        cleaned = (_cleaned(config, paths), paths.heldout_corpora)
        general_cleaned = (paths.general_cleaned, paths.general_heldout)
        stage.replaces(paths.base_model, paths.original_tokenizer, *cleaned, *general_cleaned, paths.rejects)
        domain, general = _corpora(config, paths)
        corpora = [corpus for corpus in (domain, general) if corpus is not None]
        for corpus in corpora:
            check_beginnings(corpus.root, corpus.read)
        check_free_space(_cleaned(config, paths), sum(least_bytes(corpus.root) for corpus in corpora))
        if choice.name != SAMPLE:
            stage.results["model"] = pin_model(choice, paths, stage.previous, config.force, RECIPE, source)
            domain = _knowing_tokens(domain, paths.original_tokenizer)
            general = _knowing_tokens(general, paths.original_tokenizer) if general is not None else None
        stage.results["corpora"] = _clean(config, paths, domain, general)
        if choice.name == SAMPLE:  # trained here: it takes longer than the text
            stage.results["model"] = pin_model(choice, paths, stage.previous, config.force, RECIPE, source)
        vocabulary = read_json(file := paths.original_tokenizer / "tokenizer.json", str(file))["model"]["vocab"]
        if lacking := missing_bytes(vocabulary):
            stage.results["dropped_bytes"] = say_dropped(lacking, _cleaned(config, paths))
        stage.results["revision"] = stage.results["model"]["revision"]
        outputs = [paths.base_model, paths.original_tokenizer, *cleaned]
        if choice.name == SAMPLE:
            outputs.append(paths.sample_corpora)
        if general is not None:
            outputs += general_cleaned
        return stage.finish([*outputs, paths.rejects])


def _check(config: Config, paths: ArtifactPaths) -> ModelChoice:
    """Raises ConfigError for options that cannot work, before anything is read or locked."""
    check_encoding(config.encoding)
    if not config.text_key:
        raise ConfigError("--text-key is empty; name the key that holds the text, such as text")
    choice = ModelChoice(config.model_name, config.revision, config.heldout_fraction, config.seed)
    has_none = config.model_name == SAMPLE or choice.is_packaged or choice.directory is not None
    if config.revision is not None and has_none:
        raise ConfigError(
            f"--revision is for models of the Hub; --model-name {config.model_name} has none, leave it out"
        )
    for name, folder in (
        ("--raw-corpora-dir", config.raw_corpora_dir),
        ("--general-corpora-dir", config.general_corpora_dir),
    ):
        if folder is not None and not folder.exists():
            raise ConfigError(f"{name} {folder}: no such file or directory")
    targets = (_cleaned(config, paths), paths.heldout_corpora, paths.general_cleaned, paths.general_heldout)
    for raw in (_raw(config, paths), *([config.general_corpora_dir] if config.general_corpora_dir else [])):
        for target in targets:
            _check_apart(raw, target)
    return choice


def _check_apart(raw: Path, target: Path) -> None:
    """A target is replaced whole: it must not hold, or lie in, what is read."""
    one, other = raw.resolve(), target.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise ConfigError(f"{raw} would be read and {target} replaced, but one lies in the other; keep them apart")


def _raw(config: Config, paths: ArtifactPaths) -> Path:
    return config.raw_corpora_dir or paths.raw_corpora


def _cleaned(config: Config, paths: ArtifactPaths) -> Path:
    return config.cleaned_corpora_dir or paths.cleaned_corpora


def _input_files(config: Config, paths: ArtifactPaths, choice: ModelChoice) -> list[Path]:
    """Every file that decides the outcome: the corpora, unreadable ones too (they are reported), a local model."""
    found: list[Path] = []
    for root in (_raw(config, paths), config.general_corpora_dir):
        if root is not None:
            sources, left_out = find_sources(root)
            found += [source.path for source in sources]
            found += [root / item.name for item in left_out if (root / item.name).is_file()]
    if choice.name != SAMPLE and choice.directory is not None:
        found += model_files(choice.directory, str(choice.directory))
    return sorted(set(found))


def _corpora(config: Config, paths: ArtifactPaths) -> tuple[Corpus, Corpus | None]:
    """Domain and general text: the user's where there is any, else (with the sample model) the sample's."""
    read = ReadOptions(config.text_key, config.encoding, config.document_separator)
    raw, general = _raw(config, paths), config.general_corpora_dir
    is_sample = config.model_name == SAMPLE
    if is_sample:  # its model learns from this text, whatever general text the user has
        write_sample_corpora(paths.sample_corpora / "general", GENERAL_PACKAGES)
    sources, left_out = find_sources(raw)
    if sources:
        domain = Corpus("domain", raw, read, config.normalize)
    elif is_sample and config.raw_corpora_dir is None and not left_out:
        write_sample_corpora(paths.sample_corpora / "domain", DOMAIN_PACKAGES)
        domain = Corpus("domain", paths.sample_corpora / "domain", ReadOptions())
    else:
        there = f"; what is there cannot be read: {left_out[0].name} ({left_out[0].reason})" if left_out else ""
        raise ConfigError(
            f"no text in {raw}: looked for {READABLE}{there}; put files there, or `ivr init --raw-corpora-dir DIR`"
        )
    if general is not None:
        return domain, Corpus("general", general, read, config.normalize)
    return domain, Corpus("general", paths.sample_corpora / "general", ReadOptions()) if is_sample else None


def _knowing_tokens(corpus: Corpus, tokenizer_dir: Path) -> Corpus:
    """The corpus, read with the special tokens of the model's tokenizer in mind."""
    special, delimiters = special_tokens(tokenizer_dir)
    read = replace(corpus.read, delimiters=tuple(dict.fromkeys([*corpus.read.delimiters, *delimiters])))
    return replace(corpus, read=read, special_tokens=special)


def _clean(config: Config, paths: ArtifactPaths, domain: Corpus, general: Corpus | None) -> dict[str, Any]:
    """Clean both corpora into their four directories and the rejects file; returns the figures."""
    results = {}
    with atomic_file(paths.rejects) as rejects:
        results["domain"] = _clean_one(config, domain, _cleaned(config, paths), paths.heldout_corpora, rejects)
        if general is not None:
            results["general"] = _clean_one(config, general, paths.general_cleaned, paths.general_heldout, rejects)
    if general is None:
        # an earlier run's general text would be taken for this run's
        for folder in (paths.general_cleaned, paths.general_heldout):
            remove_written(folder)
    LOG.info("left out: %s, in %s", _total_rejected(results) or "nothing", paths.rejects)
    return results


def _clean_one(config: Config, corpus: Corpus, train: Path, heldout: Path, rejects: IO[str]) -> dict[str, Any]:
    options = CleaningOptions(
        corpus.name,
        corpus.read,
        config.heldout_fraction,
        config.seed,
        corpus.normalize,
        tuple(dict.fromkeys([*corpus.read.delimiters, *corpus.special_tokens])),
    )
    processes = config.processes or len(os.sched_getaffinity(0))
    with atomic_directory(train) as new_train, atomic_directory(heldout) as new_heldout:
        counts = clean_corpus(corpus.root, options, new_train, new_heldout, rejects, processes)
        figures = total(counts)
        _check_split(config, corpus, figures)
    return figures


def _check_split(config: Config, corpus: Corpus, figures: dict[str, Any]) -> None:
    """Raises ConfigError where there is nothing to learn from, or nothing to measure on."""
    documents, heldout = figures["documents"], figures["heldout_documents"]
    if not documents + heldout:
        raise no_document(corpus.root, figures["rejected"], figures["text_keys"])
    if not documents or (config.heldout_fraction and not heldout):
        kind = "held-out text" if documents else "text to learn from"
        raise ConfigError(
            f"{corpus.root} has {documents + heldout:,} documents, too few for --heldout-fraction "
            f"{config.heldout_fraction}: no {kind} is left; try "
            f"{'' if config.document_separator == 'line' else '--document-separator line, or '}"
            "--heldout-fraction 0 to hold nothing out"
        )


def _total_rejected(results: dict[str, Any]) -> int:
    return sum(number for figures in results.values() for number in figures["rejected"].values())
