"""A sample of the training text under the remapped tokenizer: what `focus`, `calibrated` and `distill` learn from.

Held-out text is never read here. The sample is the documents with the smallest hashes (of seed and text) up to a limit
of bytes: the same in every run, from all parts of a corpus of any size, in bounded memory.
"""

import hashlib
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ivr.corpus.document_end import start_of_text_id
from ivr.corpus.documents import read_documents
from ivr.encoding.text.tokenizer_file import load_for_text


@dataclass(frozen=True)
class DomainText:
    """documents: the remapped ids (int64) of each; num_bytes of their text together; a text starts after start_id."""

    documents: Sequence[np.ndarray]
    num_bytes: int
    start_id: int

    @property
    def num_tokens(self) -> int:
        return sum(len(ids) for ids in self.documents)


def sample_documents(texts: Iterable[str], max_bytes: int, seed: int) -> list[str]:
    """Documents of at most `max_bytes` UTF-8 bytes together, in the order of their hashes; a longer one is cut."""
    heap: list[tuple[int, str]] = []  # the largest hash on top, first to go
    total = 0
    prefix = f"{seed}\n".encode()
    for text in texts:
        data = text.encode()[:max_bytes]
        digest = int.from_bytes(hashlib.sha256(prefix + data).digest()[:8], "big")
        whole = data.decode(errors="ignore")  # a cut in a character drops that character
        if not whole:
            continue
        heapq.heappush(heap, (-digest, whole))
        total += len(whole.encode())
        while total > max_bytes:
            total -= len(heapq.heappop(heap)[1].encode())
    return [text for _, text in sorted(heap, key=lambda item: (-item[0], item[1]))]


def read_domain_text(corpus: Path, tokenizer_dir: Path, max_bytes: int, seed: int) -> DomainText:
    """Sample the cleaned corpus at `corpus` and encode it. A literal `<|endoftext|>` in a text is text."""
    return encode(sample_documents(read_documents(corpus), max_bytes, seed), tokenizer_dir)


def encode(texts: Sequence[str], tokenizer_dir: Path) -> DomainText:
    """The ids of `texts`. Raises CorruptInputError where the tokenizer has no token that ends a text."""
    tokenizer = load_for_text(tokenizer_dir)
    start_id = start_of_text_id(tokenizer, tokenizer_dir)
    documents = []
    for start in range(0, len(texts), 256):
        for encoding in tokenizer.encode_batch_fast(list(texts[start : start + 256]), add_special_tokens=False):
            documents.append(np.array(encoding.ids, dtype=np.int64))
    return DomainText(documents, sum(len(text.encode()) for text in texts), start_id)
