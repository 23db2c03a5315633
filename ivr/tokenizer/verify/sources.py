"""The texts that `ivr verify` reads: cleaned files, plain text, JSON, also compressed; nothing is dropped or mended."""

import gzip
import lzma
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from ivr.corpus.documents import SEPARATOR, parse_documents
from ivr.corpus.readers import ReadOptions, read_source
from ivr.corpus.reading.items import Document
from ivr.corpus.sources import READABLE, Source, find_sources
from ivr.errors import ConfigError, CorruptInputError

CHUNK_CHARACTERS = 1 << 19
PIECE_CHARACTERS = 1 << 16  # plain text without documents is cut after a line, about this far apart
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some documents of one file; `file` counts from 0, `first`, the number of the first document, from 1."""

    file: int
    first: int
    documents: list[Document]


def sources_of(paths: Sequence[Path]) -> list[Source]:
    """The text files at or below these paths. A file that is named itself is text, whatever its suffix.

    Raises ConfigError for a directory without any.
    """
    found: dict[Path, Source] = {}
    for path in paths:
        sources = [Source(path, path.name)] if path.is_file() else find_sources(path)[0]
        if not sources:
            raise ConfigError(f"{path} holds no text ({READABLE})")
        found.update((source.path, source) for source in sources)
    return list(found.values())


def read_chunks(sources: Sequence[Source], max_documents: int | None = None) -> Iterator[Chunk]:
    """The documents of every file, in chunks of about CHUNK_CHARACTERS. A chunk holds documents of one file.

    Raises CorruptInputError for a damaged file. Of each file at most `max_documents` are read.
    """
    for file, source in enumerate(sources):
        group: list[Document] = []
        number = size = 0
        for document in _read(source):
            if number == max_documents:
                break
            group.append(document)
            number += 1
            size += len(document.text)
            if size >= CHUNK_CHARACTERS:
                yield Chunk(file, number - len(group) + 1, group)
                group, size = [], 0
        if group:
            yield Chunk(file, number - len(group) + 1, group)


def _read(source: Source) -> Iterator[Document]:
    try:
        if source.format in (".jsonl", ".json"):
            yield from (item for item in read_source(source, ReadOptions()) if isinstance(item, Document))
            return
        cleaned = _is_cleaned(source.path)
        with _open(source.path, "rt") as stream:
            yield from _cleaned_documents(stream) if cleaned else _pieces(stream)
    except UnicodeDecodeError as error:
        raise CorruptInputError(f"{source.path} is not UTF-8 text ({error})") from None
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise CorruptInputError(f"{source.path} is damaged or cut short ({error})") from None


def _open(path: Path, mode: str) -> IO[Any]:
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    return cast(IO[Any], _OPENERS.get(path.suffix.lower(), open)(path, mode, **text))


def _is_cleaned(path: Path) -> bool:
    """A cleaned file ends in the separator line; any other text is one long document to be cut."""
    ending = SEPARATOR.encode() + b"\n"
    tail = b""
    with _open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            tail = (tail + block)[-len(ending) - 1 :]
    return tail.endswith(b"\n" + ending) or tail == ending


def _cleaned_documents(stream: Iterable[str]) -> Iterator[Document]:
    read = 0

    def counted() -> Iterator[str]:
        nonlocal read
        for line in stream:
            read += 1
            yield line

    begin = 1
    for text in parse_documents(counted()):
        yield Document(text, begin)
        begin = read + 1


def _pieces(stream: Iterable[str]) -> Iterator[Document]:
    lines: list[str] = []
    size, begin = 0, 1
    for number, line in enumerate(stream, start=1):
        lines.append(line)
        size += len(line)
        if size >= PIECE_CHARACTERS:
            yield Document("".join(lines), begin)
            lines, size, begin = [], 0, number + 1
    if lines:
        yield Document("".join(lines), begin)
