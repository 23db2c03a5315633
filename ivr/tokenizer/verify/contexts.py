"""The characters that `ivr verify` puts beside a run: all that share a token with it, and some of every other kind.

Where no token reaches across the border between a neighbour and a run, both models part them there whatever the
scores, so that neighbours of that kind are all alike to them. What is left is how a pre-tokenizer's pattern takes them:
by class.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain

MORE_CHARACTERS = "éßяжλא中の가ㅋ한€…–—’“•█─★😀\u00a0\u200b\u3000٣½²ÃÂÍÛ\ufffd"
SCANNED = (  # code points
    range(0x80, 0xD800),
    range(0xE000, 0x10000),
    range(0x1F000, 0x1FB00),
    range(0x20000, 0x20100),
    range(0xF0000, 0xF0100),
    range(0x100000, 0x100100),
)


def kind_of(character: str) -> str:
    """`blank`, or the first letter of the Unicode category: what patterns tell apart."""
    return "blank" if character.isspace() else unicodedata.category(character)[0]


def neighbours() -> tuple[list[str], list[str]]:
    """(left, right): ASCII, one character of each kind for every last (left) or first (right) byte, and some more."""
    left: dict[tuple[int, str], str] = {}
    right: dict[tuple[int, str], str] = {}
    for character in _scanned():
        kind, data = kind_of(character), character.encode()
        left.setdefault((data[-1], kind), character)
        right.setdefault((data[0], kind), character)
    ascii_characters = list(map(chr, range(128)))
    return (
        list(dict.fromkeys([*ascii_characters, *left.values(), *MORE_CHARACTERS])),
        list(dict.fromkeys([*ascii_characters, *right.values(), *MORE_CHARACTERS])),
    )


@cache
def _scanned() -> list[str]:
    # unassigned here, a code point may be assigned in another version of Unicode
    return [character for character in map(chr, chain(*SCANNED)) if unicodedata.category(character) != "Cn"]


class TokenIndex:
    """The tokens that hold a byte, for each byte."""

    def __init__(self, tokens: Iterable[bytes]) -> None:
        self._holding: dict[int, list[bytes]] = {byte: [] for byte in range(256)}
        for token in tokens:
            for byte in set(token):
                self._holding[byte].append(token)

    def places(self, byte: int) -> Iterator[tuple[bytes, int]]:
        """(token, place) of every occurrence of a byte in a token."""
        for token in self._holding[byte]:
            place = token.find(byte)
            while place >= 0:
                yield token, place
                place = token.find(byte, place + 1)

    def longest_run(self, unit: bytes) -> int:
        """The longest run of a unit inside a token, at least 1."""
        longest = 1
        for token in self._holding[unit[0]]:
            while unit * (longest + 1) in token:
                longest += 1
        return longest


def joined_neighbours(unit: str, tokens: TokenIndex) -> tuple[list[str], list[str]]:
    """(left, right): every character whose bytes, or a part of them, stand right beside the unit inside some token."""
    run = unit.encode()
    before = {token[:place] for token, place in tokens.places(run[0]) if place and _continues(token[place:], run)}
    after = {
        token[place + 1 :]
        for token, place in tokens.places(run[-1])
        if place + 1 < len(token) and _continues(token[place::-1], run[::-1])
    }
    return (
        _characters(before, lambda part: part.decode(errors="ignore")[-1:], bytes.endswith),
        _characters(after, lambda part: part.decode(errors="ignore")[:1], bytes.startswith),
    )


def _continues(part: bytes, unit: bytes) -> bool:
    """True when `part` is a beginning of a run of `unit`, or begins with one unit and then something else."""
    return part.startswith(unit) or (unit * (len(part) // len(unit) + 1)).startswith(part)


def _characters(
    parts: Iterable[bytes], nearest: Callable[[bytes], str], fits: Callable[[bytes, bytes], bool]
) -> list[str]:
    """The neighbouring character of each part of a token; where that is only a piece of one, all that it fits."""
    found, pieces = set(), set()
    for part in parts:
        if _is_text(part):
            found.add(nearest(part))
        elif len(part) <= 3:
            pieces.add(part)
        else:
            found.add(nearest(part))
    if pieces:
        found |= {c for c in _scanned() if any(fits(c.encode(), piece) for piece in pieces)}
    return sorted(character for character in found if character)


def _is_text(part: bytes) -> bool:
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return True


def one_of_each_kind(characters: Sequence[str]) -> list[str]:
    """The first character of each kind."""
    return list({kind_of(character): character for character in reversed(characters)}.values())
