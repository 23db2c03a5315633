"""Cleaned corpora cut into parts of about equal bytes, each of whole documents, so that several nodes share them.

Part k of n holds the documents whose first byte lies in [k T / n, (k + 1) T / n) of the T bytes of all files in
order. A part finds its first document by itself: a separator line is never text (see ivr.corpus.documents).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ivr.corpus.documents import SEPARATOR, corpus_files, parse_documents

_SEPARATOR_LINE = SEPARATOR.encode()


def read_part(path: Path, part: int, parts: int) -> Iterator[str]:
    """The documents of part `part` (from 0) of `parts`; the parts one after another are `read_documents(path)`."""
    for file, begin, end in _ranges(path, part, parts):
        with file.open("rb") as stream:
            first = _first_document(stream, begin)
            if first < end:
                stream.seek(first)
                yield from parse_documents(_lines(stream, first, end))


def part_bytes(path: Path, part: int, parts: int) -> int:
    """About how many bytes a part has."""
    return sum(end - begin for _, begin, end in _ranges(path, part, parts))


def _ranges(path: Path, part: int, parts: int) -> Iterator[tuple[Path, int, int]]:
    """(file, first byte, one after the last byte) of the bytes a part looks for documents in."""
    files = [(file, file.stat().st_size) for file in corpus_files(path)]
    total = sum(size for _, size in files)
    part_begin, part_end = total * part // parts, total * (part + 1) // parts
    before = 0
    for file, size in files:
        begin, end = max(part_begin - before, 0), min(part_end - before, size)
        if begin < end:
            yield file, begin, end
        before += size


def _first_document(stream: IO[bytes], begin: int) -> int:
    """Where the first document at or after `begin` starts; the end of the file when there is none."""
    position = max(begin - len(_SEPARATOR_LINE) - 2, 0)  # a separator may end just before `begin`
    if begin == 0:
        return 0
    stream.seek(position)
    if position > 0:
        position += len(stream.readline())  # the rest of a line
    for line in stream:
        position += len(line)
        if position >= begin and line.rstrip(b"\n") == _SEPARATOR_LINE:
            break
    return position


def _lines(stream: IO[bytes], position: int, end: int) -> Iterator[str]:
    """Lines up to the separator that ends the last document to begin before `end`."""
    for line in stream:
        yield line.decode()
        position += len(line)
        if position >= end and line.rstrip(b"\n") == _SEPARATOR_LINE:
            return
