"""Documents from .txt, .jsonl and .json files, each also compressed; what cannot be read comes back as a Reject.

Files are streamed: memory holds one document (a line, a paragraph, an element of a JSON list), not the file. How a
file is read (its encoding, what parts its documents, whether its JSON is one value a line) is decided from its
beginning, once (`decide_reading`), and not from its name alone.
"""

import codecs
import contextlib
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, cast

from ivr.corpus.reading.encodings import SAMPLE_BYTES, decide, guess, guess_invalid
from ivr.corpus.reading.items import SURROGATE, Document, Reject, make_reject
from ivr.corpus.reading.json_documents import documents_of
from ivr.corpus.reading.json_stream import Broken, parse_line, parse_values
from ivr.corpus.reading.shapes import DELIMITERS as DELIMITERS
from ivr.corpus.reading.shapes import PROBE_CHARACTERS, choose_parting, choose_shape, delimiter_pattern, json_in_text
from ivr.corpus.reading.shapes import SEPARATORS as SEPARATORS
from ivr.corpus.sources import Source
from ivr.errors import CorruptInputError

MOST_CHARACTERS = 1 << 26  # of one document; a longer one would take gigabytes in every stage
TOO_LONG = f"longer than {MOST_CHARACTERS:,} characters: part it into documents"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read; `document_separator` is for .txt, `text_key` for .jsonl and .json."""

    text_key: str = "text"
    encoding: str = "utf-8"
    document_separator: str = "auto"
    delimiters: tuple[str, ...] = DELIMITERS  # special tokens that part documents


@dataclass(frozen=True, slots=True)
class Reading:
    """How one file is read. `parted`: what parts its documents (`line`, `blank-line`, `special-token`, `file`), or
    how its JSON lies (`json-lines`, `json-values`). `refused`: why the file is not read; `said`: what to tell."""

    encoding: str
    mark_bytes: int
    parted: str
    refused: str = ""
    said: str = ""
    looks_like: str = ""  # the encoding of what is no UTF-8 in the file's beginning


def decide_reading(source: Source, options: ReadOptions) -> Reading:
    """Look at the beginning of a file. Raises CorruptInputError for a compressed file that is damaged."""
    with _open_bytes(source) as stream:
        sample = read_fully(stream, SAMPLE_BYTES)
        decision = decide(sample, options.encoding)
        if decision.refused:
            return Reading("", 0, "", decision.refused)
        stream.seek(decision.mark_bytes)
        text = _as_text(stream, decision.encoding, source).read(PROBE_CHARACTERS)
    if source.format == ".txt":
        parted = options.document_separator
        if parted == "auto":
            parted = choose_parting(text, options.delimiters)
    else:
        parted = choose_shape(text, source.format)
    like = guess_invalid(sample) if decision.encoding == "utf-8" else ""
    said = "; ".join(filter(None, (decision.said, json_in_text(text) if source.format == ".txt" else "")))
    return Reading(decision.encoding, decision.mark_bytes, parted, said=said, looks_like=like)


def read_source(source: Source, options: ReadOptions, reading: Reading | None = None) -> Iterator[Document | Reject]:
    """Every document of a file and a Reject for everything that is none, in the file's order.

    Raises CorruptInputError, naming the file, for a compressed file that is cut short or damaged.
    """
    reading = reading or decide_reading(source, options)
    if reading.refused:
        yield Reject(0, reading.refused, "")
        return
    with _open_bytes(source) as stream:
        stream.seek(reading.mark_bytes)
        yield from read_stream(stream, source, options, reading)


def read_stream(
    stream: BinaryIO, source: Source, options: ReadOptions, reading: Reading
) -> Iterator[Document | Reject]:
    """The same of the bytes that `stream` still has: a whole file, or a piece of whole documents."""
    read = {
        "line": _read_lines, "blank-line": _read_blocks, "special-token": _read_delimited, "file": _read_whole,
        "json-lines": _read_json_lines, "json-values": _read_json_values,
    }[reading.parted]  # fmt: skip
    invalid = _Invalid(reading)
    for item in read(_as_text(stream, reading.encoding, source), options):
        if isinstance(item, Document) and not item.text.isascii() and SURROGATE.search(item.text):
            # our decoder marks bytes it cannot decode by surrogates; JSON escapes can spell them too
            escaped = reading.parted.startswith("json")
            item = make_reject(item.line, "lone surrogate" if escaped else invalid.reason(item.text), item.text)
        elif isinstance(item, Reject) and item.reason == _UNDECODABLE:
            item = Reject(item.line, invalid.reason(item.excerpt), make_reject(0, "", item.excerpt).excerpt)
        yield item


class _Invalid:
    """The reason for text that cannot be decoded, with the encoding it looks like; one reason a file."""

    def __init__(self, reading: Reading) -> None:
        self._encoding, self._like = reading.encoding, reading.looks_like

    def reason(self, text: str) -> str:
        if self._encoding == "utf-8" and not self._like:
            with contextlib.suppress(UnicodeEncodeError):  # surrogates of JSON beside those of bytes
                self._like = guess(text.encode("utf-8", "surrogateescape"))
        hint = f", looks like {self._like}: give --encoding {self._like}" if self._like else ""
        return f"invalid {self._encoding}{hint}"


_UNDECODABLE = "undecodable"  # until the reason is known


def choose_separator(source: Source, options: ReadOptions) -> str:
    """What parts the documents of a .txt file: `auto` looks at its first million characters."""
    return decide_reading(source, options).parted


def _lines(stream: IO[str]) -> Iterator[tuple[int, str, bool]]:
    """(number, line with its line end, whether it was too long and is cut)."""
    number = 0
    while line := stream.readline(MOST_CHARACTERS):
        number += 1
        if len(line) < MOST_CHARACTERS or line.endswith("\n"):
            yield number, line, False
            continue
        kept = line[:PROBE_CHARACTERS]
        while line and not line.endswith("\n"):
            line = stream.readline(MOST_CHARACTERS)
        yield number, kept, True


def _read_whole(stream: IO[str], options: ReadOptions) -> Iterator[Document | Reject]:
    text = stream.read(MOST_CHARACTERS + 1)
    yield Document(text, 1) if len(text) <= MOST_CHARACTERS else make_reject(1, TOO_LONG, text)


def _read_lines(stream: IO[str], options: ReadOptions) -> Iterator[Document | Reject]:
    for number, line, is_cut in _lines(stream):
        yield make_reject(number, TOO_LONG, line) if is_cut else Document(line.removesuffix("\n"), number)


class _Block:
    """Lines that become one document."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._begin = self._size = 0

    def add(self, line: str, number: int, is_cut: bool = False) -> None:
        if not self._lines:
            self._begin = number
        self._size += MOST_CHARACTERS + 1 if is_cut else len(line)
        if self._size <= MOST_CHARACTERS or len(self._lines) < 2:
            self._lines.append(line)

    def take(self) -> Iterator[Document | Reject]:
        """The document, where there is one; then there is none."""
        text = "".join(self._lines).removesuffix("\n")
        if text.strip():
            too_long = self._size > MOST_CHARACTERS
            yield make_reject(self._begin, TOO_LONG, text) if too_long else Document(text, self._begin)
        self._lines, self._size = [], 0


