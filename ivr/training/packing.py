"""Documents -> one memory-mapped stream of token ids -> fixed-length blocks in a seeded order.

The stream is `E doc E doc ... E` with E = `<|endoftext|>`: every document starts and ends at a boundary, nothing is
padded. Block i is the tokens [i*T, i*T + T], inputs and targets shifted by one, so that each token is predicted once.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ivr.artifacts import atomic_directory, sha256_file, sha256_json, write_json
from ivr.console import Progress
from ivr.errors import ConfigError, CorruptInputError

END_OF_TEXT = "<|endoftext|>"
TOKENS_FILE, FACTS_FILE = "tokens.bin", "tokens.json"
CHARACTERS_AT_ONCE = 4_000_000
FORMAT = 1


@dataclass(frozen=True)
class TokenStream:
    """A tokenised corpus. tokens: (N,) uint16 or uint32, read-only; bytes_per_token_V: UTF-8 bytes of each id."""

    tokens: np.ndarray
    bytes_per_token_V: np.ndarray
    num_documents: int
    num_bytes: int

    def num_blocks(self, block_size: int) -> int:
        return max(0, (len(self.tokens) - 1) // block_size)

    def left_over(self, block_size: int) -> int:
        """Tokens at the end that fill no block and are never trained on."""
        return max(0, len(self.tokens) - 1 - self.num_blocks(block_size) * block_size)

    def blocks(self, indices: np.ndarray, block_size: int) -> np.ndarray:
        """The blocks `indices` (B,) as (B, block_size + 1) int64."""
        offsets_BT = indices[:, None] * block_size + np.arange(block_size + 1)[None, :]
        return self.tokens[offsets_BT].astype(np.int64)


def load_tokenizer(model_dir: Path) -> Any:
    """The `tokenizers.Tokenizer` of a model directory; a literal `<|endoftext|>` in a text is text to it."""
    from tokenizers import Tokenizer

    path = model_dir / "tokenizer.json"
    if not path.is_file():
        raise CorruptInputError(f"{model_dir} holds no tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def end_of_text_id(tokenizer: Any, model_dir: Path) -> int:
    token_id = tokenizer.token_to_id(END_OF_TEXT)
    if token_id is None:
        raise CorruptInputError(f"{model_dir}: the tokenizer has no {END_OF_TEXT}, which separates documents")
    return int(token_id)


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


def stream_key(tokenizer_sha256: str, corpus: list[list[str]]) -> str:
    """The name of a tokenised corpus: changes with the tokenizer and the corpus ([file name, sha256] each)."""
    return sha256_json({"format": FORMAT, "tokenizer": tokenizer_sha256, "corpus": corpus})[:16]


def tokenise(folder: Path, tokenizer: Any, end_id: int, documents: Iterable[str]) -> None:
    """Write the stream of `documents` to `folder`, whole or not at all."""
    dtype = np.dtype("<u2" if tokenizer.get_vocab_size() <= 1 << 16 else "<u4")
    num_documents = num_bytes = num_tokens = 0
    with atomic_directory(folder) as staging:
        with (staging / TOKENS_FILE).open("wb") as stream, Progress("tokenise", unit="B") as bar:
            num_tokens += _append(stream, [end_id], dtype)
            for text, ids in encode_documents(tokenizer, documents):
                if not ids:
                    continue
                size = len(text.encode())
                num_tokens += _append(stream, [*ids, end_id], dtype)
                num_documents += 1
                num_bytes += size
                bar.update(size)
        write_json(
            staging / FACTS_FILE,
            {
                "dtype": dtype.str,
                "tokens": num_tokens,
                "documents": num_documents,
                "bytes": num_bytes,
                "sha256": sha256_file(staging / TOKENS_FILE),
            },
        )


def _append(stream: IO[bytes], ids: list[int], dtype: np.dtype) -> int:
    stream.write(np.asarray(ids, dtype=dtype).tobytes())
    return len(ids)


def is_whole(folder: Path) -> bool:
    """True when `folder` holds a stream with the bytes that its facts name."""
    try:
        facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        return bool(facts["sha256"] == sha256_file(folder / TOKENS_FILE))
    except (FileNotFoundError, ValueError, KeyError):
        return False


def open_stream(folder: Path, tokenizer: Any) -> TokenStream:
    """Map the stream in `folder` into memory."""
    facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    tokens = np.memmap(folder / TOKENS_FILE, dtype=np.dtype(facts["dtype"]), mode="r")
    return TokenStream(tokens, bytes_per_token(tokenizer), facts["documents"], facts["bytes"])


def bytes_per_token(tokenizer: Any) -> np.ndarray:
    """(V,) bytes of text that each id stands for. In the byte-level alphabet one character is one byte."""
    special = {added.content for added in tokenizer.get_added_tokens_decoder().values() if added.special}
    sizes_V = np.zeros(max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1, dtype=np.int64)
    for token, token_id in tokenizer.get_vocab(with_added_tokens=True).items():
        sizes_V[token_id] = 0 if token in special else len(token)
    return sizes_V


def block_order(num_blocks: int, start: int, count: int, seed: int) -> np.ndarray:
    """The blocks at positions [start, start + count) of an endless sequence of seeded permutations, one per epoch.

    Position p depends on (num_blocks, seed, p) alone: resuming needs no state.
    """
    if num_blocks < 1:
        raise ConfigError("the training text fills no block; use a smaller --block-size or more text")
    taken = []
    position = start
    while position < start + count:
        epoch, offset = divmod(position, num_blocks)
        permutation = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(num_blocks)
        part = permutation[offset : offset + start + count - position]
        taken.append(part)
        position += len(part)
    return np.concatenate(taken)
