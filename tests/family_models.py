"""Tiny random models of the families that people bring: two layers, a row for each id of a tokenizer and a few more."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from builders import bpe_tokenizer, save_tokenizer
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

PADDING_ROWS = 5
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "intermediate_size": 48,
}


@dataclass(frozen=True)
class Family:
    """A model_type of transformers, whether its head is tied, how it is stored, and what its config has besides."""

    kind: str
    tied: bool = True
    learned_positions: bool = False
    dtype: torch.dtype = torch.float32
    more: dict[str, Any] = field(default_factory=dict)


FAMILIES = {
    "GPT-2": Family("gpt2", learned_positions=True),
    "GPT-NeoX": Family("gpt_neox", tied=False),
    "OPT": Family("opt", learned_positions=True, more={"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0}),
    "GPT-BigCode": Family("gpt_bigcode", learned_positions=True),
    "Llama": Family("llama", tied=False, dtype=torch.bfloat16, more={"num_key_value_heads": 2}),
    "SmolLM2": Family("llama", more={"num_key_value_heads": 2}),
    "Qwen2": Family("qwen2", tied=False, more={"num_key_value_heads": 2}),
    "Qwen3": Family("qwen3", more={"num_key_value_heads": 2, "head_dim": 16}),
    "OLMo 2": Family("olmo2", tied=False),
    "Phi": Family("phi", tied=False),  # its head has a bias
}


def make_model(name: str, vocab_size: int) -> Any:
    """A model of that family, in its dtype, seeded."""
    family = FAMILIES[name]
    torch.manual_seed(0)
    ends = {"bos_token_id": vocab_size - 1, "eos_token_id": vocab_size - 1, "pad_token_id": None}
    rows = vocab_size + PADDING_ROWS
    settings = {**SIZES, **ends, "vocab_size": rows, "tie_word_embeddings": family.tied, **family.more}
    config = CONFIG_MAPPING[family.kind].from_dict(settings)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms that begin at 0 and 1 would show no mistake
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.to(family.dtype)


def write_family(folder: Path, name: str) -> Path:
    """A model directory of that family with the small BPE."""
    tokenizer = bpe_tokenizer()
    make_model(name, tokenizer.get_vocab_size()).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder
