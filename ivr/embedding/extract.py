"""The `.pt` files: one tensor each, beside a `.json` that says what it is.

`torch.save` names the folder inside its archive after the file it writes to; writing to something without a name makes
the bytes depend on the tensor alone.
"""

import hashlib
from pathlib import Path
from typing import IO, Any

import torch

from ivr.disk.writer import atomic_file, write_json


def tensor_sha256(tensor: torch.Tensor) -> str:
    """Hex sha256 of the tensor's values as they lie in memory (C order, little endian)."""
    values = tensor.detach().contiguous().reshape(-1)
    return hashlib.sha256(values.view(torch.uint8).numpy().data if values.numel() else b"").hexdigest()


def save_tensor(path: Path, tensor: torch.Tensor, facts: dict[str, Any]) -> list[Path]:
    """Write `path` (loads with `torch.load(path, weights_only=True)`) and its `.json`; returns both paths."""
    tensor = tensor.detach().contiguous()
    if tensor.untyped_storage().nbytes() != tensor.nbytes:
        tensor = tensor.clone()  # a view of a larger storage would be saved with all of it
    with atomic_file(path, "wb") as stream:
        torch.save(tensor, _OnlyBytes(stream))
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


class _OnlyBytes:
    """A stream without its name."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.write, self.flush = stream.write, stream.flush
