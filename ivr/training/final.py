"""`training/final/`: the trained model, its tokenizer and a card, as Hugging Face loads them."""

import json
import shutil
from pathlib import Path
from typing import Any

from ivr.artifacts import atomic_directory, write_json, write_text
from ivr.embedding.model_directory import copy_tokenizer_files, save_weights, write_generation_config
from ivr.embedding.weights import SAFETENSORS, read_config

CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [gpt2, gpt2-ivr]
---

# A GPT-2 model with a reassigned Unigram vocabulary

Made by [gpt2-ivr]: the base model's BPE tokenizer was distilled into a Unigram tokenizer, ids it rarely used were
given to strings of a new domain, their embedding rows were initialised, and the model was fine-tuned.

    from transformers import AutoModelForCausalLM, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained("{folder}")
    model = AutoModelForCausalLM.from_pretrained("{folder}")

| | |
|---|---|
{rows}
"""


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
        copy_tokenizer_files(source_dir, staging)
        rows = "\n".join(f"| {what} | {_shown(value)} |" for what, value in card_rows.items())
        write_text(staging / "README.md", CARD.format(folder=target.name, rows=rows))
        for licence in source_dir.glob("LICENSE*"):
            shutil.copyfile(licence, staging / licence.name)


def _shown(value: Any) -> str:
    return f"{value:,.4f}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
