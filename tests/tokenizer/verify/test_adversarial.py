"""The generator of hard strings: the same for a seed, everywhere; and it reaches what it says."""

import hashlib
import os
import subprocess
import sys

import pytest
from builders import END, bpe_tokenizer

from ivr.encoding.byte_alphabet import CHARACTER_TO_BYTE, from_alphabet
from ivr.tokenizer.verify.adversarial import BLOCK, KINDS, Vocabulary, blocks, strings
from ivr.tokenizer.verify.pair import Pair

VOCABULARY = Vocabulary(["the", " cell", "protein", " 12", "é", "\n", "세"], ["the", "cell", "protein"])
DIGEST = f"""
import hashlib
from ivr.tokenizer.verify.adversarial import Vocabulary, strings
print(hashlib.sha256(repr(strings(7, 3, 500, {VOCABULARY!r})).encode()).hexdigest())
"""


def of_kind(kind: str, count: int) -> list[str]:
    found = strings(1, 0, count * len(KINDS), VOCABULARY)
    return [text for name, text in found if name == kind]


def test_a_seed_gives_the_same_strings_in_any_process() -> None:
    here = hashlib.sha256(repr(strings(7, 3, 500, VOCABULARY)).encode()).hexdigest()
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    there = subprocess.run([sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_seeds_and_blocks_differ() -> None:
    assert strings(0, 0, 50, VOCABULARY) != strings(1, 0, 50, VOCABULARY)
    assert strings(0, 0, 50, VOCABULARY) != strings(0, 1, 50, VOCABULARY)


def test_fewer_strings_are_the_first_of_more() -> None:
    assert strings(0, 2, 30, VOCABULARY) == strings(0, 2, 400, VOCABULARY)[:30]
    few, many = blocks(0, BLOCK + 10), blocks(0, 3 * BLOCK)
    assert [(block.number, block.count) for block in few] == [(0, BLOCK), (1, 10)]
    assert few[0] == many[0] and sum(block.count for block in many) == 3 * BLOCK
    assert blocks(0, 0) == []


def test_the_kinds_take_turns() -> None:
    assert [kind for kind, _ in strings(0, 0, 2 * len(KINDS), VOCABULARY)] == [*KINDS, *KINDS]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bytes"])
def test_texts_can_be_written_as_utf_8(kind: str) -> None:
    found = of_kind(kind, 500)
    assert b"".join(text.encode() for text in found)
    assert len(set(found)) > 100


def test_unicode_of_all_planes() -> None:
    assert {ord(character) >> 16 for text in of_kind("unicode", 3000) for character in text} == set(range(17))


def test_bytes_are_in_the_byte_alphabet_and_mostly_no_text() -> None:
    found = of_kind("bytes", 500)
    assert all(symbol in CHARACTER_TO_BYTE for text in found for symbol in text)
    assert {byte for text in found for byte in from_alphabet(text)} == set(range(256))
    valid = 0
    for text in found:
        try:
            from_alphabet(text).decode()
            valid += 1
        except UnicodeDecodeError:
            pass
    assert 0 < valid < len(found) / 2


def test_joined_tokens_are_two_to_six() -> None:
    for text in of_kind("tokens", 200):
        assert 2 <= len(text) <= 6 * max(map(len, VOCABULARY.texts))


def test_the_vocabulary_leaves_out_added_tokens_and_parts_of_characters() -> None:
    text = bpe_tokenizer().to_str()
    vocabulary = Vocabulary.of(Pair(text, text))
    assert "\ufffd" not in "".join(vocabulary.texts) and END not in vocabulary.texts
    assert " carcinoma" in vocabulary.texts and "carcinoma" in vocabulary.words
    assert all(word.isalpha() for word in vocabulary.words)
