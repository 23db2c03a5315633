"""What a very long pretoken is fitted to: overlapping parts of it, from a border of BPE's tokens to another.

A part of BPE's segmentation is BPE's for its string (THEOREM.md, 2), so that each part has its own answer. Where two
segmentations differ they do so between two borders that both have, mostly a few bytes apart: all that is shorter than
half a window lies in one of them. One string of megabytes would ask for one constraint a round, and of a long repeat
all windows are the same string.
"""

from collections.abc import Sequence

import numpy as np

from ivr.encoding.batch import Batch
from ivr.encoding.bpe_encoder import BpeEncoder

LONGEST = 8192  # bytes of a pretoken that is fitted as it is
WINDOW = 4096


def in_windows(pretokens: Sequence[str], encoder: BpeEncoder, lengths_V: np.ndarray) -> list[str]:
    """The pretokens, the very long ones replaced by their windows, each distinct string once.

    `lengths_V`: bytes of every token. A window begins and ends at a character.
    """
    strings: dict[str, None] = {}
    for text in pretokens:
        data = text.encode() if len(text) * 4 > LONGEST else b""
        if len(data) <= LONGEST:
            strings[text] = None
            continue
        ends = np.cumsum(lengths_V[encoder.encode(Batch.of([data]), threads=1).ids])
        inside = ends[:-1][(np.frombuffer(data, np.uint8)[ends[:-1]] & 0xC0) != 0x80]
        borders = np.concatenate([[0], inside, [len(data)]])
        begin = 0
        while True:
            end = min(int(np.searchsorted(borders, borders[begin] + WINDOW)), len(borders) - 1)
            strings[data[borders[begin] : borders[end]].decode()] = None
            if end == len(borders) - 1:
                break
            begin = max(begin + 1, int(np.searchsorted(borders, borders[begin] + WINDOW // 2)))
    return list(strings)
