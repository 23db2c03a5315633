"""JSON values from a text stream, one at a time, whatever the lines: a list's elements, or values one after another.

A buffer grows, by doubling, only as far as one value is long, so that a 100 MB list on a single line costs a
megabyte and a broken value costs no more than its own length.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

CHUNK_CHARACTERS = 1 << 20
# an error this near the end of what was read may be only because the rest is not there yet
UNDECIDED_CHARACTERS = 16
WRITTEN_CHARACTERS = 400
MOST_CHARACTERS = 1 << 26  # of one value; more is no document
_BLANK = " \t\n\r\ufeff"  # a mark stands within where files were put together
# ints are of no use here, and a long one raises; NaN, which `json` lets pass, is a number: never a text


@dataclass(frozen=True, slots=True)
class Broken:
    """Stands for a value that is not JSON."""

    reason: str


class Twice(dict[str, Any]):
    """An object in which a key stands more than once; the last one counts to `json`, and the others would be lost."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice = frozenset(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Twice(pairs)


_DECODER = json.JSONDecoder(parse_int=float, object_pairs_hook=_object)


def parse_line(line: str) -> Any:
    """The one value of a line, or Broken."""
    try:
        return _DECODER.decode(line.strip(_BLANK))
    except RecursionError:
        return Broken("JSON nested too deeply")
    except ValueError:
        return Broken("broken JSON")


def parse_values(stream: IO[str]) -> Iterator[tuple[Any, int, str]]:
    """(value, line it begins on, how it is written) for every element of a list, or every value of the stream.

    Between values of a stream may stand a comma.

    `written` is the value's beginning only, unless it holds a surrogate, which marks undecodable bytes.
    After a broken value the reading goes on at the next line that begins with `{`, where there is one and the file
    is no list; else the rest is left out and the reason says so.
    """
    buffer = _Buffer(stream)
    first = buffer.skip_blank()
    if not first:
        return
    is_list = first == "["
    if is_list:
        buffer.advance(1)
    while head := buffer.skip_blank():
        if is_list and head == "]":
            buffer.advance(1)
            if buffer.skip_blank():
                yield Broken("text after the end of the JSON list"), buffer.line, buffer.excerpt()
            return
        line = buffer.line
        value = buffer.take_value()
        if isinstance(value, Broken):
            written = buffer.excerpt()
            if is_list or not buffer.skip_to_object():
                yield Broken(value.reason + "; the rest of the file is left out"), line, written
                return
            yield value, line, written
            continue
        yield value, line, buffer.written
        after = buffer.skip_blank()
        if after == ",":  # without a list's brackets, too: lines cut out of one keep their commas
            buffer.advance(1)
        elif is_list and after and after != "]":
            yield Broken("broken JSON; the rest of the file is left out"), buffer.line, buffer.excerpt()
            return
    if is_list:
        yield Broken("JSON list without an end"), buffer.line, ""


class _Buffer:
    """The part of the stream that is being looked at, with a place and a line number in it."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream, self.text, self.place, self.line = stream, "", 0, 1
        self.written = ""  # of the last value taken
        self.ended = False

    def grow(self) -> bool:
        """Read about as much again as is waiting; False at the end of the stream."""
        waiting = len(self.text) - self.place
        more = self.stream.read(max(CHUNK_CHARACTERS, waiting))
        if not more:
            self.ended = True
            return False
        self.text = self.text[self.place :] + more
        self.place = 0
        return True

    def skip_blank(self) -> str:
        """Go to the next character that is not blank and return it; empty at the end."""
        while True:
            start = self.place
            while self.place < len(self.text) and self.text[self.place] in _BLANK:
                self.place += 1
            self.line += self.text.count("\n", start, self.place)
            if self.place < len(self.text):
                return self.text[self.place]
            if not self.grow():
                return ""

    def advance(self, characters: int) -> None:
        self.place += characters

    def take_value(self) -> Any:
        """Decode the value at the present place and step over it, or return Broken and stay."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.place)
            except RecursionError:
                return Broken("JSON nested too deeply")
            except json.JSONDecodeError as error:
                undecided = error.msg.startswith("Unterminated") or error.pos > len(self.text) - UNDECIDED_CHARACTERS
                if undecided and len(self.text) - self.place > MOST_CHARACTERS:
                    return Broken(f"longer than {MOST_CHARACTERS:,} characters")
                if undecided and self.grow():
                    continue
                return Broken("broken JSON")
            # a number near the end may go on in the next chunk, as 1.5 in `1.5e3`
            near_end = end > len(self.text) - UNDECIDED_CHARACTERS
            if near_end and isinstance(value, float) and not self.ended and self.grow():
                continue
            self.written = self._written(end)
            self.line += self.text.count("\n", self.place, end)
            self.place = end
            return value

    def _written(self, end: int) -> str:
        """The value's beginning; from the first undecodable byte on where there is one."""
        text = self.text[self.place : end]
        if text.isascii():
            return text[:WRITTEN_CHARACTERS]
        try:
            text.encode()
        except UnicodeEncodeError as error:
            start = max(0, error.start - WRITTEN_CHARACTERS // 4)
            return text[start : start + WRITTEN_CHARACTERS]
        return text[:WRITTEN_CHARACTERS]

    def excerpt(self) -> str:
        return self.text[self.place : self.place + WRITTEN_CHARACTERS]

    def skip_to_object(self) -> bool:
        """Go to the next line that begins with `{`; False where there is none."""
        while True:
            found = self.text.find("\n{", self.place)
            if found >= 0:
                self.line += self.text.count("\n", self.place, found + 1)
                self.place = found + 1
                return True
            # keep the last character: the line feed may be it
            self.line += self.text.count("\n", self.place, len(self.text) - 1)
            self.place = max(self.place, len(self.text) - 1)
            if not self.grow():
                return False
