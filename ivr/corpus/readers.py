"""Documents from .txt, .jsonl and .json files, each also compressed; what cannot be read comes back as a Reject.

Files are streamed: memory holds one document (a line, a paragraph, an element of a JSON list), not the file.
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
from typing import IO, Any, cast

from ivr.corpus.json_stream import Broken, parse_line, parse_values
from ivr.corpus.sources import Source
from ivr.errors import ConfigError, CorruptInputError

SEPARATORS = ("auto", "blank-line", "line", "file")
SEPARATOR_PROBE_CHARACTERS = 1 << 20
EXCERPT_CHARACTERS = 200
_MISSING = object()
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_SURROGATE = re.compile("[\ud800-\udfff]")
_KINDS = {dict: "an object", list: "a list", float: "a number", bool: "true or false", type(None): "null"}


@dataclass(frozen=True, slots=True)
class Document:
    """One document as it stands in the file; `line` is where it begins, counted from 1."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Reject:
    """Something that is left out: where, why and how it looks."""

    line: int
    reason: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read; `document_separator` is for .txt, `text_key` for .jsonl and .json."""

    text_key: str = "text"
    encoding: str = "utf-8"
    document_separator: str = "auto"


def check_encoding(encoding: str) -> None:
    """Raises ConfigError for an encoding Python does not know, or that is not one of text."""
    try:
        "a".encode(encoding).decode(encoding)
    except (LookupError, UnicodeError):
        raise ConfigError(f"--encoding {encoding}: unknown text encoding; try utf-8, utf-16 or latin-1") from None


def read_source(source: Source, options: ReadOptions) -> Iterator[Document | Reject]:
    """Every document of a file and a Reject for everything that is none, in the file's order.

    Raises CorruptInputError, naming the file, for a compressed file that is cut short or damaged.
    """
    read = {".txt": _read_txt, ".jsonl": _read_jsonl, ".json": _read_json}[source.format]
    with _open_text(source, options.encoding) as stream:
        for item in read(stream, options):
            if isinstance(item, Document) and _SURROGATE.search(item.text):
                # our decoder marks bytes it cannot decode by surrogates; JSON escapes can spell them too
                reason = f"invalid {options.encoding}" if source.format == ".txt" else "lone surrogate"
                item = _reject(item.line, reason, item.text)
            yield item


def choose_separator(source: Source, options: ReadOptions) -> str:
    """What parts the documents of a .txt file: `auto` looks for a blank line in its first million characters."""
    if options.document_separator != "auto":
        return options.document_separator
    with _open_text(source, options.encoding) as stream:
        beginning = stream.read(SEPARATOR_PROBE_CHARACTERS).strip()
    return "blank-line" if _BLANK_LINE.search(beginning) else "line"


def _read_txt(stream: IO[str], options: ReadOptions) -> Iterator[Document | Reject]:
    if options.document_separator == "file":
        yield Document(stream.read(), 1)
        return
    if options.document_separator == "line":
        for number, line in enumerate(stream, start=1):
            yield Document(line.removesuffix("\n"), number)
        return
    assert options.document_separator == "blank-line", "the caller resolves auto"
    lines: list[str] = []
    number = 0
    for number, line in enumerate(stream, start=1):
        if line.strip():
            lines.append(line)
        elif lines:
            yield Document("".join(lines).removesuffix("\n"), number - len(lines))
            lines = []
    if lines:
        yield Document("".join(lines).removesuffix("\n"), number - len(lines) + 1)


def _read_jsonl(stream: IO[str], options: ReadOptions) -> Iterator[Document | Reject]:
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        if _SURROGATE.search(line):
            yield _reject(number, f"invalid {options.encoding}", line)
            continue
        yield _document_of(parse_line(line), number, options.text_key, line)


def _read_json(stream: IO[str], options: ReadOptions) -> Iterator[Document | Reject]:
    for value, number, written in parse_values(stream):
        if _SURROGATE.search(written):
            yield _reject(number, f"invalid {options.encoding}", written)
        else:
            yield _document_of(value, number, options.text_key, written)


def _document_of(value: Any, line: int, text_key: str, written: str) -> Document | Reject:
    """The document in one JSON value: the value itself where it is a string, else what `text_key` leads to."""
    if isinstance(value, Broken):
        return _reject(line, value.reason, written)
    if isinstance(value, dict):
        text = _look_up(value, text_key)
        if text is _MISSING:
            return _reject(line, f"no key {text_key!r}", written)
        if not isinstance(text, str):
            return _reject(line, f"{text_key!r} is {_KINDS[type(text)]}, not a string", written)
        return Document(text, line)
    if isinstance(value, str):
        return Document(value, line)
    return _reject(line, f"{_KINDS[type(value)]}, not an object or a string", written)


def _look_up(value: dict[str, Any], text_key: str) -> Any:
    """`a.b` is the key `a.b` where there is one, else the key `b` of the object under `a`."""
    if text_key in value:
        return value[text_key]
    found: Any = value
    for key in text_key.split("."):
        if not isinstance(found, dict) or key not in found:
            return _MISSING
        found = found[key]
    return found


def _reject(line: int, reason: str, text: str) -> Reject:
    return Reject(line, reason, excerpt(text))


def excerpt(text: str) -> str:
    """The beginning of `text`, as UTF-8 can hold it: invalid bytes and surrogates are spelled out."""
    beginning = text[:EXCERPT_CHARACTERS].rstrip("\n")
    return _SURROGATE.sub(lambda found: _spell(found.group()), beginning)[:EXCERPT_CHARACTERS]


def _spell(surrogate: str) -> str:
    code = ord(surrogate)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


@contextlib.contextmanager
def _open_text(source: Source, encoding: str) -> Iterator[IO[str]]:
    """The file's text with LF line ends and without a BOM; a byte that cannot be decoded is a lone surrogate."""
    codecs.register_error("ivr.mark", _mark_undecodable)
    lower = source.path.name.lower()
    try:
        with contextlib.ExitStack() as stack:
            raw: Any = stack.enter_context(source.path.open("rb"))
            if lower.endswith(".gz"):
                raw = stack.enter_context(gzip.open(raw))
            elif lower.endswith(".xz"):
                raw = stack.enter_context(lzma.open(raw))
            # newline=None: CRLF and a lone CR become LF
            stream = stack.enter_context(io.TextIOWrapper(raw, encoding, errors="ivr.mark", newline=None))
            yield cast(IO[str], _WithoutBom(stream))
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise CorruptInputError(
            f"{source.path} is damaged or cut short ({error}); bring a whole copy of it and run `ivr init` again"
        ) from None


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


class _WithoutBom:
    """A text stream without the byte order mark that may open it. Only what the readers use."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._first = True

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(self._stream):
            yield line.removeprefix("\ufeff") if number == 0 else line

    def read(self, size: int = -1) -> str:
        text = self._stream.read(size)
        if self._first and text.startswith("\ufeff"):
            text = text[1:] or self._stream.read(size)
        self._first = False
        return text
