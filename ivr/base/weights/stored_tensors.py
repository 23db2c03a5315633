"""The tensors in a model's weights: name, dtype and shape of each, and its bytes when they are asked for.

A safetensors file tells the first three in its header. A pickle is loaded for them, as plain tensors only: whatever
asks for code is refused. Either way they can be written into one safetensors file, a piece at a time.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from ivr.base.tokenizer import read_json
from ivr.base.whole_files import check_whole
from ivr.errors import ConfigError, CorruptInputError

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "C64": 8, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip
LARGEST_HEADER_BYTES = 100_000_000  # the format's own limit
CHUNK_BYTES = 1 << 22
TENSOR_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]{1,1000}")
FORBIDDEN = re.compile(r"(?:GLOBAL|global|class|function) ([\w.]+)")


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file. dtype: safetensors' word for it, such as F32. read: its bytes, in C order, in pieces."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    read: Callable[[], Iterator[bytes]]

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    def renamed(self, name: str) -> "StoredTensor":
        return replace(self, name=name)


def read_header(path: Path, origin: str) -> list[StoredTensor]:
    """The tensors of a safetensors file. Raises CorruptInputError unless it is as long, and as tidy, as it says."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if 2 <= length <= min(size - 8, LARGEST_HEADER_BYTES) else b""
    try:
        rows = json.loads(header)
        rows.pop("__metadata__", None)
        places = sorted((*row["data_offsets"], name) for name, row in rows.items())
        end = max((end for _, end, _ in places), default=0)
        expected = 8 + length + end if isinstance(end, int) else None
        unknown = {name: row["dtype"] for name, row in rows.items() if row["dtype"] not in ITEM_BYTES}
        tensors, before = [], 0
        for begin, end, name in places:
            shape = tuple(rows[name]["shape"])
            tensor = _of_file(path, name, rows[name]["dtype"], shape, 8 + length + begin)
            if not all(isinstance(number, int) and number >= 0 for number in (begin, end, *shape)):
                raise ValueError("a place or shape that is none")
            if begin != before or (name not in unknown and end - begin != tensor.num_bytes):
                raise ValueError("places that do not fit the shapes")
            tensors.append(tensor)
            before = end
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        expected = None
    if expected != size:
        wanted = f"{expected:,} bytes" if expected else "a safetensors file"
        raise CorruptInputError(f"{origin} is cut short or damaged: {size:,} bytes, not {wanted}; fetch it again")
    check_tensor_names((tensor.name for tensor in tensors), origin)
    for name, dtype in unknown.items():
        raise ConfigError(f"{origin}: {name} is stored as {ascii(dtype)[:40]}; bring floating-point weights")
    return tensors


def _of_file(path: Path, name: str, dtype: str, shape: tuple[int, ...], begin: int) -> StoredTensor:
    def read() -> Iterator[bytes]:
        left = tensor.num_bytes
        with path.open("rb") as stream:
            stream.seek(begin)
            while left:
                chunk = stream.read(min(left, CHUNK_BYTES))
                if not chunk:
                    raise CorruptInputError(f"{path} became shorter while it was read; fetch it again")
                left -= len(chunk)
                yield chunk

    tensor = StoredTensor(name, dtype, shape, path, read)
    return tensor


def check_tensor_names(names: Iterable[str], origin: str) -> None:
    """Raises CorruptInputError for a name that no program gives a tensor: libraries print such names as they are."""
    for name in names:
        if not isinstance(name, str) or not TENSOR_NAME.fullmatch(name):
            raise CorruptInputError(f"{origin} holds a tensor called {ascii(name)[:80]}; fetch it again")


def load_pickle(path: Path, origin: str) -> dict[str, Any]:
    """The torch tensors of a PyTorch pickle by name. Raises CorruptInputError where it is more, or less, than that."""
    import torch

    try:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            content = torch.load(path, map_location="cpu", weights_only=True)  # as torch wrote it before 1.6
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # what bytes from outside make of an unpickler has no one type
        raise CorruptInputError(f"{origin} cannot be loaded as plain weights: {_why(error)}") from None
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        inner = next((key for key in ("state_dict", "model", "module") if _holds(content, key)), None)
        where = f" (they lie under its key {inner!r}: save that alone)" if inner else ""
        raise CorruptInputError(f"{origin} is not a mapping from names to tensors{where}")
    check_tensor_names(content, origin)
    return dict(content)


def _holds(content: Any, key: str) -> bool:
    return isinstance(content, dict) and isinstance(content.get(key), dict)


def _why(error: Exception) -> str:
    text = str(error).strip()
    if "weights_only" in text or "Weights only" in text:
        forbidden = FORBIDDEN.search(text)
        return (
            f"loading it would run code{f' ({forbidden[1]})' if forbidden else ''}, and no code of a model is run "
            "here; where you trust it, load it and save its weights with save_pretrained"
        )
    return f"{text.splitlines()[0][:200] if text else type(error).__name__}; fetch it again"


def read_pickle(path: Path, origin: str) -> list[StoredTensor]:
    """The tensors of a PyTorch pickle, as `read_header` gives them. Raises CorruptInputError."""
    import torch

    from_torch = {
        torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.int32: "I32",
        torch.int64: "I64", torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64",
    }  # fmt: skip
    found = []
    for name, tensor in load_pickle(path, origin).items():
        dtype = from_torch.get(tensor.dtype)
        if dtype is None or tensor.layout is not torch.strided or tensor.device.type != "cpu":
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ConfigError(
                f"{origin}: {name} is stored as {kind}, {tensor.layout}; bring plain floating-point weights"
            )
        found.append(StoredTensor(name, dtype, tuple(tensor.shape), path, _reader(tensor)))
    return found


def _reader(tensor: Any) -> Callable[[], Iterator[bytes]]:
    def read() -> Iterator[bytes]:
        import torch

        flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        for start in range(0, flat.numel(), CHUNK_BYTES):
            yield flat[start : start + CHUNK_BYTES].numpy().tobytes()

    return read


def shard_names(index: Path, origin: str) -> dict[str, str]:
    """Tensor -> file of an index of shards. Raises CorruptInputError for one that names no plain file beside it."""
    content = read_json(index, origin)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CorruptInputError(f"{origin} is no index of shards: it has no weight_map; fetch it again")
    for shard in weight_map.values():
        if not isinstance(shard, str) or Path(shard).name != shard or not shard.endswith((".safetensors", ".bin")):
            raise CorruptInputError(f"{origin} names {shard!r} as a shard, which is no file beside it; fetch it again")
    return weight_map


def check_shards(index: Path, origin: str) -> list[Path]:
    """The shards that an index names, all there. `origin`: the directory. Raises CorruptInputError."""
    names = sorted(set(shard_names(index, f"{origin}/{index.name}").values()))
    missing = [name for name in names if not (index.parent / name).is_symlink() and not (index.parent / name).exists()]
    if missing:
        raise CorruptInputError(
            f"{origin}: {index.name} names files that are not there ({', '.join(missing)}); fetch them"
        )
    for name in names:
        check_whole(index.parent / name, f"{origin}/{name}")
    return [index.parent / name for name in names]


def write_safetensors(stream: IO[bytes], tensors: Iterable[StoredTensor]) -> None:
    """Write one safetensors file; the widest items first, as the library does, so that all lie aligned."""
    ordered = sorted(tensors, key=lambda tensor: (-ITEM_BYTES[tensor.dtype], tensor.name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in ordered:
        begin, end = end, end + tensor.num_bytes
        header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    for tensor in ordered:
        for chunk in tensor.read():
            stream.write(chunk)
