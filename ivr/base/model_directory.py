"""The base model's files: taken from a local directory, checked, and laid into the artifacts.

All is decided from names and headers: a safetensors file says in its header what it holds and how long it must be. Only
a pickle must be loaded for that.
"""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.base.auto_tokenizer import check_auto_tokenizer
from ivr.base.companions import copy_chat_templates, copy_text
from ivr.base.model_files import CARD, LICENCE, VERSIONED_TOKENIZER, WeightsChoice, check_names, choose_files
from ivr.base.tokenizer import TOKENIZER_FILES, read_json
from ivr.base.tokenizer_directory import complete_tokenizer
from ivr.base.weights.checkpoint import Checkpoint, read_checkpoint, weight_files, write_weights
from ivr.base.weights.layout import Layout, layout_of
from ivr.base.whole_files import check_whole
from ivr.console import LOG
from ivr.disk.writer import atomic_directory, write_json
from ivr.encoding.text.tokenizer_file import load_tokenizer
from ivr.errors import ConfigError, CorruptInputError, IvrError

FREE_BYTES_BESIDE_MODEL = 64 << 20


@dataclass(frozen=True)
class ModelFiles:
    """A model directory as far as it is taken. names: of all files but the weights. origin: where it is from."""

    folder: Path
    origin: str
    names: tuple[str, ...]
    config: Mapping[str, Any]
    weights: Checkpoint | None


def read_model(folder: Path, origin: str) -> ModelFiles:
    """What is taken of a directory, checked by names and headers.

    Raises ConfigError for a model of a kind or in a form that cannot be taken, CorruptInputError for files that
    are damaged or not there; each names the file and the mend.
    """
    names, choice = _choose(folder, origin)
    config: Mapping[str, Any] = {}
    if "config.json" in names:
        config = check_config(folder / "config.json", f"{origin}/config.json")
    for name in ("generation_config.json", "tokenizer_config.json"):
        if name in names:
            check_settings(folder / name, f"{origin}/{name}")
    if choice is None:
        LOG.warning("%s has no weights: `ivr align` and `ivr train` will need a model that has", origin)
        return ModelFiles(folder, origin, tuple(names), config, None)
    if not config:
        raise ConfigError(f"{origin} has weights but no config.json; add the model's own config.json")
    return ModelFiles(folder, origin, tuple(names), config, read_checkpoint(folder, choice, config, origin))


def check_loads(folder: Path) -> None:
    """Raises ConfigError or CorruptInputError, by names and headers, where transformers would load another model.

    It draws what it does not find by name at random and goes on; `ivr init` mends such names.
    """
    weights = read_model(folder, str(folder)).weights
    if weights is None:
        raise CorruptInputError(f"{folder} holds no weights; give --model-name a directory that does")
    if weights.renamed is not None:
        raise ConfigError(
            f"{folder} has names like {next(iter(weights.renamed))} in its weights, which transformers does not know; "
            "`ivr init --model-name` takes such a model in and mends them"
        )


def model_files(folder: Path, origin: str) -> list[Path]:
    """The files that are taken of a directory, all there; what is in them is not looked at. Raises as `read_model`."""
    names, choice = _choose(folder, origin)
    return [*(folder / name for name in names), *(weight_files(folder, choice, origin) if choice else ())]


def _choose(folder: Path, origin: str) -> tuple[list[str], WeightsChoice | None]:
    there = file_names(folder)
    choice = check_names(there, origin)
    names = [name for name in choose_files(there) if not (is_text(name) and not (folder / name).is_file())]
    for name in names:
        if not is_text(name):
            check_whole(folder / name, f"{origin}/{name}")
    return names, choice


def file_names(folder: Path) -> list[str]:
    """The names in a model directory, and those of its chat templates; hidden ones left out."""
    here = [path.name for path in folder.iterdir()]
    templates = [f"{path.parent.name}/{path.name}" for path in folder.glob("additional_chat_templates/*")]
    return sorted(name for name in (*here, *templates) if not Path(name).name.startswith("."))


def is_text(name: str) -> bool:
    """Whether a file is a licence or a card: worth taking, nothing depends on it."""
    return name == CARD or LICENCE.fullmatch(name) is not None


def check_config(path: Path, origin: str) -> dict[str, Any]:
    """The model's config.json. Raises ConfigError where it is none of a causal language model, naming what it is."""
    config = read_json(path, origin)
    if not isinstance(config, dict):
        raise CorruptInputError(f"{origin} is no JSON object; fetch it again")
    _refuse_code(config, origin)
    if config.get("quantization_config"):
        raise ConfigError(f"{origin}: the model is quantised (quantization_config); bring the weights before that")
    layout_of(config, origin)
    return dict(config)


def check_settings(path: Path, origin: str) -> None:
    """generation_config.json or tokenizer_config.json: an object, and none that asks for code."""
    settings = read_json(path, origin)
    if not isinstance(settings, dict):
        raise CorruptInputError(f"{origin} is no JSON object; fetch it again")
    _refuse_code(settings, origin)


