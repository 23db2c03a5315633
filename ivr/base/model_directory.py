"""The base model's files: taken from a local directory, checked, and laid into the artifacts.

Nothing here loads weights: a safetensors file says in its header how long it must be.
"""

import shutil
from pathlib import Path
from typing import Any

from ivr.artifacts import atomic_directory
from ivr.base.tokenizer import (
    TOKENIZER_FILES,
    check_auto_tokenizer,
    complete_tokenizer,
    load_tokenizer,
    read_json,
)
from ivr.console import LOG
from ivr.errors import ConfigError, CorruptInputError

CONFIG_FILES = ("config.json", "generation_config.json")
SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
PICKLED = "pytorch_model.bin"
FREE_BYTES_BESIDE_MODEL = 64 << 20


def model_files(folder: Path, origin: str) -> list[Path]:
    """The files of a model directory that a GPT-2 is made of; safetensors before pytorch_model.bin.

    Raises ConfigError for a model that is no GPT-2, CorruptInputError for weights that are cut short.
    """
    found = [folder / name for name in (*CONFIG_FILES, *TOKENIZER_FILES) if (folder / name).is_file()]
    if (folder / "config.json").is_file():
        check_config(folder / "config.json", f"{origin}/config.json")
    if (folder / SAFETENSORS).is_file():
        weights = [folder / SAFETENSORS]
    elif (folder / SAFETENSORS_INDEX).is_file():
        weights = [folder / SAFETENSORS_INDEX, *_shards(folder, origin)]
    elif (folder / PICKLED).is_file():
        weights = [folder / PICKLED]
    else:
        weights = []
        LOG.warning("%s has no weights: `ivr align` and `ivr train` will need a model that has", origin)
    if weights and not (folder / "config.json").is_file():
        raise ConfigError(f"{origin} has weights but no config.json; add the model's own config.json")
    for path in weights:
        if path.suffix == ".safetensors":
            check_safetensors(path, f"{origin}/{path.name}")
        elif path.stat().st_size == 0:
            raise CorruptInputError(f"{origin}/{path.name} is empty; fetch it again")
    return found + weights


def check_config(path: Path, origin: str) -> dict[str, Any]:
    """The model's config.json. Raises ConfigError where the architecture is not GPT-2's, naming what it is."""
    config = read_json(path, origin)
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "gpt2":
        raise ConfigError(f"{origin}: model_type is {kind!r}, this works on 'gpt2' only; choose a GPT-2 model")
    return config


def check_safetensors(path: Path, origin: str) -> None:
    """Raises CorruptInputError unless the file is as long as its header says."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if 2 <= length <= size - 8 else b""
    expected = None
    if header:
        try:
            tensors = _parse_header(header)
            expected = 8 + length + max((end for _, end in tensors), default=0)
        except (ValueError, KeyError, TypeError, AttributeError):
            expected = None
    if expected != size:
        wanted = f"{expected:,} bytes" if expected else "a safetensors file"
        raise CorruptInputError(f"{origin} is cut short or damaged: {size:,} bytes, not {wanted}; fetch it again")


def _parse_header(header: bytes) -> list[tuple[int, int]]:
    """(begin, end) of every tensor in a safetensors header."""
    import json

    rows = json.loads(header)
    return [tuple(row["data_offsets"]) for name, row in rows.items() if name != "__metadata__"]


def _shards(folder: Path, origin: str) -> list[Path]:
    index = read_json(folder / SAFETENSORS_INDEX, f"{origin}/{SAFETENSORS_INDEX}")
    names = sorted(set(index.get("weight_map", {}).values())) if isinstance(index, dict) else []
    missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if missing or not names:
        what = ", ".join(missing) or "every shard"
        raise CorruptInputError(f"{origin}: {SAFETENSORS_INDEX} names files that are not there ({what}); fetch them")
    return [folder / name for name in names]


def lay_in_model(folder: Path, origin: str, target: Path) -> dict[str, Any]:
    """Copy the model in `folder` to `target`, completed and checked, whole or not at all; returns its figures."""
    files = model_files(folder, origin)
    check_free_space(target, sum(path.stat().st_size for path in files))
    with atomic_directory(target) as staging:
        for path in files:
            shutil.copyfile(path, staging / path.name)  # through links: a Hub cache is full of them
        config = check_config(staging / "config.json", origin) if (staging / "config.json").is_file() else {}
        complete_tokenizer(staging, origin, config.get("n_positions"))
        figures = check_sizes(staging, config, origin)
        check_auto_tokenizer(staging, origin)
    return figures


def lay_in_tokenizer(model: Path, target: Path) -> None:
    """Copy the tokenizer files of the base model to a directory of their own."""
    with atomic_directory(target) as staging:
        for name in TOKENIZER_FILES:
            if (model / name).is_file():
                shutil.copyfile(model / name, staging / name)


def check_sizes(folder: Path, config: dict[str, Any], origin: str) -> dict[str, Any]:
    """Figures of a model directory. Raises ConfigError where its tokenizer has ids the model has no row for."""
    tokenizer = load_tokenizer(folder / "tokenizer.json", f"{origin}/tokenizer.json")
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    rows = config.get("vocab_size", 50257 if config else None)
    if rows is not None and max(vocab.values()) >= rows:
        raise ConfigError(
            f"{origin}: the tokenizer has the id {max(vocab.values())}, the model only {rows} rows (vocab_size); "
            "bring the tokenizer that belongs to the model"
        )
    weights = [path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin")]
    return {
        "tokens": len(vocab),
        "model_rows": rows,
        "weights_bytes": sum(path.stat().st_size for path in weights),
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
