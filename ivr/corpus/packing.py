"""Documents -> one stream of token ids in memory-mapped shards -> fixed-length blocks.

The stream is `E doc E doc ... E` with E the token that ends a text, `<|endoftext|>` in GPT-2: every document starts and
ends at a boundary, nothing is padded. Block i is the tokens [i*T, i*T + T], inputs and targets shifted by one, so that
each token is predicted once. Where a tokenizer puts another token B in front of texts, it is `B doc E B doc E B`.
A shard ends where it is full, in the midst of a document if need be; a block may lie in two.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from ivr.console import Progress
from ivr.disk.digest import sha256_file, sha256_json
from ivr.disk.writer import atomic_directory
from ivr.errors import CorruptInputError
from ivr.schema import read_record, write_sealed

FACTS_FILE = "tokens.json"
TOKENS_A_SHARD = 1 << 27  # 256 MiB of uint16
CHARACTERS_AT_ONCE = 4_000_000
FORMAT = 2


@dataclass(frozen=True)
class TokenStream:
    """A tokenised corpus. shards: uint16 or uint32, read-only, each but the last of tokens_a_shard ids;
    bytes_per_token_V: UTF-8 bytes of each id."""

    shards: tuple[np.ndarray, ...]
    tokens_a_shard: int
    bytes_per_token_V: np.ndarray
    num_documents: int
    num_bytes: int

    def __len__(self) -> int:
        return sum(len(shard) for shard in self.shards)

    def read(self, start: int, stop: int) -> np.ndarray:
        """The ids [start, stop), which may lie in several shards."""
        parts = []
        while start < stop:
            number, offset = divmod(start, self.tokens_a_shard)
            part = self.shards[number][offset : offset + stop - start]
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def num_blocks(self, block_size: int) -> int:
        return max(0, (len(self) - 1) // block_size)

    def left_over(self, block_size: int) -> int:
        """Tokens at the end that fill no block and are never trained on."""
        return max(0, len(self) - 1 - self.num_blocks(block_size) * block_size)

    def blocks(self, indices: np.ndarray, block_size: int) -> np.ndarray:
        """The blocks `indices` (B,) as (B, block_size + 1) int64."""
        found_BT = np.empty((len(indices), block_size + 1), dtype=np.int64)
        for row, index in enumerate(indices.tolist()):
            found_BT[row] = self.read(index * block_size, (index + 1) * block_size + 1)
        return found_BT


def encode_documents(tokenizer: Any, documents: Iterable[str]) -> Iterator[tuple[str, list[int]]]:
    """(document, its ids) in order; memory is bounded by a few megabytes of text, or by the longest document."""
    for texts in text_chunks(documents):
        for text, encoding in zip(texts, tokenizer.encode_batch_fast(texts, add_special_tokens=False), strict=True):
            yield text, encoding.ids


def text_chunks(documents: Iterable[str]) -> Iterator[list[str]]:
    """Lists of whole documents of a few megabytes together."""
    texts: list[str] = []
    characters = 0
    for text in documents:
        texts.append(text)
        characters += len(text)
        if characters >= CHARACTERS_AT_ONCE:
            yield texts
            texts, characters = [], 0
    if texts:
        yield texts


@dataclass(frozen=True)
class ShardFacts:
    """One file of a stream."""

    file: str
    tokens: int
    sha256: str


@dataclass(frozen=True)
class StreamFacts:
    """What FACTS_FILE holds; bytes are those of the text."""

    dtype: Literal["<u2", "<u4"]
    documents: int
    bytes: int
    tokens_a_shard: int
    shards: list[ShardFacts]
    checksum: str = ""

    def rows(self) -> list[tuple[str, str, int]]:
        """(name, sha256, bytes) of each file."""
        return [(shard.file, shard.sha256, shard.tokens * np.dtype(self.dtype).itemsize) for shard in self.shards]


def stream_key(tokenizer: str, corpus: list[list[str]]) -> str:
    """The name of a tokenised corpus: changes with the tokenizer (a hash) and the corpus ([file name, sha256] each)."""
    return sha256_json({"format": FORMAT, "tokenizer": tokenizer, "corpus": corpus})[:16]


def tokenise(
    folder: Path,
    tokenizer: Any,
    around: tuple[int, int],
    documents: Iterable[str],
    tokens_a_shard: int = TOKENS_A_SHARD,
    respell: Callable[[int, list[int]], list[int]] | None = None,
) -> None:
    """Write the stream of `documents` to `folder`, whole or not at all. around: the ids before and after a document.

    `respell(number, ids)`: other ids for the same text, of the document with this number.
    """
    start_id, end_id = around
    after = [end_id] if start_id == end_id else [end_id, start_id]
    dtype = np.dtype("<u2" if tokenizer.get_vocab_size() <= 1 << 16 else "<u4")
    num_documents = num_bytes = 0
    with atomic_directory(folder, contents=False) as staging, Progress("tokenise", unit="B") as bar:
        shards = _ShardWriter(staging, dtype, tokens_a_shard)
        shards.append([start_id])
        for number, (text, ids) in enumerate(encode_documents(tokenizer, documents)):
            if not ids:
                continue
            shards.append([*(respell(number, ids) if respell else ids), *after])
            size = len(text.encode())
            num_documents += 1
            num_bytes += size
            bar.update(size)
        facts = {"dtype": dtype.str, "documents": num_documents, "bytes": num_bytes, "tokens_a_shard": tokens_a_shard}
        write_sealed(staging / FACTS_FILE, {**facts, "shards": shards.close()})


class _ShardWriter:
    """Writes ids to tokens-00000.bin, tokens-00001.bin, ..., each of `size` ids but the last."""

    def __init__(self, folder: Path, dtype: np.dtype, size: int) -> None:
        self.folder, self.dtype, self.size = folder, dtype, size
        self.written: list[int] = []
        self._stream: IO[bytes] | None = None

    def append(self, ids: list[int]) -> None:
        left = np.asarray(ids, dtype=self.dtype)
        while left.size:
            if self._stream is None or self.written[-1] == self.size:
                self._close_shard()
                self._stream = self._path(len(self.written)).open("wb")
                self.written.append(0)
            part, left = np.split(left, [min(left.size, self.size - self.written[-1])])
            self._stream.write(part.tobytes())
            self.written[-1] += part.size

    def close(self) -> list[dict[str, Any]]:
        """The facts of every shard."""
        self._close_shard()
        paths = [self._path(number) for number in range(len(self.written))]
        return [
            {"file": path.name, "tokens": tokens, "sha256": sha256_file(path)}
            for path, tokens in zip(paths, self.written, strict=True)
        ]

    def _path(self, number: int) -> Path:
        return self.folder / f"tokens-{number:05d}.bin"

    def _close_shard(self) -> None:
        if self._stream is not None:
            self._stream.close()


def is_whole(folder: Path) -> bool:
    """True when `folder` holds a stream with the bytes that its facts name."""
    try:
        return all(shard.sha256 == sha256_file(folder / shard.file) for shard in read_facts(folder).shards)
    except (OSError, CorruptInputError):
        return False


def read_facts(folder: Path) -> StreamFacts:
    """What a stream's folder says of itself. Raises FileNotFoundError, CorruptInputError."""
    return read_record(folder / FACTS_FILE, StreamFacts, f"delete {folder}, and `ivr train` makes it anew")


