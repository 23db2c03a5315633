"""A Llama in a GGUF file, made into a model directory: float32 weights, config, tokenizer."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ivr.base.model_files import CARD, CHAT_TEMPLATE, SAFETENSORS
from ivr.base.pretrained.gguf_file import GgufFile
from ivr.corpus.document_end import KEY
from ivr.disk.writer import write_json, write_text
from ivr.errors import ConfigError

OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
IN_LAYER = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
CONTROL = 3  # GGUF's type of a token that is no text
PRE_TOKENIZERS = {"smollm": "digits one by one, then GPT-2's pattern"}


def write_directory(gguf: GgufFile, target: Path, document_end: str) -> None:
    """Write config.json, model.safetensors, the tokenizer's files and a card into the empty directory `target`.

    document_end: the token that parted documents in pretraining; a model tuned for chats names another as its
    eos_token. Raises ConfigError for a file that is no Llama, or whose pre-tokenizer is not known here.
    """
    from safetensors.numpy import save_file

    kind, pre = gguf.metadata.get("general.architecture"), gguf.metadata.get("tokenizer.ggml.pre")
    if kind != "llama" or pre not in PRE_TOKENIZERS:
        raise ConfigError(f"{gguf.path}: a {kind} with the pre-tokenizer {pre!r}; a llama with 'smollm' is read")
    save_file(dict(weights(gguf)), target / SAFETENSORS, metadata={"format": "pt"})
    (target / SAFETENSORS).chmod(0o644)
    config = llama_config(gguf)
    write_json(target / "config.json", config)
    ids = {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    write_json(target / "generation_config.json", ids)
    _write_tokenizer(gguf, target, document_end)
    card = {"license": gguf.metadata.get("general.license", "unknown"), "language": "en"}
    front = "".join(f"{key}: {value}\n" for key, value in card.items())
    write_text(target / CARD, f"---\n{front}---\n\n# {gguf.metadata.get('general.name', kind)}\n")


def llama_config(gguf: GgufFile) -> dict[str, Any]:
    """config.json as transformers reads it, by the file's metadata."""
    of = gguf.metadata
    width, heads = of["llama.embedding_length"], of["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(of["tokenizer.ggml.tokens"]),
        "hidden_size": width,
        "intermediate_size": of["llama.feed_forward_length"],
        "num_hidden_layers": of["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": of["llama.attention.head_count_kv"],
        "head_dim": of["llama.rope.dimension_count"],
        "max_position_embeddings": of["llama.context_length"],
        "rope_theta": of["llama.rope.freq_base"],
        "rms_norm_eps": round(of["llama.attention.layer_norm_rms_epsilon"], 9),
        "hidden_act": "silu",
        "attention_bias": False,
        "initializer_range": round(1 / math.sqrt(width), 6),
        "tie_word_embeddings": "output.weight" not in gguf.tensors,
        "bos_token_id": of["tokenizer.ggml.bos_token_id"],
        "eos_token_id": of["tokenizer.ggml.eos_token_id"],
        "pad_token_id": of["tokenizer.ggml.padding_token_id"],
        "dtype": "float32",
    }


def weights(gguf: GgufFile) -> Iterator[tuple[str, np.ndarray]]:
    """(name in transformers, float32 values) of every tensor."""
    of = gguf.metadata
    heads = {"attn_q": of["llama.attention.head_count"], "attn_k": of["llama.attention.head_count_kv"]}
    for name in gguf.tensors:
        stem, _, ending = name.rpartition(".")
        if stem.startswith("blk."):
            _, layer, part = stem.split(".", 2)
            values = gguf.read(name)
            if part in heads:
                values = in_halves(values, heads[part])
            yield f"model.layers.{layer}.{IN_LAYER[part]}.{ending}", np.ascontiguousarray(values)
        else:
            yield f"{OUTSIDE[stem]}.{ending}", gguf.read(name)


def in_halves(weight_ND: np.ndarray, heads: int) -> np.ndarray:
    """Rotary positions turn pairs of rows: GGUF has the two of a pair side by side, transformers half a head apart.

    >>> in_halves(np.arange(8).reshape(8, 1), 2).ravel().tolist()
    [0, 2, 1, 3, 4, 6, 5, 7]
    """
    pairs = weight_ND.shape[0] // heads // 2
    return weight_ND.reshape(heads, pairs, 2, -1).swapaxes(1, 2).reshape(weight_ND.shape)


def _write_tokenizer(gguf: GgufFile, target: Path, document_end: str) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    of = gguf.metadata
    tokens, kinds = of["tokenizer.ggml.tokens"], of["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in of["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    write_text(target / "tokenizer.json", tokenizer.to_str(pretty=True) + "\n")
    named = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    special = {name: tokens[of[f"tokenizer.ggml.{key}_token_id"]] for name, key in named.items()}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": of["llama.context_length"]}
    settings |= special | {"clean_up_tokenization_spaces": False, KEY: document_end}
    write_text(target / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")
    if template := of.get("tokenizer.chat_template"):
        write_text(target / CHAT_TEMPLATE, template)
