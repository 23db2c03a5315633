"""Reading a GPT-2 model directory at the level of tensors: no model object, no dtype change.

Every form of weights that `ivr init` takes is read (ivr/base/weights); names that only a training wrapper gave become
those of transformers. Tensors are memory-mapped where the format allows it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ivr.base.model_directory import check_config, file_names
from ivr.base.model_files import PICKLED, SAFETENSORS, check_names
from ivr.base.weights.checkpoint import read_checkpoint
from ivr.base.weights.stored_tensors import load_pickle
from ivr.errors import ConfigError, CorruptInputError


@dataclass(frozen=True)
class EmbeddingNames:
    """The names of the embedding tensors in one checkpoint. `head` is None where the head is tied to `wte`."""

    wte: str
    wpe: str
    head: str | None


def read_config(model_dir: Path) -> dict[str, Any]:
    """`config.json` of a GPT-2 model directory. Raises ConfigError where it is none."""
    path = model_dir / "config.json"
    if not path.is_file():
        raise ConfigError(
            f"{model_dir} is no model directory (no config.json); "
            "`ivr init --model-name NAME` makes one, --model-name takes any local one"
        )
    return check_config(path, str(path))


def read_state(model_dir: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the model, by the name that transformers loads it by. Raises CorruptInputError or ConfigError."""
    choice = check_names(file_names(model_dir), str(model_dir))
    if choice is None:
        raise CorruptInputError(
            f"{model_dir} holds no weights: neither {SAFETENSORS} nor {PICKLED}, nor an index of shards of either"
        )
    checkpoint = read_checkpoint(model_dir, choice, read_config(model_dir), str(model_dir))
    state: dict[str, torch.Tensor] = {}
    for path in checkpoint.files[1:] if choice.is_index else checkpoint.files:
        state |= _load_safetensors(path) if path.suffix == ".safetensors" else load_pickle(path, str(path))
    names = checkpoint.renamed
    return state if names is None else {names[name]: tensor for name, tensor in state.items()}


def embedding_names(state: dict[str, torch.Tensor], config: dict[str, Any], model_dir: Path) -> EmbeddingNames:
    """Find wte, wpe and an untied head. Hub files of GPT-2 lack the prefix `transformer.`, saved models have it.

    `read_state` has seen that a head that is tied is the matrix itself, and that one that is not is there.
    """
    prefix = "transformer." if "transformer.wte.weight" in state else ""
    head = "lm_head.weight" if not config.get("tie_word_embeddings", True) else None
    missing = [name for name in (f"{prefix}wte.weight", f"{prefix}wpe.weight", head) if name and name not in state]
    if missing:
        raise CorruptInputError(f"{model_dir}: the weights hold no {missing[0]}; bring the whole model")
    return EmbeddingNames(f"{prefix}wte.weight", f"{prefix}wpe.weight", head)


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return dict(load_file(path))
    except (SafetensorError, ValueError) as error:
        raise CorruptInputError(f"{path} is not a whole safetensors file: {error}") from None
