"""Reading a GGUF file (the format of llama.cpp): its metadata, and its tensors as float32.

    "GGUF", version, tensor count, metadata count | metadata | tensor descriptions | padding | tensor data

All numbers are little endian. Of the quantised types those of SmolLM2's file are read: blocks of 32 weights,

    Q8_0: float16 d, 32 int8 q                w = d q
    Q4_1: float16 d, float16 m, 16 bytes q    w = d q + m; low halves of the bytes: q_0..q_15, high: q_16..q_31
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ivr.errors import ConfigError, CorruptInputError

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
BLOCK = 32  # weights of a quantised block


@dataclass(frozen=True)
class GgufTensor:
    """shape: as PyTorch has it, the slowest dimension first. kind: GGUF's number. offset: in the file, in bytes."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True)
class GgufFile:
    """metadata: by its keys, such as "llama.block_count"."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]

    def read(self, name: str) -> np.ndarray:
        """The tensor as float32, in PyTorch's order of dimensions."""
        tensor = self.tensors[name]
        if tensor.kind not in FORMATS:
            raise ConfigError(f"{self.path}: {name} is of GGUF's type {tensor.kind}, which is not read")
        size, decode = FORMATS[tensor.kind]
        count = math.prod(tensor.shape)
        raw = np.fromfile(self.path, np.uint8, size(count), offset=tensor.offset)
        if len(raw) != size(count):
            raise CorruptInputError(f"{self.path} is cut short in {name}; fetch it again")
        return decode(raw).reshape(tensor.shape)


def read_gguf(path: Path) -> GgufFile:
    """What the file holds; values are read when they are asked for. Raises CorruptInputError for what is no GGUF."""
    with path.open("rb") as stream:
        reader = _Reader(stream.read)
        try:
            if reader.take(4) != b"GGUF" or reader.number("<I") not in (2, 3):
                raise ValueError("it does not begin as one")
            num_tensors, num_values = reader.number("<Q"), reader.number("<Q")
            metadata = {}
            for _ in range(num_values):
                key = reader.string()
                metadata[key] = reader.value(reader.number("<I"))
            described = [reader.tensor() for _ in range(num_tensors)]
        except (ValueError, KeyError, struct.error, OverflowError, MemoryError) as error:
            raise CorruptInputError(f"{path} is no GGUF file ({error}); fetch it again") from None
    alignment = metadata.get("general.alignment", 32)
    begin = -(-reader.place // alignment) * alignment
    tensors = {name: GgufTensor(name, shape, kind, begin + offset) for name, shape, kind, offset in described}
    return GgufFile(path, metadata, tensors)


class _Reader:
    """Reads the parts of a header one after another; place: bytes read so far."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read, self.place = read, 0

    def take(self, count: int) -> bytes:
        data = self._read(count)
        if len(data) != count:
            raise ValueError("it is cut short")
        self.place += count
        return data

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self) -> str:
        return self.take(self.number("<Q")).decode()

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            inner, count = self.number("<I"), self.number("<Q")
            return [self.value(inner) for _ in range(count)]
        return self.number(SCALARS[kind])

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self.string()
        dimensions = [self.number("<Q") for _ in range(self.number("<I"))]
        return name, tuple(reversed(dimensions)), self.number("<I"), self.number("<Q")


def _half(blocks_Nb: np.ndarray, place: int) -> np.ndarray:
    """The float16 at that byte of every block, (N, 1) float32."""
    return blocks_Nb[:, place : place + 2].copy().view(np.float16).astype(np.float32)


def _q8_0(raw: np.ndarray) -> np.ndarray:
    blocks_Nb = raw.reshape(-1, 2 + BLOCK)
    return (_half(blocks_Nb, 0) * blocks_Nb[:, 2:].view(np.int8).astype(np.float32)).ravel()


def _q4_1(raw: np.ndarray) -> np.ndarray:
    blocks_Nb = raw.reshape(-1, 4 + BLOCK // 2)
    halves = blocks_Nb[:, 4:]
    quants = np.concatenate([halves & 15, halves >> 4], axis=1).astype(np.float32)
    return (_half(blocks_Nb, 0) * quants + _half(blocks_Nb, 2)).ravel()


# GGUF's number of a type -> (bytes of that many weights, how they are decoded)
FORMATS: dict[int, tuple[Callable[[int], int], Callable[[np.ndarray], np.ndarray]]] = {
    0: (lambda count: 4 * count, lambda raw: raw.view(np.float32)),
    1: (lambda count: 2 * count, lambda raw: raw.view(np.float16).astype(np.float32)),
    3: (lambda count: count // BLOCK * (4 + BLOCK // 2), _q4_1),
    8: (lambda count: count // BLOCK * (2 + BLOCK), _q8_0),
}
