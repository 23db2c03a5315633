"""The weights of a model directory: found, checked against config.json, made the one file that later stages read."""

import itertools
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.base.model_files import SAFETENSORS, WeightsChoice
from ivr.base.weights.layout import Layout, layout_of
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
from ivr.disk.writer import atomic_file
from ivr.errors import ConfigError, CorruptInputError

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
LAYER = re.compile(r"(?:[A-Za-z_]\w*\.)+?(\d+)\.")  # h.3.ln_1.bias, decoder.layers.3.fc1.weight
# masks and the like that old checkpoints store; no weights
MASK = re.compile(r".*\.(?:attn|attention|crossattention)\.(?:masked_)?bias|.*\.inv_freq")


@dataclass(frozen=True)
class Checkpoint:
    """Weights that fit their config. files: the index first where there is one. tensors: by the names in the files."""

    files: tuple[Path, ...]
    tensors: tuple[StoredTensor, ...]
    layout: Layout

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
        saved = {name: self.layout.saved(self.layout.bare(name)) for name in names}
        has_prefix = {self.layout.renamed(name) == saved[name] for name in names if self._has_prefix(saved[name])}
        return None if len(has_prefix) < 2 and all(map(self.layout.loads_as, names)) else saved

    def _has_prefix(self, saved: str) -> bool:
        return saved != self.layout.bare(saved)


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
    layout = layout_of(config, f"{origin}/config.json")
    _check_fits(tensors, layout, f"{origin}/{choice.name}")
    return Checkpoint(files, tuple(tensors), layout)


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


def _check_fits(tensors: Sequence[StoredTensor], layout: Layout, origin: str) -> None:
    """All tensors of the config's model, once, in their shapes, as floating-point numbers; a head if it is untied."""
    by_name: dict[str, StoredTensor] = {}
    for tensor in tensors:
        bare = layout.bare(tensor.name)
        if bare in by_name:
            raise CorruptInputError(
                f"{origin} holds {by_name[bare].name} and {tensor.name}, which are one tensor of the model; "
                "leave one of them out"
            )
        by_name[bare] = tensor
    _refuse_adapters(by_name, origin)
    _check_layers(by_name, layout, origin)
    missing = [name for name in layout.shapes if name not in by_name]
    if missing == [layout.output]:
        raise CorruptInputError(
            f"{origin} has no {layout.output}, and by config.json the head is a matrix of its own "
            "(tie_word_embeddings is false); fetch the whole model, or set it to true where the head is the embedding "
            "matrix"
        )
    if missing:
        raise CorruptInputError(
            f"{origin} lacks {missing[0]} of a {layout.kind} as config.json describes it ({len(missing)} of "
            f"{len(layout.shapes)} tensors are missing); bring the whole model"
        )
    expected = {**layout.shapes, **{copy: layout.shapes[of] for copy, of in layout.tied.items() if copy in by_name}}
    for name, shape in expected.items():
        tensor = by_name[name]
        if tensor.shape != shape:
            raise CorruptInputError(f"{origin}: {_shape_differs(tensor, name, shape, layout)}")
        if tensor.dtype not in FLOATS:
            raise ConfigError(f"{origin}: {tensor.name} is stored as {tensor.dtype}; bring floating-point weights")
    for copy, of in layout.tied.items():
        if copy in by_name:
            _check_tied(by_name[copy], by_name[of], origin)
    unused = [tensor.name for name, tensor in by_name.items() if name not in expected and not MASK.fullmatch(name)]
    if unused:
        LOG.info("%s: %d tensors are no part of a language model (%s)", origin, len(unused), unused[0])


def _refuse_adapters(by_name: Mapping[str, StoredTensor], origin: str) -> None:
    adapted = next((tensor.name for name, tensor in by_name.items() if "lora_" in name), None)
    if adapted is not None:
        raise ConfigError(
            f"{origin} holds an adapter that is not merged ({adapted}); merge it (peft: model.merge_and_unload())"
        )


def _check_layers(by_name: Mapping[str, Any], layout: Layout, origin: str) -> None:
    """Layers beyond the config's would be left out in silence."""
    stored, stated = (
        1 + max((int(match[1]) for name in names if (match := LAYER.match(name))), default=-1)
        for names in (by_name, layout.shapes)
    )
    if stored > stated:
        raise CorruptInputError(
            f"{origin} has {stored} layers, config.json says {layout.said('num_hidden_layers')} {stated}; bring the "
            "config.json of these weights"
        )


def _shape_differs(tensor: StoredTensor, name: str, expected: tuple[int, ...], layout: Layout) -> str:
    stated = " x ".join(map(str, expected))
    there = " x ".join(map(str, tensor.shape)) or "one number"
    sizes = {layout.input: ("vocab_size", layout.rows), layout.positions: ("max_position_embeddings", layout.context)}
    sizes |= dict.fromkeys((layout.output, *layout.tied), sizes[layout.input])
    key, size = sizes.get(name, ("", None))
    if size == expected[0] and tensor.shape[1:] == expected[1:]:
        key, rows = layout.said(key), tensor.shape[0]
        return (
            f"config.json says {key} {size}, {tensor.name} has {rows} rows; set {key} to {rows} in config.json, or "
            "bring the weights that belong to it"
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
