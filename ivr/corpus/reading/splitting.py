"""Raw files cut into pieces of whole documents, so that several processes clean one file.

Where a file is cut depends on its bytes alone, never on the number of processes: the pieces' results one after
another are those of the file. A file whose documents can only be found from its beginning (compressed, one JSON
list, wide encodings) is one piece.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ivr.corpus.readers import Reading
from ivr.corpus.reading.shapes import delimiter_pattern
from ivr.corpus.sources import COMPRESSIONS, Source

PIECE_BYTES = 8 << 20
MOST_PIECE_BYTES = 1 << 26  # a line that is longer makes the file one piece: it is streamed
WINDOW_BYTES = 1 << 20
# encodings in which the bytes of LF, blanks and ASCII letters stand for nothing else
CUTTABLE = re.compile(
    r"utf-8|ascii|cp949|euc_kr|cp932|shift_jis|euc_jp|gb2312|gbk|gb18030|big5|cp\d+|iso8859-\d+|koi8-[rut]|mac-\w+"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """The bytes [begin, end) of a file; `end` is None where the piece is the whole file, to be streamed."""

    source: Source
    reading: Reading
    begin: int = 0
    end: int | None = None

    @property
    def is_whole(self) -> bool:
        return self.end is None

    def open(self) -> BinaryIO:
        """The bytes of a piece that is not whole."""
        assert self.end is not None
        with self.source.path.open("rb") as stream:
            stream.seek(self.begin)
            return io.BytesIO(stream.read(self.end - self.begin))


def pieces_of(source: Source, reading: Reading, delimiters: tuple[str, ...]) -> list[Piece]:
    """The pieces of one file, in its order; none of an empty file."""
    whole = [Piece(source, reading)]
    if source.name.lower().endswith(COMPRESSIONS) or reading.refused or not CUTTABLE.fullmatch(reading.encoding):
        return whole
    size = source.path.stat().st_size
    cut = _cut_pattern(reading, delimiters)
    if cut is None or size <= PIECE_BYTES:
        return whole
    ends = list(_ends(source.path, reading.mark_bytes, size, cut))
    begins = [reading.mark_bytes, *ends]
    if any(end - begin > MOST_PIECE_BYTES for begin, end in zip(begins, ends, strict=False)):
        return whole
    return [Piece(source, reading, begin, end) for begin, end in zip(begins, ends, strict=False)]


def _cut_pattern(reading: Reading, delimiters: tuple[str, ...]) -> re.Pattern[bytes] | None:
    """What ends at a place where no document is open; None where nothing does."""
    if reading.parted in ("line", "json-lines"):
        return re.compile(rb"\n")
    if reading.parted == "blank-line":
        return re.compile(rb"\n[ \t]*\r?\n")
    if reading.parted == "special-token":
        return re.compile(rb"(?:%s)[ \t]*\r?\n" % delimiter_pattern(delimiters).encode())
    return None


def _ends(path: Path, begin: int, size: int, cut: re.Pattern[bytes]) -> Iterator[int]:
    """Where pieces of about PIECE_BYTES end, the last at `size`."""
    with path.open("rb") as stream:
        while size - begin > PIECE_BYTES:
            found = _find(stream, begin + PIECE_BYTES, size, cut)
            yield found
            begin = found
    if begin < size:
        yield size


def _find(stream: BinaryIO, place: int, size: int, cut: re.Pattern[bytes]) -> int:
    """The first end of a match after `place`; `size` where there is none."""
    overlap = b""
    stream.seek(place)
    while block := stream.read(WINDOW_BYTES):
        data = overlap + block
        if found := cut.search(data):
            return place - len(overlap) + found.end()
        place += len(block)
        overlap = data[-4096:]
    return size
