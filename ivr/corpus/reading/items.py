"""What the readers yield: documents, and what is left out with its reason."""

import re
from dataclasses import dataclass

EXCERPT_CHARACTERS = 200
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Document:
    """One document as it stands in the file; `line` is where it begins, counted from 1."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Reject:
    """Something that is left out: where, why and how it looks; of an object without the text's key, its other keys
    with the characters they hold."""

    line: int
    reason: str
    excerpt: str
    keys: tuple[tuple[str, int], ...] = ()


def make_reject(line: int, reason: str, text: str, keys: tuple[tuple[str, int], ...] = ()) -> Reject:
    """A Reject with the beginning of `text`."""
    return Reject(line, reason, excerpt(text), keys)


def excerpt(text: str) -> str:
    """The beginning of `text`, as UTF-8 can hold it: invalid bytes and surrogates are spelled out."""
    beginning = text[:EXCERPT_CHARACTERS].rstrip("\n")
    return SURROGATE.sub(lambda found: _spell(found.group()), beginning)[:EXCERPT_CHARACTERS]


def _spell(surrogate: str) -> str:
    code = ord(surrogate)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
