"""The cleaned-corpus format: how documents lie in one UTF-8 text file.

Every document is followed by a line `<|endoftext|>`, the last one too, so that a file read back gives exactly the
documents written: `"a\\nb"` is stored as `a`, `b`, `<|endoftext|>`. A line of the text that is itself
`<|endoftext|>`, or that with backslashes in front, gets one more backslash; reading takes it off again.
Lines end in LF only; a CR or U+2028 is a character of the text.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from ivr.artifacts import files_below

SEPARATOR = "<|endoftext|>"
_LOOKS_LIKE_SEPARATOR = re.compile(r"^\\*<\|endoftext\|>$", re.MULTILINE)
_ESCAPED_SEPARATOR = re.compile(r"^\\(\\*<\|endoftext\|>)$", re.MULTILINE)


def write_document(stream: IO[str], text: str) -> None:
    """Append one document to an open text file."""
    if SEPARATOR in text:
        text = _LOOKS_LIKE_SEPARATOR.sub(lambda found: "\\" + found.group(), text)
    stream.write(f"{text}\n{SEPARATOR}\n")


def parse_documents(lines: Iterable[str]) -> Iterator[str]:
    """Documents from the lines of a cleaned file (each with its LF). Text after the last separator is one more."""
    parts: list[str] = []
    for line in lines:
        if line.rstrip("\n") == SEPARATOR:
            yield _join(parts)
            parts = []
        else:
            parts.append(line)
    if parts:
        yield _join(parts)


def read_documents(path: Path) -> Iterator[str]:
    """Stream the documents of a cleaned file, or of every .txt file below a directory in sorted order."""
    for file in corpus_files(path):
        with file.open(encoding="utf-8", newline="\n") as stream:
            yield from parse_documents(stream)


def corpus_files(path: Path) -> list[Path]:
    """The cleaned .txt files at or below `path`, sorted."""
    return [file for file in files_below(path) if file == path or file.suffix == ".txt"]


def _join(parts: list[str]) -> str:
    text = "".join(parts).removesuffix("\n")
    return _ESCAPED_SEPARATOR.sub(r"\1", text) if SEPARATOR in text else text
