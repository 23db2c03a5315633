"""A model of GPT-2's kind, small enough to write by hand, without torch."""

import json
import math
import struct
from pathlib import Path

CONFIG = {"model_type": "gpt2", "vocab_size": 259, "n_positions": 32, "n_embd": 4, "n_layer": 1, "n_head": 1}


def tiny_vocab() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """256 bytes, two merges, `<|endoftext|>`."""
    from ivr.base.tokenizer import byte_alphabet

    merges = [("h", "e"), ("Ġ", "he")]
    tokens = [*byte_alphabet(), *("".join(pair) for pair in merges), "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}, merges


def tensor_shapes(num_rows: int = 259) -> dict[str, list[int]]:
    """The tensors of CONFIG's model, named as on the Hub."""
    shapes = {"wte.weight": [num_rows, 4], "wpe.weight": [32, 4], "ln_f.weight": [4], "ln_f.bias": [4]}
    for name, size in (
        ("attn.c_attn", [4, 12]),
        ("attn.c_proj", [4, 4]),
        ("mlp.c_fc", [4, 16]),
        ("mlp.c_proj", [16, 4]),
    ):
        shapes |= {f"h.0.{name}.weight": size, f"h.0.{name}.bias": size[1:]}
    for name in ("ln_1", "ln_2"):
        shapes |= {f"h.0.{name}.weight": [4], f"h.0.{name}.bias": [4]}
    return shapes


def safetensors_bytes(
    num_rows: int = 259, shapes: dict[str, list[int]] | None = None, dtype: str = "F32", size: int = 4
) -> bytes:
    """A safetensors file of zeros: the tiny model's tensors, or others."""
    rows, end = {}, 0
    for name, shape in (shapes or tensor_shapes(num_rows)).items():
        begin, end = end, end + size * math.prod(shape)
        rows[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    header = json.dumps(rows).encode()
    return struct.pack("<Q", len(header)) + header + bytes(end)


def tiny_model_files() -> dict[str, bytes]:
    """config.json, model.safetensors, vocab.json and merges.txt; no tokenizer.json."""
    vocab, merges = tiny_vocab()
    lines = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges)
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors": safetensors_bytes(),
        "vocab.json": json.dumps(vocab).encode(),
        "merges.txt": lines.encode(),
    }


def write_model(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    """Write the files of a model (the tiny one) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (files or tiny_model_files()).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_corpus(folder: Path, num_documents: int = 60) -> Path:
    """A raw corpus of short lines."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lines.txt").write_text("".join(f"line number {number}\n" for number in range(num_documents)))
    return folder
