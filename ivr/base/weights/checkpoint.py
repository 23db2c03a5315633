"""The weights of a GPT-2 directory: found, checked against config.json, made the one file that later stages read."""

import itertools
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.artifacts import atomic_file
from ivr.base.model_files import SAFETENSORS, WeightsChoice
from ivr.base.weights.gpt2_tensors import BUFFER, HEAD, bare_name, loads_as_it_is, saved_name, shapes
from ivr.base.weights.stored_tensors import (
    StoredTensor,
    check_shards,
    read_header,
    read_pickle,
    shard_names,
    write_safetensors,
)
from ivr.base.whole_files import check_whole
from ivr.console import LOG
from ivr.errors import ConfigError, CorruptInputError

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
LAYER = re.compile(r"h\.(\d+)\.")


@dataclass(frozen=True)
class Checkpoint:
    """Weights that fit their config. files: the index first where there is one. tensors: by the names in the files."""

    files: tuple[Path, ...]
    tensors: tuple[StoredTensor, ...]

    @property
    def num_bytes(self) -> int:
        return sum(tensor.num_bytes for tensor in self.tensors)

    @property
    def is_one_file_to_copy(self) -> bool:
        """Whether transformers and every stage read the file as it is."""
        return len(self.files) == 1 and self.files[0].suffix == ".safetensors" and self.renamed is None

    @property
    def renamed(self) -> dict[str, str] | None:
        """Name in the files -> name that transformers gives it; None where it loads the names as they are."""
        names = [tensor.name for tensor in self.tensors]
        bare = {name: bare_name(name) for name in names}
        prefixed = {name == saved_name(bare[name]) for name in names if saved_name(bare[name]) != bare[name]}
        if len(prefixed) < 2 and all(loads_as_it_is(name) for name in names):
            return None
        return {name: saved_name(bare[name]) for name in names}


def weight_files(folder: Path, choice: WeightsChoice, origin: str) -> tuple[Path, ...]:
    """The file, or the index and its shards, all there and with something in them. Raises CorruptInputError."""
    main = folder / choice.name
    check_whole(main, f"{origin}/{choice.name}")
    return (main, *check_shards(main, origin)) if choice.is_index else (main,)


def read_checkpoint(folder: Path, choice: WeightsChoice, config: Mapping[str, Any], origin: str) -> Checkpoint:
    """Read names, dtypes and shapes and compare them with the config's. Raises ConfigError or CorruptInputError."""
    files = weight_files(folder, choice, origin)
    parts = files[1:] if choice.is_index else files
    tensors: list[StoredTensor] = []
    for path in parts:
        read = read_header if path.suffix == ".safetensors" else read_pickle
        tensors += read(path, f"{origin}/{path.name}")
    if choice.is_index:
        _check_index(files[0], tensors, origin)
    _check_fits(tensors, config, f"{origin}/{choice.name}")
    return Checkpoint(files, tuple(tensors))


def write_weights(checkpoint: Checkpoint, target: Path) -> None:
    """Lay the weights into `target` as model.safetensors: the file itself, or one made of what there is."""
    if checkpoint.is_one_file_to_copy:
        shutil.copyfile(checkpoint.files[0], target / SAFETENSORS)  # through links: a Hub cache is full of them
        return
    kept = checkpoint.tensors
    if (names := checkpoint.renamed) is not None:
        LOG.info("weights: names like %s become those that transformers gives (%s)", *next(iter(names.items())))
        kept = tuple(tensor.renamed(names[tensor.name]) for tensor in kept)
    LOG.info("weights: %s become one %s", ", ".join(path.name for path in checkpoint.files), SAFETENSORS)
    with atomic_file(target / SAFETENSORS, "wb") as stream:
        write_safetensors(stream, kept)


def _check_index(index: Path, tensors: Sequence[StoredTensor], origin: str) -> None:
    named = shard_names(index, f"{origin}/{index.name}")
    missing = sorted(set(named) - {tensor.name for tensor in tensors})
    if missing:
        raise CorruptInputError(
            f"{origin}: {index.name} names {missing[0]}, which no shard holds ({len(missing)} missing in all); "
            "fetch the model again"
        )