def _read_blocks(stream: IO[str], options: ReadOptions) -> Iterator[Document | Reject]:
    block = _Block()
    for number, line, is_cut in _lines(stream):
        if line.strip():
            block.add(line, number, is_cut)
        else:
            yield from block.take()
    yield from block.take()


def _read_delimited(stream: IO[str], options: ReadOptions) -> Iterator[Document | Reject]:
    tokens = re.compile(delimiter_pattern(options.delimiters))
    block = _Block()
    for number, line, is_cut in _lines(stream):
        parts = tokens.split(line)
        for place, part in enumerate(parts):
            if place:
                yield from block.take()
            # what stands beside a delimiter is text; the rest of its line is not
            if part.strip() or len(parts) == 1:
                block.add(part, number, is_cut)
    yield from block.take()


def _read_json_lines(stream: IO[str], options: ReadOptions) -> Iterator[Document | Reject]:
    for number, line, is_cut in _lines(stream):
        if not line.strip():
            continue
        if is_cut:
            yield make_reject(number, TOO_LONG, line)
            continue
        if not line.isascii() and SURROGATE.search(line):
            yield Reject(number, _UNDECODABLE, _around_surrogate(line))
            continue
        value = parse_line(line)
        if isinstance(value, Broken):  # several values on a line, or a comma behind one?
            values = [value for value, _, _ in parse_values(io.StringIO(line))]
            if values and not any(isinstance(value, Broken) for value in values):
                for one in values:
                    yield from documents_of(one, number, options.text_key, line)
                continue
        yield from documents_of(value, number, options.text_key, line)


def _read_json_values(stream: IO[str], options: ReadOptions) -> Iterator[Document | Reject]:
    for value, number, written in parse_values(stream):
        if SURROGATE.search(written):
            yield Reject(number, _UNDECODABLE, written)
        else:
            yield from documents_of(value, number, options.text_key, written)


def _around_surrogate(line: str) -> str:
    """As much of a line as shows the bytes that cannot be decoded."""
    found = SURROGATE.search(line)
    assert found is not None
    start = max(0, found.start() - 100)
    return line if len(line) < 400 else line[start : start + 400]


@contextlib.contextmanager
def _open_bytes(source: Source) -> Iterator[BinaryIO]:
    """The file's bytes, decompressed."""
    lower = source.path.name.lower()
    with contextlib.ExitStack() as stack:
        raw: Any = stack.enter_context(source.path.open("rb"))
        if lower.endswith(".gz"):
            raw = stack.enter_context(gzip.open(raw))
        elif lower.endswith(".xz"):
            raw = stack.enter_context(lzma.open(raw))
        with _told(source):
            yield raw


@contextlib.contextmanager
def _told(source: Source) -> Iterator[None]:
    """What goes wrong while a file is read, in one sentence that names it."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise CorruptInputError(
            f"{source.path} is damaged or cut short ({error}); bring a whole copy of it and run `ivr init` again"
        ) from None
    except UnicodeError as error:  # of a codec that does not let errors be marked
        raise CorruptInputError(f"{source.path} cannot be decoded ({error}); check --encoding") from None


def read_fully(stream: BinaryIO, size: int) -> bytes:
    """The next `size` bytes, fewer at the end only: a decompressor returns what it has."""
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _as_text(stream: BinaryIO, encoding: str, source: Source) -> IO[str]:
    """Text with LF line ends (CRLF and a lone CR become one); a byte that cannot be decoded is a lone surrogate."""
    codecs.register_error("ivr.mark", _mark_undecodable)
    return cast(IO[str], io.TextIOWrapper(_Undisturbed(stream), encoding, errors="ivr.mark", newline=None))


class _Undisturbed(io.RawIOBase):
    """A stream that a TextIOWrapper around it does not close."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1) -> bytes:
        return self._stream.read(max(size, 1 << 16))

    read = read1


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end
