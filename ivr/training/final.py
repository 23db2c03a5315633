"""`training/final/`: the trained model, its tokenizer and a card, as Hugging Face loads them."""

import html
import json
from pathlib import Path
from typing import Any

from ivr.artifacts import atomic_directory, write_json, write_text
from ivr.base.auto_tokenizer import PLAIN_CLASS, keeps_plain_class
from ivr.base.companions import BASE_CARD, copy_licence, licence_of
from ivr.base.model_directory import file_names
from ivr.base.model_files import SAFETENSORS, check_names
from ivr.base.weights.checkpoint import read_checkpoint
from ivr.base.weights.layout import Layout, layout_of
from ivr.console import printable
from ivr.embedding.model_directory import copy_tokenizer_files, save_weights, write_generation_config
from ivr.embedding.weights import read_config, without_copies
from ivr.tokenizer.superwords.pattern import has_superwords

CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [{kind}, gpt2-ivr]
{licence}---

# A {kind} model with a reassigned Unigram vocabulary

Made by [gpt2-ivr]: the base model's BPE tokenizer was distilled into a Unigram tokenizer, ids it rarely used were
given to strings of a new domain, their embedding rows were initialised, and the model was fine-tuned.{base_card}{words}

    from transformers import AutoModelForCausalLM, {tokenizer_class}
    tokenizer = {tokenizer_class}.from_pretrained("{folder}")
    model = AutoModelForCausalLM.from_pretrained("{folder}")

| | |
|---|---|
{rows}
"""
SUPERWORDS = """

Some new tokens span several words (` of the`). A prompt that ends inside one (`... of`) is encoded otherwise than the
whole text would be, which the model has seldom seen: end prompts where a sentence or a line ends, or before a word that
is less common."""


def write_final(target: Path, source_dir: Path, state: dict[str, Any], card_rows: dict[str, Any]) -> None:
    """Replace `target` by the weights `state` (whole, on the CPU) with the config and tokenizer of `source_dir`."""
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
        rows = "\n".join(f"| {_shown(what)} | {_shown(value)} |" for what, value in card_rows.items())
        licence = "".join(f"{key}: {value}\n" for key, value in licence_of(staging).items())
        base_card = f" Its base model's own card, licence included, is {BASE_CARD}." * (staging / BASE_CARD).is_file()
        tokenizer = staging / "tokenizer.json"
        words = SUPERWORDS * (tokenizer.is_file() and has_superwords(tokenizer.read_text(encoding="utf-8")))
        loads = "AutoTokenizer" if keeps_plain_class(layout.kind) else PLAIN_CLASS
        names = {"folder": target.name, "kind": layout.kind, "tokenizer_class": loads}
        card = CARD.format(**names, rows=rows, licence=licence, base_card=base_card, words=words)
        write_text(staging / "README.md", card)


def _as_stored(state: dict[str, Any], source_dir: Path, layout: Layout) -> dict[str, Any]:
    """Tensors that transformers renames at loading get the names back under which the source has them."""
    choice = check_names(file_names(source_dir), str(source_dir))
    assert choice is not None, "a trained model was loaded from there"
    stored = [tensor.name for tensor in read_checkpoint(source_dir, choice, read_config(source_dir), "").tensors]
    older = {layout.saved(layout.bare(name)): name for name in stored if layout.renamed(name) != name}
    return {older.get(name, name): tensor for name, tensor in state.items()}


def _shown(value: Any) -> str:
    """A cell of a Markdown table, whatever it holds."""
    text = f"{value:,.4f}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return html.escape(printable(" ".join(text.split())), quote=False).replace("|", "\\|")
