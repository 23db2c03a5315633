"""`training/final/`: the trained model, its tokenizer and a card, as Hugging Face loads them."""

import html
import json
from pathlib import Path
from typing import Any

from ivr.artifacts import atomic_directory, write_json, write_text
from ivr.base.companions import BASE_CARD, copy_licence, licence_of
from ivr.base.model_files import SAFETENSORS
from ivr.console import printable
from ivr.embedding.model_directory import copy_tokenizer_files, save_weights, write_generation_config
from ivr.embedding.weights import read_config
from ivr.tokenizer.superwords.pattern import has_superwords

CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [gpt2, gpt2-ivr]
{licence}---

# A GPT-2 model with a reassigned Unigram vocabulary

Made by [gpt2-ivr]: the base model's BPE tokenizer was distilled into a Unigram tokenizer, ids it rarely used were
given to strings of a new domain, their embedding rows were initialised, and the model was fine-tuned.{base_card}{words}

    from transformers import AutoModelForCausalLM, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained("{folder}")
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
        rows = "\n".join(f"| {_shown(what)} | {_shown(value)} |" for what, value in card_rows.items())
        licence = "".join(f"{key}: {value}\n" for key, value in licence_of(staging).items())
        base_card = f" Its base model's own card, licence included, is {BASE_CARD}." * (staging / BASE_CARD).is_file()
        tokenizer = staging / "tokenizer.json"
        words = SUPERWORDS * (tokenizer.is_file() and has_superwords(tokenizer.read_text(encoding="utf-8")))
        card = CARD.format(folder=target.name, rows=rows, licence=licence, base_card=base_card, words=words)
        write_text(staging / "README.md", card)


def _shown(value: Any) -> str:
    """A cell of a Markdown table, whatever it holds."""
    text = f"{value:,.4f}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return html.escape(printable(" ".join(text.split())), quote=False).replace("|", "\\|")
