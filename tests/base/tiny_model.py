"""A model of GPT-2's kind, small enough to write by hand, without torch."""

import json
import struct
from pathlib import Path

CONFIG = {"model_type": "gpt2", "vocab_size": 259, "n_positions": 32, "n_embd": 4, "n_layer": 1, "n_head": 1}


def tiny_vocab() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """256 bytes, two merges, `<|endoftext|>`."""
    from ivr.base.tokenizer import byte_alphabet

    merges = [("h", "e"), ("Ġ", "he")]
    tokens = [*byte_alphabet(), *("".join(pair) for pair in merges), "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}, merges


def safetensors_bytes(num_rows: int = 259) -> bytes:
    """A safetensors file with one float32 tensor `wte.weight` of zeros."""
    size = num_rows * 4 * 4
    header = json.dumps({"wte.weight": {"dtype": "F32", "shape": [num_rows, 4], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


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
        (folder / name).write_bytes(content)
    return folder


def write_corpus(folder: Path, num_documents: int = 60) -> Path:
    """A raw corpus of short lines."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lines.txt").write_text("".join(f"line number {number}\n" for number in range(num_documents)))
    return folder
