"""One document, one piece of a raw file: what is kept of it, what is held out, what is left out and why.

The text is the ground truth: line ends become LF, NUL and a leading BOM go, blank lines around a document go;
nothing else is touched (no trimming of blanks; NFC only where it is asked for).
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Protocol

from ivr.corpus.documents import SEPARATOR, escape
from ivr.corpus.readers import ReadOptions, read_source, read_stream
from ivr.corpus.reading.items import Document, Reject, excerpt
from ivr.corpus.reading.splitting import Piece

HASH_BYTES = 8
MOST_KEYS_REMEMBERED = 50
_SEPARATOR_LINE = f"\n{SEPARATOR}\n".encode()


@dataclass(frozen=True)
class CleaningOptions:
    """How a corpus is read and split; `corpus` is its name in the log and among the rejects. `normalize`: `none` or
    `NFC`. `special_tokens`: of the base tokenizer; counted where they stand in a text."""

    corpus: str
    read: ReadOptions
    heldout_fraction: float
    seed: int
    normalize: str = "none"
    special_tokens: tuple[str, ...] = ()


@dataclass
class SourceCount:
    """What became of one raw file."""

    file: str
    cleaned: str
    separator: str = ""
    documents: int = 0
    bytes: int = 0
    heldout_documents: int = 0
    heldout_bytes: int = 0
    nul_removed: int = 0
    rejected: dict[str, int] = field(default_factory=dict)  # reason -> number
    special_tokens: dict[str, int] = field(default_factory=dict)  # literal token -> how often in kept documents
    decomposed_documents: int = 0  # not in NFC
    decomposed_characters: int = 0  # that NFC saves
    text_keys: dict[str, int] = field(default_factory=dict)  # of objects without the text's key -> characters there
    said: str = ""

    def add(self, other: "SourceCount") -> None:
        """Add the figures of another piece of the same file."""
        for name in (*SUMS, "nul_removed", "decomposed_documents", "decomposed_characters"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("rejected", "special_tokens", "text_keys"):
            sums = getattr(self, name)
            for key, number in getattr(other, name).items():
                sums[key] = sums.get(key, 0) + number

    def reject(self, reject: Reject) -> None:
        """Count something left out."""
        self.rejected[reject.reason] = self.rejected.get(reject.reason, 0) + 1
        for key, characters in reject.keys:
            if key in self.text_keys or len(self.text_keys) < MOST_KEYS_REMEMBERED:
                self.text_keys[key] = self.text_keys.get(key, 0) + characters


SUMS = ("documents", "bytes", "heldout_documents", "heldout_bytes")


def clean_text(text: str) -> str:
    """The document as it is kept; empty where it holds nothing but blanks.

    >>> clean_text("\\n \\n  a\\r\\nb  \\n\\n")
    '  a\\nb  '
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.replace("\0", "")
    end = len(text.rstrip())
    if not end:
        return ""
    start = len(text) - len(text.lstrip())
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    return text[first:] if last < 0 else text[first:last]


def is_heldout(text: bytes, fraction: float, seed: int) -> bool:
    """Whether a document is held out: by its own bytes, so that copies of it are never on both sides."""
    digest = hashlib.blake2b(text, digest_size=HASH_BYTES, key=str(seed).encode()).digest()
    number = int.from_bytes(digest, "big")
    return number < fraction * 256**HASH_BYTES


class Writer(Protocol):
    """Where the bytes of kept documents go."""

    def __call__(self, is_heldout: bool, data: bytes) -> None: ...


def clean_piece(
    piece: Piece, options: CleaningOptions, write: Writer, reject: Callable[[Reject], None], tick: Callable[[int], None]
) -> SourceCount:
    """Clean the documents of one piece; returns its figures. `tick` hears the bytes of every kept document."""
    count = SourceCount(piece.source.name, "")
    for item in _items(piece, options.read):
        if isinstance(item, Document):
            text = _normalized(item.text, options.normalize, count)
            text = clean_text(text)
            if text:
                encoded = text.encode()
                out = is_heldout(encoded, options.heldout_fraction, options.seed)
                write(out, (escape(text).encode() if SEPARATOR in text else encoded) + _SEPARATOR_LINE)
                _add(count, out, len(encoded), item.text.count("\0"))
                for token in options.special_tokens:
                    if token in text:
                        count.special_tokens[token] = count.special_tokens.get(token, 0) + text.count(token)
                tick(len(encoded))
                continue
            item = Reject(item.line, "empty", excerpt(item.text))
        count.reject(item)
        reject(item)
        tick(len(item.excerpt))
    return count


def _items(piece: Piece, read: ReadOptions) -> Iterator[Document | Reject]:
    if piece.is_whole:
        return read_source(piece.source, read, piece.reading)
    stream: BinaryIO = piece.open()
    return read_stream(stream, piece.source, read, piece.reading)


def _normalized(text: str, normalize: str, count: SourceCount) -> str:
    """The text, in NFC where that is asked for; counts what is not in NFC."""
    if text.isascii() or unicodedata.is_normalized("NFC", text):
        return text
    composed = unicodedata.normalize("NFC", text)
    count.decomposed_documents += 1
    count.decomposed_characters += len(text) - len(composed)
    return composed if normalize == "NFC" else text


def _add(count: SourceCount, out: bool, num_bytes: int, nul_removed: int) -> None:
    if out:
        count.heldout_documents += 1
        count.heldout_bytes += num_bytes
    else:
        count.documents += 1
        count.bytes += num_bytes
    count.nul_removed += nul_removed


def total(counts: list[SourceCount]) -> dict[str, Any]:
    """The figures of a whole corpus, and of each of its files."""
    rejected: Counter[str] = Counter()
    special: Counter[str] = Counter()
    keys: Counter[str] = Counter()
    for count in counts:
        rejected.update(count.rejected)
        special.update(count.special_tokens)
        keys.update(count.text_keys)
    names = (*SUMS, "nul_removed", "decomposed_documents", "decomposed_characters")
    return {
        **{name: sum(getattr(count, name) for count in counts) for name in names},
        "rejected": dict(sorted(rejected.items())),
        "special_tokens": dict(sorted(special.items())),
        "text_keys": dict(keys.most_common(MOST_KEYS_REMEMBERED)),
        "sources": [asdict(count) for count in counts],
    }
