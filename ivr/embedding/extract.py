"""The `.pt` files: one tensor each, beside a `.json` that says what it is.

`torch.save` names the folder inside its archive after the file it writes to; saving to memory first makes the bytes
depend on the tensor alone.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from ivr.artifacts import atomic_file, write_json


def tensor_sha256(tensor: torch.Tensor) -> str:
    """Hex sha256 of the tensor's values as they lie in memory (C order, little endian)."""
    values = tensor.detach().contiguous().reshape(-1)
    return hashlib.sha256(values.view(torch.uint8).numpy().data if values.numel() else b"").hexdigest()


def save_tensor(path: Path, tensor: torch.Tensor, facts: dict[str, Any]) -> list[Path]:
    """Write `path` (loads with `torch.load(path, weights_only=True)`) and its `.json`; returns both paths."""
    memory = io.BytesIO()
    # a view of a larger storage would be saved with all of it
    torch.save(tensor.detach().contiguous().clone(), memory)
    with atomic_file(path, "wb") as stream:
        stream.write(memory.getbuffer())
    described = path.with_suffix(".json")
    write_json(
        described,
        {
            "file": path.name,
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "sha256_of_values": tensor_sha256(tensor),
            **facts,
        },
    )
    return [path, described]
