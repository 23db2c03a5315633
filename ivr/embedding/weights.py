"""Reading a GPT-2 model directory at the level of tensors: no model object, no dtype change, no renaming.

Weights may be `model.safetensors`, shards with an index, or `pytorch_model.bin` (whole or sharded; loaded with
`weights_only=True`). Tensors are memory-mapped where the format allows it.
"""

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ivr.errors import ConfigError, CorruptInputError

SAFETENSORS, BIN = "model.safetensors", "pytorch_model.bin"


@dataclass(frozen=True)
class EmbeddingNames:
    """The names of the embedding tensors in one checkpoint. `head` is None where the head is tied to `wte`."""

    wte: str
    wpe: str
    head: str | None


def read_config(model_dir: Path) -> dict[str, Any]:
    """`config.json` of a GPT-2 model directory. Raises ConfigError where it is none."""
    path = model_dir / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{model_dir} is no model directory (no config.json); "
            "`ivr init --model-name NAME` makes one, --model-name takes any local one"
        ) from None
    except ValueError as error:
        raise CorruptInputError(f"{path} is not JSON: {error}") from None
    if not isinstance(config, dict) or config.get("model_type") != "gpt2":
        found = config.get("model_type") if isinstance(config, dict) else None
        raise ConfigError(f"{path}: model_type is {found!r}; only the GPT-2 architecture ('gpt2') can be aligned")
    return config


def read_state(model_dir: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the model, by the name it has in the file(s). Raises CorruptInputError."""
    for name, load in ((SAFETENSORS, _load_safetensors), (BIN, _load_bin)):
        if (model_dir / name).is_file():
            return load(model_dir / name)
        index = model_dir / f"{name}.index.json"
        if index.is_file():
            return _load_shards(index, load)
    raise CorruptInputError(
        f"{model_dir} holds no weights: neither {SAFETENSORS} nor {BIN}, nor an index of shards of either"
    )


def embedding_names(state: dict[str, torch.Tensor], config: dict[str, Any], model_dir: Path) -> EmbeddingNames:
    """Find wte, wpe and an untied head. Hub files of GPT-2 lack the prefix `transformer.`, saved models have it."""
    wte, wpe = _one_name(state, "wte.weight", model_dir), _one_name(state, "wpe.weight", model_dir)
    tied = config.get("tie_word_embeddings", True)
    head = "lm_head.weight" if "lm_head.weight" in state else None
    if not tied and head is None:
        raise CorruptInputError(f"{model_dir}: tie_word_embeddings is false, but the weights hold no lm_head.weight")
    if tied and head is not None:
        if not torch.equal(state[head], state[wte]):
            # transformers loads such a model untied, whatever its config says: neither answer would be the right one
            raise CorruptInputError(
                f"{model_dir}: tie_word_embeddings is true, but lm_head.weight differs from {wte}; "
                "set tie_word_embeddings to false in config.json, or delete the tensor"
            )
        head = None
    return EmbeddingNames(wte, wpe, head)


def _one_name(state: dict[str, torch.Tensor], suffix: str, model_dir: Path) -> str:
    found = [name for name in (suffix, f"transformer.{suffix}") if name in state]
    if len(found) != 1:
        raise CorruptInputError(f"{model_dir}: the weights hold {len(found)} tensors called {suffix}, expected one")
    return found[0]


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return dict(load_file(path))
    except (SafetensorError, ValueError) as error:
        raise CorruptInputError(f"{path} is not a whole safetensors file: {error}") from None


def _load_bin(path: Path) -> dict[str, torch.Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        first_line = str(error).strip().split("\n")[0]
        raise CorruptInputError(f"{path} cannot be loaded as plain weights: {first_line}") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CorruptInputError(f"{path} is not a mapping from names to tensors")
    return dict(state)


def _load_shards(index: Path, load: Callable[[Path], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = sorted(set(weight_map.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptInputError(f"{index} is not an index of shards ({error!r})") from None
    state: dict[str, torch.Tensor] = {}
    for shard in shards:
        path = index.parent / shard
        if not path.is_file():
            raise CorruptInputError(f"{index} names the shard {shard}, which is not there")
        state |= load(path)
    missing = sorted(set(weight_map) - set(state))
    if missing:
        raise CorruptInputError(f"{index} names {missing[0]}, which no shard holds ({len(missing)} missing in all)")
    return state