def _refuse_code(settings: Mapping[str, Any], origin: str) -> None:
    if settings.get("auto_map"):
        raise ConfigError(
            f"{origin} asks for code of its own (auto_map), and no code of a model is run here; where "
            "transformers knows its model_type, take auto_map out of a copy and give --model-name that"
        )


def check_model(folder: Path, origin: str) -> None:
    """All that `lay_in_model` would find wrong, found without copying weights."""
    model = read_model(folder, origin)
    with tempfile.TemporaryDirectory() as scratch:
        _lay_in_small_files(model, Path(scratch))


def lay_in_model(folder: Path, origin: str, target: Path) -> dict[str, Any]:
    """Copy the model in `folder` to `target`, completed and checked, whole or not at all; returns its figures."""
    model = read_model(folder, origin)
    small = sum((folder / name).stat().st_size for name in model.names)
    check_free_space(target, small + (model.weights.num_bytes if model.weights else 0))
    with atomic_directory(target) as staging:
        figures = _lay_in_small_files(model, staging)
        if model.weights is not None:
            write_weights(model.weights, staging)
            figures["weights"] = model.weights.files[0].name
            figures["weights_bytes"] = sum(path.stat().st_size for path in staging.glob("*.safetensors"))
    return figures


def _lay_in_small_files(model: ModelFiles, staging: Path) -> dict[str, Any]:
    """Everything but the weights, into an empty directory; returns the figures."""
    for name in model.names:
        if is_text(name):
            copy_text(model.folder / name, staging / name)
        elif not VERSIONED_TOKENIZER.fullmatch(name) or name in TOKENIZER_FILES:
            (staging / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(model.folder / name, staging / name)  # through links: a Hub cache is full of them
    _take_versioned_tokenizer(model, staging)
    complete_tokenizer(staging, model.origin, dict(model.config))
    figures = check_sizes(staging, model.config, model.origin)
    _check_auto_tokenizer(staging, model.origin)
    if model.config.get("model_type") == "gpt2":  # whose layout is known without transformers
        from ivr.base.weights.transformers_layout import empty_model, parse_config

        empty_model(parse_config(model.config, model.origin), model.origin)
    return figures


def _take_versioned_tokenizer(model: ModelFiles, staging: Path) -> None:
    """Where tokenizer_config.json lists tokenizer.json files for versions of transformers, take that of this one."""
    path = staging / "tokenizer_config.json"
    settings = read_json(path, f"{model.origin}/{path.name}") if path.is_file() else {}
    listed = settings.pop("fast_tokenizer_files", None)
    if listed is None:
        return
    from transformers.tokenization_utils_base import get_fast_tokenizer_file

    chosen = get_fast_tokenizer_file([name for name in listed if isinstance(name, str)])
    if chosen not in model.names:
        raise CorruptInputError(f"{model.origin}/{path.name} names {chosen!r}, which is not there; fetch it")
    shutil.copyfile(model.folder / chosen, staging / "tokenizer.json")
    write_json(path, settings)


def _check_auto_tokenizer(staging: Path, origin: str) -> None:
    try:
        check_auto_tokenizer(staging, origin)
    except IvrError:
        raise
    except Exception as error:  # whatever a tokenizer_config.json makes of transformers
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ConfigError(
            f"{origin}: AutoTokenizer cannot load its tokenizer ({reason}); mend its tokenizer_config.json, or leave "
            "that out of a copy"
        ) from None


def lay_in_tokenizer(model: Path, target: Path) -> None:
    """Copy the tokenizer files of the base model to a directory of their own."""
    with atomic_directory(target) as staging:
        for name in TOKENIZER_FILES:
            if (model / name).is_file():
                shutil.copyfile(model / name, staging / name)
        copy_chat_templates(model, staging)


def check_sizes(folder: Path, config: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Figures of a model directory. Raises ConfigError where its tokenizer has ids the model has no row for."""
    tokenizer = load_tokenizer(folder / "tokenizer.json", f"{origin}/tokenizer.json")
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    layout = layout_of(config, origin) if config else None
    rows = layout.rows if layout else None
    if rows is not None and max(vocab.values()) >= rows:
        raise ConfigError(
            f"{origin}: the tokenizer has the id {max(vocab.values())}, the model only {rows} rows (vocab_size); "
            "bring the tokenizer that belongs to the model"
        )
    figures = {"tokens": len(vocab), "model_rows": rows, "weights_bytes": 0}
    return figures | (_facts(layout) if layout else {})


def _facts(layout: Layout) -> dict[str, Any]:
    """What later stages, and people, want to know of the kind of model."""
    return {
        "model_type": layout.kind,
        "head": "tied" if layout.output is None else "untied",
        "positions": "learned" if layout.positions else "computed",
        "context": layout.context,
    }


def check_free_space(target: Path, num_bytes: int) -> None:
    """Raises ConfigError when the disk below `target` cannot take `num_bytes` more."""
    folder = next(parent for parent in target.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < num_bytes + FREE_BYTES_BESIDE_MODEL:
        raise ConfigError(
            f"{folder} has {free / 1e6:,.0f} MB free and {num_bytes / 1e6:,.0f} MB are needed; "
            "make room, or put the run elsewhere with --artifacts-dir"
        )
