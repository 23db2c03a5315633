"""`training/final/`: the trained model, its tokenizer and a card, as Hugging Face loads them."""

from pathlib import Path
from typing import Any

from ivr.artifacts import atomic_directory, write_json, write_text
from ivr.base.companions import copy_licence
from ivr.base.model_files import CARD, SAFETENSORS
from ivr.card.facts import CardFacts
from ivr.card.model_card import model_card
from ivr.embedding.model_directory import copy_tokenizer_files, save_weights, write_generation_config
from ivr.embedding.weights import read_config


def write_final(target: Path, source_dir: Path, state: dict[str, Any], facts: CardFacts) -> None:
    """Replace `target` by the weights `state` (whole, on the CPU) with the config and tokenizer of `source_dir`.

    `facts`: what the card says; `ivr report` writes it anew when there are more.
    """
    config = read_config(source_dir)
    dtypes = {str(tensor.dtype).removeprefix("torch.") for tensor in state.values()}
    for key in ("dtype", "torch_dtype"):
        if key in config and len(dtypes) == 1:
            config[key] = next(iter(dtypes))
    with atomic_directory(target) as staging:
        save_weights(staging / SAFETENSORS, state, tied=config.get("tie_word_embeddings", True))
        write_json(staging / "config.json", config)
        write_generation_config(staging / "generation_config.json", source_dir, config)
        copy_tokenizer_files(source_dir, staging, source_dir)
        copy_licence(source_dir, staging)
        write_text(staging / CARD, model_card(staging, facts))
