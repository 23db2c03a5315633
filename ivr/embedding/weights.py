"""Reading a model directory at the level of tensors: no model object, no dtype change.

Every form of weights that `ivr init` takes is read (ivr/base/weights); names that only a training wrapper gave become
those of transformers. Tensors are memory-mapped where the format allows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ivr.base.model_directory import check_config, file_names
from ivr.base.model_files import PICKLED, SAFETENSORS, check_names
from ivr.base.weights.checkpoint import read_checkpoint
from ivr.base.weights.layout import Layout, layout_of
from ivr.base.weights.stored_tensors import load_pickle
from ivr.errors import ConfigError, CorruptInputError


@dataclass(frozen=True)
class EmbeddingNames:
    """The names in one checkpoint of the tensors that hold rows of tokens or positions.

    input: the input embeddings (GPT-2's wte). positions: learned positions (wpe); None where the model computes them.
    output: the output embeddings, or head; None where they are the input embeddings. output_bias: a number a token,
    added to its logit; None where there is none.
    """

    input: str
    positions: str | None = None
    output: str | None = None
    output_bias: str | None = None


def read_config(model_dir: Path) -> dict[str, Any]:
    """`config.json` of a model directory. Raises ConfigError where it is none of a causal language model."""
    path = model_dir / "config.json"
    if not path.is_file():
        raise ConfigError(
            f"{model_dir} is no model directory (no config.json); "
            "`ivr init --model-name NAME` makes one, --model-name takes any local one"
        )
    return check_config(path, str(path))


def read_layout(model_dir: Path) -> Layout:
    """What the weights of a model directory are by its config.json. Raises ConfigError."""
    return layout_of(read_config(model_dir), str(model_dir))


def read_state(model_dir: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the model, by a name that transformers loads it by. Raises CorruptInputError or ConfigError.

    A head that is tied to the input embeddings and stored all the same is left out, as `save_pretrained` does.
    """
    choice = check_names(file_names(model_dir), str(model_dir))
    if choice is None:
        raise CorruptInputError(
            f"{model_dir} holds no weights: neither {SAFETENSORS} nor {PICKLED}, nor an index of shards of either"
        )
    checkpoint = read_checkpoint(model_dir, choice, read_config(model_dir), str(model_dir))
    state: dict[str, torch.Tensor] = {}
    for path in checkpoint.files[1:] if choice.is_index else checkpoint.files:
        state |= _load_safetensors(path) if path.suffix == ".safetensors" else load_pickle(path, str(path))
    names = checkpoint.renamed or {name: name for name in state}
    return without_copies({names[name]: tensor for name, tensor in state.items()}, checkpoint.layout)


def without_copies(state: Mapping[str, torch.Tensor], layout: Layout) -> dict[str, torch.Tensor]:
    """`state` without tensors that are another one of it: a tied head. Loading ties them again."""
    return {name: tensor for name, tensor in state.items() if layout.bare(name) not in layout.tied}


def embedding_names(state: Mapping[str, torch.Tensor], layout: Layout) -> EmbeddingNames:
    """By which names the rows are stored: with transformers' prefix, without, or by an older name.

    `read_state` has seen that all of them are there.

    >>> from ivr.base.weights.layout import layout_of
    >>> embedding_names({"wte.weight": None, "wpe.weight": None}, layout_of({"model_type": "gpt2"}, "here"))
    EmbeddingNames(input='wte.weight', positions='wpe.weight', output=None, output_bias=None)
    """
    stored = {layout.bare(name): name for name in state}
    wanted = (layout.positions, layout.output, layout.output_bias)
    return EmbeddingNames(stored[layout.input], *(None if name is None else stored[name] for name in wanted))


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return dict(load_file(path))
    except (SafetensorError, ValueError) as error:
        raise CorruptInputError(f"{path} is not a whole safetensors file: {error}") from None
