"""`training/final/`: the trained model, its tokenizer and a card, as Hugging Face loads them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ivr.base.auto_tokenizer import PLAIN_CLASS, keeps_plain_class
from ivr.base.companions import copy_licence
from ivr.base.model_directory import file_names
from ivr.base.model_files import CARD, SAFETENSORS, check_names
from ivr.base.weights.checkpoint import read_checkpoint
from ivr.base.weights.layout import Layout, layout_of
from ivr.card.facts import CardFacts
from ivr.card.model_card import model_card
from ivr.disk.writer import atomic_directory, write_json, write_text
from ivr.embedding.model_directory import copy_tokenizer_files, save_weights, write_generation_config
from ivr.embedding.weights import read_config, without_copies


def write_final(target: Path, source_dir: Path, state: dict[str, Any], facts: CardFacts) -> str:
    """Replace `target` by the weights `state` (whole, on the CPU) with the config and tokenizer of `source_dir`.

    `facts`: what the card says; `ivr report` writes it anew when there are more. Returns the class of transformers that
    loads the tokenizer as it stands.
    """
    config = read_config(source_dir)
    layout = layout_of(config, str(source_dir))
    dtypes = {str(tensor.dtype).removeprefix("torch.") for tensor in state.values()}
    for key in ("dtype", "torch_dtype"):
        if key in config and len(dtypes) == 1:
            config[key] = next(iter(dtypes))
    with atomic_directory(target) as staging:
        save_weights(staging / SAFETENSORS, _as_stored(without_copies(state, layout), source_dir, layout))
        write_json(staging / "config.json", config)
        write_generation_config(staging / "generation_config.json", source_dir, config)
        copy_tokenizer_files(source_dir, staging, source_dir)
        copy_licence(source_dir, staging)
        loads = "AutoTokenizer" if keeps_plain_class(layout.kind) else PLAIN_CLASS
        write_text(staging / CARD, model_card(staging, replace(facts, tokenizer_class=loads)))
    return loads


def _as_stored(state: dict[str, Any], source_dir: Path, layout: Layout) -> dict[str, Any]:
    """Tensors that transformers renames at loading get the names back under which the source has them."""
    choice = check_names(file_names(source_dir), str(source_dir))
    assert choice is not None, "a trained model was loaded from there"
    stored = [tensor.name for tensor in read_checkpoint(source_dir, choice, read_config(source_dir), "").tensors]
    older = {layout.saved(layout.bare(name)): name for name in stored if layout.renamed(name) != name}
    return {older.get(name, name): tensor for name, tensor in state.items()}