def open_stream(folder: Path, tokenizer: Any) -> TokenStream:
    """Map the stream in `folder` into memory."""
    facts = read_facts(folder)
    shards = tuple(np.memmap(folder / shard.file, dtype=np.dtype(facts.dtype), mode="r") for shard in facts.shards)
    return TokenStream(shards, facts.tokens_a_shard, bytes_per_token(tokenizer), facts.documents, facts.bytes)


def bytes_per_token(tokenizer: Any) -> np.ndarray:
    """(V,) bytes of text that each id stands for. In the byte-level alphabet one character is one byte.

    A special token stands for none, unless the model gives it for text too (`!`, where people pad with id 0); any other
    added token is cut out of the text as it is written.
    """
    sizes_V = np.zeros(max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1, dtype=np.int64)
    for token, token_id in tokenizer.get_vocab(with_added_tokens=True).items():
        sizes_V[token_id] = len(token)
    for token_id, added in tokenizer.get_added_tokens_decoder().items():
        if added.special:
            sizes_V[token_id] = len(added.content) if _is_given(tokenizer.model, added.content, token_id) else 0
        elif not _is_given(tokenizer.model, added.content, token_id):
            sizes_V[token_id] = len(added.content.encode())
    return sizes_V


def _is_given(model: Any, token: str, token_id: int) -> bool:
    """Whether a model gives this id for its own string, in the byte alphabet."""
    try:
        return [piece.id for piece in model.tokenize(token)] == [token_id]
    except Exception:  # a symbol that no text holds: the library raises nothing narrower
        return False
