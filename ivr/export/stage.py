"""`ivr export`: the trained model in the form in which another program loads it."""

import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.artifacts import ArtifactPaths, check_there
from ivr.console import LOG, Progress
from ivr.disk.digest import sha256_file
from ivr.disk.writer import atomic_directory, files_below, write_json, write_text
from ivr.errors import ConfigError, StaleInputError
from ivr.options.declared import CommandConfig, option
from ivr.stage import artifacts_lock

if TYPE_CHECKING:
    from ivr.export.borders import Learner

TRANSFORMERS, JAVASCRIPT, GGUF = "transformers", "transformers-js", "gguf"
DESCRIPTION = """\
Write the trained model and its tokenizer as another program loads them, below ARTIFACTS/export/.
transformers: the folder as it is. transformers-js: with a tokenizer.json whose pattern JavaScript's regular expressions
can take. It is compared on all distinct pretokens of the run and the first megabyte of each of its texts, and gives the
same ids there (portable.json counts); repeats of a unit that no text of the run holds may be encoded otherwise.
gguf: not possible; the message says why.
"""
EPILOG = """\
examples:
  ivr export --for transformers-js
  ivr export --for transformers --output my/model
  ivr verify --tokenizer artifacts/export/transformers-js --against artifacts/training/final
"""
WHY_NOT_GGUF = (
    "llama.cpp's Unigram knows no byte alphabet and no pre-tokenizer's pattern, and its scores have 32 bits, where "
    "these need 53: other ids would come out, silently. Load it with transformers, vLLM or Transformers.js"
)
FIGURES = "portable.json"
MOST_COMPARED = 1_000_000  # bytes of whole documents of each folder, besides all distinct pretokens


@dataclass(frozen=True)
class Config(CommandConfig):
    """Options of `ivr export`."""

    for_: str = option(
        TRANSFORMERS, "the program that is to load it", group="what", choices=(TRANSFORMERS, JAVASCRIPT, GGUF)
    )
    model_dir: Path | None = option(
        None, "a model of this run with its tokenizer (default: ARTIFACTS/training/final)", metavar="DIR"
    )
    output: Path | None = option(None, "where to (default: ARTIFACTS/export/ and the program's name)", metavar="DIR")


def run(config: Config) -> None:
    """Write the folder, whole or not at all."""
    if config.for_ == GGUF:
        raise ConfigError(f"--for gguf: {WHY_NOT_GGUF}")
    paths = ArtifactPaths(config.artifacts_dir)
    check_there(paths.root)
    source = config.model_dir or paths.final_model
    if not source.is_dir():
        raise StaleInputError(f"{source} is not there; run `ivr train` first, or name another one by --model-dir")
    target = config.output or paths.root / "export" / config.for_
    _check_target(paths, source, target)
    with artifacts_lock(paths.lock, "export"), atomic_directory(target) as staging:
        for path in files_below(source):
            if path.name[0] != ".":
                copy = staging / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
        if config.for_ == JAVASCRIPT:
            learner, figures = _portable(paths, source)
            write_text(staging / "tokenizer.json", learner.text() + "\n")
            write_json(staging / FIGURES, figures)
    LOG.info("export: %s", target)


def _check_target(paths: ArtifactPaths, source: Path, target: Path) -> None:
    """Refuse a place where a stage writes, or the model itself lies."""
    place, root, model = target.resolve(), paths.root.resolve(), source.resolve()
    inside = place.is_relative_to(root) and not place.is_relative_to(root / "export")
    if inside or root.is_relative_to(place) or model.is_relative_to(place) or place.is_relative_to(model):
        raise ConfigError(f"--output {target}: stages write there, or the model lies there; name another directory")


def _portable(paths: ArtifactPaths, source: Path) -> "tuple[Learner, dict[str, Any]]":
    """The tokenizer for JavaScript, and what was compared."""
    from ivr.analysis.pretokens import PretokenSplitter
    from ivr.encoding.bpe import read_bpe
    from ivr.encoding.text.tokenizer_file import load_tokenizer
    from ivr.export.borders import ROUNDS, Learner, different, repeats
    from ivr.tokenizer.remap.apply import strings_of
    from ivr.tokenizer.remap.rules import read_rules

    file, remapped = source / "tokenizer.json", paths.remapped_tokenizer / "tokenizer.json"
    if not remapped.is_file():
        raise StaleInputError(f"{remapped} is not there; run `ivr remap` first")
    if not file.is_file() or sha256_file(file) != sha256_file(remapped):
        raise StaleInputError(
            f"{source} has not the tokenizer of {paths.remapped_tokenizer}; run the stages up to the model again"
        )
    original = load_tokenizer(paths.original_tokenizer, mend="run `ivr init` again")
    base = PretokenSplitter(original)
    _, superwords = strings_of(read_rules(paths.remap_rules).swaps, base)
    learner = Learner.of(json.loads(file.read_text(encoding="utf-8")), base, superwords)
    generated = dict.fromkeys(piece for pieces in base.lists(list(repeats(read_bpe(original)))) for piece in pieces)
    learner.learn(generated)
    learner.learn(_pretokens(paths))
    for left in reversed(range(ROUNDS)):
        with Progress("compare", MOST_COMPARED * len(_folders(paths)), "B") as bar:
            documents, others = different(learner, _documents(paths), bar.update)
        if not others or not left:
            break  # what is learnt is compared again
        learner.learn({piece for pieces in base.lists(others) for piece in pieces})
    figures = {
        "documents": documents,
        "different_documents": len(others),
        "pretokens_with_borders": len(learner.borders),
    }
    LOG.log(
        logging.WARNING if others else logging.INFO,
        "export: %s of %s documents compared are encoded otherwise than by transformers; %s pretokens have borders "
        "of their own",
        f"{len(others):,}",
        f"{documents:,}",
        f"{len(learner.borders):,}",
    )
    return learner, figures


def _pretokens(paths: ArtifactPaths) -> Iterator[str]:
    """Those of the run's tables, distinct in each."""
    from ivr.analysis.tables import read_pretoken_frequency

    for file in (paths.pretoken_frequency, paths.general_pretoken_frequency):
        if file.is_file():
            yield from read_pretoken_frequency(file).pretokens


def _folders(paths: ArtifactPaths) -> list[Path]:
    folders = (paths.cleaned_corpora, paths.heldout_corpora, paths.general_cleaned, paths.general_heldout)
    return [folder for folder in folders if folder.is_dir()]


def _documents(paths: ArtifactPaths) -> Iterator[str]:
    """The first of each folder."""
    from ivr.corpus.documents import read_documents

    for folder in _folders(paths):
        left = MOST_COMPARED
        for text in read_documents(folder):
            yield text
            left -= len(text.encode())
            if left <= 0:
                break
