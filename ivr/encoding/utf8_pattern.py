"""Sets of characters as patterns over the byte alphabet: what a pre-tokenizer needs that splits after ByteLevel.

A character is a lead byte and its continuation bytes (RFC 3629), so a set of characters is a small trie. Texts are
valid UTF-8: below a lead byte whose every character is in the set, any byte goes.
"""

from collections.abc import Iterable

import numpy as np

from ivr.encoding.byte_alphabet import BYTE_TO_CHARACTER

NON_ASCII_LEADS = range(0xC2, 0xF5)
_ENOUGH = 16  # second bytes, of 64, that make a lead byte worth an alternative of its own
_ASSIGNABLE = np.ones(0x110000, bool)
_ASSIGNABLE[0xD800:0xE000] = False  # surrogates are no characters


def quote(alphabet_text: str) -> str:
    """Byte-alphabet text as a pattern (Oniguruma, Python's regex) that matches just it."""
    return "".join(f"\\x{ord(c):02x}" if c.isascii() and not c.isalnum() else c for c in alphabet_text)


def group(unit: str) -> str:
    """A pattern for this byte-alphabet text that a count may follow.

    >>> group("a"), group("ab")
    ('a', '(?:ab)')
    """
    return quote(unit) if len(unit) == 1 else f"(?:{quote(unit)})"


def byte_class(values: Iterable[int]) -> str:
    """`[...]` for these byte values."""
    return character_class(BYTE_TO_CHARACTER[value] for value in values)


def character_class(characters: Iterable[str]) -> str:
    """`[...]` for these characters, neighbouring ones as ranges; a single one as itself."""
    ordered = sorted(set(characters))
    if len(ordered) == 1:
        return quote(ordered[0])
    parts: list[list[str]] = []
    for character in ordered:
        if parts and ord(character) == ord(parts[-1][-1]) + 1:
            parts[-1].append(character)
        else:
            parts.append([character])
    ranges = (f"{quote(p[0])}-{quote(p[-1])}" if len(p) > 2 else "".join(map(quote, p)) for p in parts)
    return f"[{''.join(ranges)}]"


def alternatives(strings: Iterable[str]) -> list[str]:
    """Patterns that together match these byte-alphabet strings and nothing else; strings that differ in their last
    character alone share one, with a class. Their order is no order to search in.

    >>> alternatives(["10", "12", "11", "7", "ab"])
    ['7', '1[0-2]', 'ab']
    """
    by_beginning: dict[str, list[str]] = {}
    for string in sorted(strings):
        by_beginning.setdefault(string[:-1], []).append(string[-1])
    return [f"{quote(beginning)}{character_class(by_beginning[beginning])}" for beginning in sorted(by_beginning)]


def either(strings: Iterable[str]) -> str:
    """These alternatives, to be put in a group."""
    return "|".join(alternatives(strings))


def characters_pattern(code_points: np.ndarray) -> str:
    """Alternatives (to be put in a group) that match the UTF-8 of these characters, and of no other, in valid UTF-8.

    Lead bytes with many characters come first, after ASCII, but those of four bytes, rare in text, last.
    Empty for an empty set.
    """
    wanted = np.zeros(0x110000, bool)
    wanted[code_points] = True
    wanted &= _ASSIGNABLE
    ascii_points = np.flatnonzero(wanted[:0x80]).tolist()
    held: dict[str, tuple[bool, int]] = {}
    for low, high, prefix, size in ((0x80, 0x800, 0xC0, 2), (0x800, 0x10000, 0xE0, 3), (0x10000, 0x110000, 0xF0, 4)):
        by_rest: dict[str, list[int]] = {}
        span = 64 ** (size - 1)  # characters that a lead byte begins
        for lead in range(low // span, -(-high // span)):
            inside = slice(max(lead * span, low), min((lead + 1) * span, high))
            rest = _rest(wanted[inside], _ASSIGNABLE[inside], inside.start - lead * span, size - 1)
            if rest:
                by_rest.setdefault(rest, []).append(prefix | lead)
        held |= {byte_class(leads) + rest: (size < 4, _held(wanted, leads)) for rest, leads in by_rest.items()}
    options = [byte_class(ascii_points)] if ascii_points else []
    return "|".join([*options, *sorted(held, key=lambda option: held[option], reverse=True)])


def dense_characters_pattern(code_points: np.ndarray) -> str:
    """Alternatives for those of these characters that fill lead bytes, or enough second bytes of one, "" for none.

    Few and cheap to try, they hold nearly all characters of most scripts. Those with most characters come first, but
    lead bytes of two-byte characters, which alphabets fill, right behind the first.
    """
    wanted = np.zeros(0x110000, bool)
    wanted[code_points] = True
    wanted &= _ASSIGNABLE
    pairs = [lead for lead in range(0xC2, 0xE0) if wanted[(lead & 0x1F) << 6 :][:64].all()]
    full_L64 = {lead: wanted[(lead & 0xF) << 12 :][:4096].reshape(64, 64).all(axis=1) for lead in range(0xE1, 0xF0)}
    whole = [lead for lead, full_64 in full_L64.items() if full_64.all()]
    parts = [lead for lead in full_L64 if lead not in whole and full_L64[lead].sum() >= _ENOUGH]
    options = [f"{byte_class(whole)}.."] if whole else []
    options += [f"{byte_class(pairs)}."] if pairs else []
    for lead in sorted(parts, key=lambda lead: -full_L64[lead].sum()):
        options.append(f"{byte_class([lead])}{byte_class((0x80 + np.flatnonzero(full_L64[lead])).tolist())}.")
    return "|".join(options)


def _held(wanted: np.ndarray, leads: list[int]) -> int:
    return int(wanted[np.isin(_LEADS, leads)].sum())


def lead_bytes() -> np.ndarray:
    """The first byte of the UTF-8 of every code point, uint8 (0x110000)."""
    points = np.arange(0x110000)
    two, three, four = points >> 6 | 0xC0, points >> 12 | 0xE0, points >> 18 | 0xF0
    leads = np.select([points < 0x80, points < 0x800, points < 0x10000], [points, two, three], four)
    return leads.astype(np.uint8)


_LEADS = lead_bytes()


def _rest(wanted: np.ndarray, possible: np.ndarray, base: int, size: int) -> str:
    """What may follow a prefix: `size` continuation bytes, of which the first `base` values are no UTF-8 at all."""
    if not wanted.any():
        return ""
    if (wanted == possible).all():
        return "." * size
    if size == 1:
        return byte_class((0x80 + base + np.flatnonzero(wanted)).tolist())
    span = 64 ** (size - 1)
    by_rest: dict[str, list[int]] = {}
    for second in range(base // span, (base + len(wanted)) // span):
        inside = slice(second * span - base, (second + 1) * span - base)
        rest = _rest(wanted[inside], possible[inside], 0, size - 1)
        if rest:
            by_rest.setdefault(rest, []).append(0x80 + second)
    options = [byte_class(seconds) + rest for rest, seconds in by_rest.items()]
    return options[0] if len(options) == 1 else f"(?:{'|'.join(options)})"
