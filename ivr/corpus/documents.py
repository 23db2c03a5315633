"""The cleaned-corpus format: how documents lie in one UTF-8 text file.

Every document is followed by a line `<|endoftext|>`, the last one too, so that a file read back gives exactly the
documents written: `"a\\nb"` is stored as `a`, `b`, `<|endoftext|>`. A line of the text that is itself
`<|endoftext|>`, or that with backslashes in front, gets one more backslash; reading takes it off again.
Lines end in LF only; a CR or U+2028 is a character of the text.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from ivr.disk.writer import files_below
from ivr.errors import CorruptInputError, StaleInputError
from ivr.inputs import Input

SEPARATOR = "<|endoftext|>"
_LOOKS_LIKE_SEPARATOR = re.compile(r"^\\*<\|endoftext\|>$", re.MULTILINE)
_ESCAPED_SEPARATOR = re.compile(r"^\\(\\*<\|endoftext\|>)$", re.MULTILINE)
_SEPARATOR_LINE = f"{SEPARATOR}\n".encode()
BLOCK = 1 << 20  # bytes


def write_document(stream: IO[str], text: str) -> None:
    """Append one document to an open text file."""
    stream.write(f"{escape(text)}\n{SEPARATOR}\n")


def escape(text: str) -> str:
    """The document as it stands before its separator.

    >>> escape("a\\n<|endoftext|>")
    'a\\n\\\\<|endoftext|>'
    """
    return _LOOKS_LIKE_SEPARATOR.sub(lambda found: "\\" + found.group(), text) if SEPARATOR in text else text


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


def read_documents_utf8(path: Path) -> Iterator[bytes]:
    """The documents of `read_documents(path)` as UTF-8, read in blocks: several times as fast.

    The bytes are not looked at: whoever reads them finds out whether they are UTF-8.
    """
    for file in corpus_files(path):
        with file.open("rb") as stream:
            yield from split_documents(iter(lambda: stream.read(BLOCK), b""))


def split_documents(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """What `parse_documents` makes of the lines in these bytes, which blocks part anywhere."""
    data = b""
    for block in blocks:
        searched = max(len(data) - len(_SEPARATOR_LINE), 0)
        data += block
        begin = 0
        while (found := data.find(_SEPARATOR_LINE, max(begin, searched))) >= 0:
            searched = found + len(_SEPARATOR_LINE)
            if found == begin or data[found - 1] == ord("\n"):
                yield _document(data[begin:found])
                begin = searched
        data = data[begin:]
    last = data.removesuffix(_SEPARATOR_LINE[:-1])
    if last != data and last[-1:] in (b"", b"\n"):
        yield _document(last)
    elif data:
        yield _document(data)


def _document(data: bytes) -> bytes:
    data = data.removesuffix(b"\n")
    if _SEPARATOR_LINE[:-1] in data:
        return _ESCAPED_SEPARATOR.sub(r"\1", data.decode()).encode()
    return data


def corpus_files(path: Path) -> list[Path]:
    """The cleaned .txt files at or below `path`, sorted."""
    return [file for file in files_below(path) if file == path or file.suffix == ".txt"]


def cleaned_input(path: Path, made_by: str) -> Input:
    """The cleaned text at `path` as a stage's input. made_by: the stage that wrote it; empty for a person's own, which
    is read once before any work."""
    return Input(path, made_by, check=None if made_by else check_cleaned)


def check_cleaned(path: Path) -> None:
    """Raises StaleInputError where a person's directory has no text that a stage would read, CorruptInputError where
    it is not UTF-8."""
    files = corpus_files(path)
    if not any(file.stat().st_size for file in files):
        raise StaleInputError(
            f"{path} holds no text in .txt files; text of other kinds is brought into that form by "
            "`ivr init --raw-corpora-dir`, which writes ARTIFACTS/corpora/cleaned"
        )
    for file in files:
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            with file.open("rb") as stream:
                while block := stream.read(BLOCK):
                    decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise CorruptInputError(
                f"{file} is not UTF-8 ({error.reason}); `ivr init --raw-corpora-dir` reads other encodings"
            ) from None


def _join(parts: list[str]) -> str:
    text = "".join(parts).removesuffix("\n")
    return _ESCAPED_SEPARATOR.sub(r"\1", text) if SEPARATOR in text else text
