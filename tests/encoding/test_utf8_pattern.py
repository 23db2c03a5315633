"""Sets of characters as patterns over the byte alphabet: every character of the set, and no other."""

import numpy as np
import pytest
import regex

from ivr.encoding.byte_alphabet import to_alphabet
from ivr.encoding.utf8_pattern import (
    character_class,
    characters_pattern,
    dense_characters_pattern,
    lead_bytes,
    quote,
)

ALL = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
SETS = {
    "hangul and kana": [*range(0xAC00, 0xD7A4), *range(0x3041, 0x3097)],
    "one of each length": [0x41, 0xE9, 0x20AC, 0x1F600],
    "the borders of every length": [0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF],
    "all but the digits": [point for point in range(0x110000) if not 0x30 <= point < 0x3A],
    "every third": list(range(0, 0x110000, 3)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_matches_the_characters_of_the_set_and_no_other(name: str) -> None:
    members = np.array(SETS[name])
    matcher = regex.compile(f"(?:{characters_pattern(members)})")
    texts = [to_alphabet(character.encode()) for character in ALL[::7]]
    found = {character for character, text in zip(ALL[::7], texts, strict=True) if matcher.fullmatch(text)}
    wanted = set(members.tolist())
    assert found == {character for character in ALL[::7] if ord(character) in wanted}


@pytest.mark.parametrize("name", ["hangul and kana", "the borders of every length", "all but the digits"])
def test_the_dense_ones_are_of_the_set(name: str) -> None:
    members = np.array(SETS[name])
    matcher = regex.compile(f"(?:{dense_characters_pattern(members) or '(?!)'})")
    wanted = set(members.tolist())
    found = [character for character in ALL[::7] if matcher.fullmatch(to_alphabet(character.encode()))]
    assert wanted.issuperset(map(ord, found))
    held = {"hangul and kana": 0.98, "the borders of every length": 0, "all but the digits": 0.05}
    assert len(found) >= held[name] * len(wanted) / 7


def test_nothing_for_an_empty_set() -> None:
    assert characters_pattern(np.array([], np.int64)) == ""
    assert dense_characters_pattern(np.array([], np.int64)) == ""


def test_lead_bytes_are_those_of_python() -> None:
    leads = lead_bytes()
    assert all(leads[ord(character)] == character.encode()[0] for character in ALL[::101])


def test_quoted_text_matches_itself_only() -> None:
    text = to_alphabet("a.b*[é]\\ ^$".encode())
    assert regex.fullmatch(quote(text), text)
    assert not regex.fullmatch(quote("."), "x")
    assert regex.fullmatch(character_class("abcd-]^"), "]")
    assert not regex.fullmatch(character_class("abcd-]^"), "e")
