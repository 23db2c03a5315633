r"""GPT-2's pre-tokenizer pattern as one compiled pass over UTF-8 bytes.

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

Which character is a letter, a number or a blank is the caller's to say: Unicode tables differ with their age.
"""

import numpy as np

from ivr.encoding.batch import Batch
from ivr.encoding.compiler import compiled

PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LETTER, NUMBER, OTHER, BLANK, UNSEEN = range(5)
NUM_CODE_POINTS = 0x110000
UNSEEN_AT_ONCE = 4096


@compiled
def _character(data, i):  # type: ignore[no-untyped-def]
    """(code point, bytes) of the character that starts at `i`."""
    first = np.int64(data[i])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | (data[i + 1] & 0x3F), 2
    if first < 0xF0:
        return (first & 0x0F) << 12 | np.int64(data[i + 1] & 0x3F) << 6 | (data[i + 2] & 0x3F), 3
    high = (first & 0x07) << 18 | np.int64(data[i + 1] & 0x3F) << 12
    return high | np.int64(data[i + 2] & 0x3F) << 6 | (data[i + 3] & 0x3F), 4


@compiled
def _unseen(data, classes, found):  # type: ignore[no-untyped-def]
    """Write code points whose class is not known into `found` (some twice) until it is full; returns how many."""
    count = 0
    i = 0
    while i < len(data) and count < len(found):
        code_point, size = _character(data, i)
        if classes[code_point] == UNSEEN:
            found[count] = code_point
            count += 1
        i += size
    return count


@compiled
def _contraction(data, i, end):  # type: ignore[no-untyped-def]
    """Bytes of 's 't 'm 'd 're 've 'll at `i`, where an apostrophe stands; 0 for none."""
    first = data[i + 1] if i + 1 < end else 0
    if first == ord("s") or first == ord("t") or first == ord("m") or first == ord("d"):
        return 2
    second = data[i + 2] if i + 2 < end else 0
    if (second == ord("e") and (first == ord("r") or first == ord("v"))) or (first == second == ord("l")):
        return 3
    return 0


@compiled
def _piece_end(data, i, end, classes):  # type: ignore[no-untyped-def]
    """Where the match that starts at `i` ends; the text ends at `end`."""
    if data[i] == ord("'"):
        size = _contraction(data, i, end)
        if size > 0:
            return i + size
    code_point, size = _character(data, i)
    kind = classes[code_point]
    j = i + size
    if data[i] == ord(" ") and j < end:
        code_point, size = _character(data, j)
        if classes[code_point] != BLANK:
            kind = classes[code_point]
            j += size
    last = i
    while j < end:
        code_point, size = _character(data, j)
        if classes[code_point] != kind:
            # a run of blanks leaves its last one to what follows
            return last if kind == BLANK and last > i else j
        last = j
        j += size
    return j


@compiled
def _split(data, starts, classes, ends, piece_starts):  # type: ignore[no-untyped-def]
    pieces = 0
    for text in range(len(starts) - 1):
        i = starts[text]
        while i < starts[text + 1]:
            i = _piece_end(data, i, starts[text + 1], classes)
            ends[pieces] = i
            pieces += 1
        piece_starts[text + 1] = pieces


def unseen_code_points(data: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Some code points of UTF-8 `data` whose class is UNSEEN, each once; empty when all are known."""
    found = np.empty(UNSEEN_AT_ONCE, np.int32)
    return np.unique(found[: _unseen(data, classes, found)])


def split(texts: Batch, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(where each piece ends, int64; which pieces a text has: `starts[n]:starts[n + 1]`). Pieces join up to the texts.

    `classes`: uint8 (NUM_CODE_POINTS), without UNSEEN for any character of these texts, which are valid UTF-8.
    """
    ends = np.empty(len(texts.data), np.int64)  # at most; pages that are never written take no memory
    piece_starts = np.zeros(len(texts) + 1, np.int64)
    _split(texts.data, texts.starts, classes, ends, piece_starts)
    return ends[: piece_starts[-1]], piece_starts