def _check_fits(tensors: Sequence[StoredTensor], config: Mapping[str, Any], origin: str) -> None:
    """All tensors of the config's GPT-2, once, in their shapes, as floating-point numbers; a head if it is untied."""
    by_name: dict[str, StoredTensor] = {}
    for tensor in tensors:
        bare = bare_name(tensor.name)
        if bare in by_name:
            raise CorruptInputError(
                f"{origin} holds {by_name[bare].name} and {tensor.name}, which are one tensor of a GPT-2; "
                "leave one of them out"
            )
        by_name[bare] = tensor
    _refuse_changed_weights(by_name, config, origin)
    expected = dict(shapes(config, origin))
    _check_layers(by_name, expected, origin)
    if HEAD in by_name:
        expected[HEAD] = expected["wte.weight"]
    elif not config.get("tie_word_embeddings", True):
        raise CorruptInputError(
            f"{origin} has no {HEAD}, and config.json says tie_word_embeddings false; fetch the whole model, or set it "
            "to true where the head is the embedding matrix"
        )
    missing = [name for name in expected if name not in by_name]
    if missing:
        raise CorruptInputError(
            f"{origin} lacks {missing[0]} of a GPT-2 as config.json describes it ({len(missing)} of {len(expected)} "
            "tensors are missing); bring the whole model"
        )
    for name, shape in expected.items():
        tensor = by_name[name]
        if tensor.shape != shape:
            raise CorruptInputError(f"{origin}: {_shape_differs(tensor, name, shape)}")
        if tensor.dtype not in FLOATS:
            raise ConfigError(f"{origin}: {tensor.name} is stored as {tensor.dtype}; bring floating-point weights")
    if HEAD in by_name and config.get("tie_word_embeddings", True):
        _check_tied(by_name[HEAD], by_name["wte.weight"], origin)
    unused = [tensor.name for name, tensor in by_name.items() if name not in expected and not BUFFER.fullmatch(name)]
    if unused:
        LOG.info("%s: %d tensors are no part of a language model (%s)", origin, len(unused), unused[0])


def _refuse_changed_weights(by_name: Mapping[str, StoredTensor], config: Mapping[str, Any], origin: str) -> None:
    if config.get("quantization_config"):
        raise ConfigError(f"{origin} is quantised (quantization_config in config.json); bring the model before that")
    adapted = next((tensor.name for name, tensor in by_name.items() if "lora_" in name), None)
    if adapted is not None:
        raise ConfigError(
            f"{origin} holds an adapter that is not merged ({adapted}); merge it (peft: model.merge_and_unload())"
        )


def _check_layers(by_name: Mapping[str, StoredTensor], expected: Mapping[str, Any], origin: str) -> None:
    """Layers beyond the config's would be left out in silence."""
    stored, stated = (
        1 + max((int(match[1]) for name in names if (match := LAYER.match(name))), default=-1)
        for names in (by_name, expected)
    )
    if stored > stated:
        raise CorruptInputError(
            f"{origin} has {stored} layers, config.json says n_layer {stated}; bring the config.json of these weights"
        )


def _shape_differs(tensor: StoredTensor, name: str, expected: tuple[int, ...]) -> str:
    stated = " x ".join(map(str, expected))
    there = " x ".join(map(str, tensor.shape)) or "one number"
    key = {"wte.weight": "vocab_size", HEAD: "vocab_size", "wpe.weight": "n_positions"}.get(name)
    if key and len(tensor.shape) == 2 and tensor.shape[1] == expected[1]:
        return (
            f"config.json says {key} {expected[0]}, {tensor.name} has {tensor.shape[0]} rows; set {key} to "
            f"{tensor.shape[0]} in config.json, or bring the weights that belong to it"
        )
    return f"{tensor.name} is {there}, and {stated} by config.json; bring the config.json of these weights"


def _check_tied(head: StoredTensor, wte: StoredTensor, origin: str) -> None:
    """A tied head that is stored as well must be the matrix: versions of transformers differ in which they take."""
    same = head.dtype == wte.dtype and all(
        one == other for one, other in itertools.zip_longest(head.read(), wte.read(), fillvalue=b"")
    )
    if not same:
        raise CorruptInputError(
            f"{origin}: tie_word_embeddings is true, but {head.name} differs from {wte.name}; set tie_word_embeddings "
            "to false in config.json, or delete the tensor"
        )
