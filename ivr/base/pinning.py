"""The base model's place in the artifacts: filled from the sample, a directory or the Hub, or kept as it is."""

import dataclasses
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ivr.artifacts import ArtifactPaths
from ivr.base.auto_tokenizer import check_auto_tokenizer
from ivr.base.hub import fetch_model
from ivr.base.model_directory import check_config, check_model, check_sizes, lay_in_model, lay_in_tokenizer, model_files
from ivr.base.pretrained.packaged import PACKAGED, packaged_model, say_how_long
from ivr.base.sample_model import SampleRecipe, train_sample_model
from ivr.console import LOG
from ivr.corpus.sample_text import general_texts
from ivr.disk.digest import sha256_file, sha256_json
from ivr.disk.writer import atomic_directory
from ivr.errors import ConfigError, CorruptInputError
from ivr.stage import Manifest

SAMPLE = "sample"
SAMPLE_PACKAGES = ("torch", "transformers", "tokenizers")


@dataclasses.dataclass(frozen=True)
class ModelChoice:
    """Which base model, and all that decides what the sample model learns."""

    name: str
    revision: str | None = None
    heldout_fraction: float = 0.1
    seed: int = 0

    @property
    def is_packaged(self) -> bool:
        """Whether the name is one that a package registry has the model for."""
        return self.name in PACKAGED

    @property
    def directory(self) -> Path | None:
        """The local directory the name stands for. Raises ConfigError for a path that is none."""
        if self.is_packaged:
            return None
        path = Path(self.name).expanduser()
        if path.is_dir():
            return path
        if self.name.startswith((".", "/", "~")) or path.exists():
            raise ConfigError(
                f"--model-name {self.name}: no such directory; give `{SAMPLE}`, `smollm2`, a directory with a "
                "model, or a Hub id such as openai-community/gpt2"
            )
        return None


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a base model's files lie on this machine, checked. origin: what a person calls it."""

    folder: Path
    origin: str
    commit: str = ""


def find_model(choice: ModelChoice, paths: ArtifactPaths, force: bool, recipe: SampleRecipe) -> Source | None:
    """Fetch the model and check it, before hours of other work; None where there is nothing to take."""
    if choice.name == SAMPLE:
        return None
    try:
        previous = Manifest.read(paths.manifest("init"))
    except CorruptInputError:
        previous = None  # the stage itself says so
    if not force and previous is not None and _is_whole(previous, sha256_json(_made_from(choice, recipe)), paths):
        return None
    return _source(choice, force)


def _source(choice: ModelChoice, force: bool) -> Source:
    if choice.is_packaged:
        say_how_long(choice.name)
        source = Source(packaged_model(choice.name), choice.name)
    elif choice.directory is not None:
        source = Source(choice.directory, str(choice.directory))
    else:
        fetched = fetch_model(choice.name, choice.revision, force)
        source = Source(fetched.folder, choice.name, fetched.commit)
    check_model(source.folder, source.origin)
    return source


def pin_model(
    choice: ModelChoice,
    paths: ArtifactPaths,
    previous: Manifest | None,
    force: bool,
    recipe: SampleRecipe,
    source: Source | None = None,
) -> dict[str, Any]:
    """Fill `paths.base_model` and `paths.original_tokenizer`; returns the model's record for the manifest.

    A model that `previous` records as made from the same things is kept, without a download or a training, where
    its files are still the recorded ones. source: what `find_model` found.
    """
    identity = sha256_json(_made_from(choice, recipe))
    if not force and previous is not None and _is_whole(previous, identity, paths):
        LOG.info("base model: %s, kept as it is", choice.name)
        return previous.results["model"]
    record: dict[str, Any] = {"name": choice.name, "identity": identity, "revision": ""}
    if choice.name == SAMPLE:
        record |= _train_sample(choice, paths, dataclasses.replace(recipe, seed=choice.seed))
    else:
        source = source or _source(choice, force)
        record |= lay_in_model(source.folder, source.origin, paths.base_model)
        record["revision"] = source.commit
    lay_in_tokenizer(paths.base_model, paths.original_tokenizer)
    LOG.info("base model: %s, %s tokens, in %s", choice.name, f"{record['tokens']:,}", paths.base_model)
    return record


def _train_sample(choice: ModelChoice, paths: ArtifactPaths, recipe: SampleRecipe) -> dict[str, Any]:
    texts = list(general_texts(paths.sample_corpora, choice.heldout_fraction, choice.seed))
    with atomic_directory(paths.base_model) as staging:
        figures = train_sample_model(texts, recipe, staging)
        config = check_config(staging / "config.json", SAMPLE)
        figures |= check_sizes(staging, config, SAMPLE)
        check_auto_tokenizer(staging, SAMPLE)
    return {**figures, "recipe": dataclasses.asdict(recipe)}


def _made_from(choice: ModelChoice, recipe: SampleRecipe) -> dict[str, Any]:
    """What decides the model's bytes, as far as it can be known without making it."""
    made_from: dict[str, Any] = {"name": choice.name, "revision": choice.revision}
    if choice.name == SAMPLE:
        made_from |= dataclasses.asdict(choice) | dataclasses.asdict(recipe)
        made_from |= {package: version(package) for package in SAMPLE_PACKAGES} | {"python": platform.python_version()}
    elif choice.is_packaged:
        made_from["packaged"] = PACKAGED[choice.name].identity
    elif choice.directory is not None:
        # what else lies there is not the model
        files = model_files(choice.directory, str(choice.directory))
        made_from["files"] = {str(path.relative_to(choice.directory)): sha256_file(path) for path in files}
    return made_from


def _is_whole(previous: Manifest, identity: str, paths: ArtifactPaths) -> bool:
    """Whether the recorded model is the wanted one and its files are what was written."""
    if previous.results.get("model", {}).get("identity") != identity:
        return False
    folders = (paths.base_model, paths.original_tokenizer)
    rows = [row for row in previous.outputs if any((paths.root / row.path).is_relative_to(at) for at in folders)]
    return bool(rows) and all(
        (paths.root / row.path).is_file() and sha256_file(paths.root / row.path) == row.sha256 for row in rows
    )
