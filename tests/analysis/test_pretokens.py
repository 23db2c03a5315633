"""PretokenSplitter = the pre-tokenizer of the `tokenizers` library, on any text."""

import random
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pre_tokenizers_of_others import BY_THE_LIBRARY, OTHERS
from small_bpe import bpe_of
from tiny_run import NASTY
from tokenizers import Regex, Tokenizer, normalizers
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split, Whitespace

from ivr.analysis.pretokens import PretokenSplitter, pretoken_encoder
from ivr.encoding.byte_alphabet import from_alphabet, to_alphabet
from ivr.errors import ConfigError

CHARACTERS = st.characters(exclude_categories=["Cs"])
# what decides borders: blanks of every kind, apostrophes with their letters, classes at the edge of Unicode tables
TRICKY = list(
    " '\u2019strevldmSTREVLDM a1!\n\r\t\u00a0\u2003\u3000\u200b\u200d\ufeff\u0301\u0085\u001c\u00b2½ㅋ한🙂Ⅷ"
) + list("\u088f\u0c5c\U0001df1f\u0378\ue000\U0010ffff\u0e33\u1680\u180e\x00\x0b\u2028")


def tokenizer_with(pre_tokenizer: object) -> Tokenizer:
    tokenizer = bpe_of([("a", "b")])
    tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer


def by_library(tokenizer: Tokenizer, text: str) -> list[bytes]:
    return [from_alphabet(piece) for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def by_us(splitter: PretokenSplitter, text: str) -> list[bytes]:
    return [pretoken.encode() for pretoken in splitter(text)]


GPT2 = tokenizer_with(ByteLevel(add_prefix_space=False))
PREFIXED = tokenizer_with(ByteLevel(add_prefix_space=True))
SPLITTER, PREFIXING_SPLITTER = PretokenSplitter(GPT2), PretokenSplitter(PREFIXED)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(CHARACTERS), st.text(st.sampled_from(TRICKY), max_size=40)))
@example("'")
@example("x'")
@example("'r")
@example("   ")
@example(" \n x")
def test_any_text_is_split_as_the_library_splits_it(text: str) -> None:
    assert by_us(SPLITTER, text) == by_library(GPT2, text)
    assert by_us(PREFIXING_SPLITTER, text) == by_library(PREFIXED, text)


def test_characters_of_every_plane_in_every_kind_of_company() -> None:
    characters = [*range(0x3400), *range(0x3400, 0x10000, 23), *range(0x10000, sys.maxunicode + 1, 211)]
    characters = [chr(c) for c in characters if not 0xD800 <= c < 0xE000]
    draw = random.Random(0)
    draw.shuffle(characters)
    company = ["a", "1", "!", " ", "  ", "\n", "'s", "'", ""]
    for begin in range(0, len(characters), 500):
        text = "".join(draw.choice(company) + character for character in characters[begin : begin + 500] * 2)
        assert by_us(SPLITTER, text) == by_library(GPT2, text)


@pytest.mark.parametrize("text", NASTY)
def test_texts_at_once_are_split_as_one_by_one(text: str) -> None:
    assert SPLITTER.lists(["", text, " ", text]) == [[], SPLITTER(text), [" "], SPLITTER(text)]
    assert "".join(SPLITTER(text)) == text


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OTHERS, *BY_THE_LIBRARY])
def test_another_pre_tokenizer_splits_as_the_library_does(name: str) -> None:
    tokenizer = tokenizer_with({**OTHERS, **BY_THE_LIBRARY}[name]())
    splitter = PretokenSplitter(tokenizer)
    assert splitter.is_compiled == (name in OTHERS)
    for text in [*NASTY, "all 12345 llamas", "DON'T İ'LL isn'ſt 'ſ"]:
        assert by_us(splitter, text) == by_library(tokenizer, text)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_another_pre_tokenizer_on_characters_of_every_class(name: str) -> None:
    draw = random.Random(name)
    tokenizer = tokenizer_with(OTHERS[name]())
    splitter = PretokenSplitter(tokenizer)
    characters = [chr(c) for c in range(0x33000) if not 0xD800 <= c < 0xE000] + list("aAzZ109 \t\n\r'!/-\u00a0") * 2000
    draw.shuffle(characters)
    for begin in range(0, len(characters), 300):
        text = "".join(characters[begin : begin + 300])
        assert by_us(splitter, text) == by_library(tokenizer, text)


@pytest.mark.parametrize("pre_tokenizer", [Whitespace(), Sequence([ByteLevel(), ByteLevel()])])
def test_a_tokenizer_that_is_not_byte_level_is_refused(pre_tokenizer: object) -> None:
    with pytest.raises(ConfigError, match="ByteLevel"):
        PretokenSplitter(tokenizer_with(pre_tokenizer))


@pytest.mark.parametrize("normalizer", [normalizers.NFC(), normalizers.NFKC(), normalizers.Lowercase()])
def test_text_is_split_as_the_normalizer_leaves_it(normalizer: normalizers.Normalizer) -> None:
    tokenizer = tokenizer_with(ByteLevel(add_prefix_space=False))
    tokenizer.normalizer = normalizer
    splitter = PretokenSplitter(tokenizer)
    for text in [*NASTY, "cafe\u0301s", "Å ﬁ \u212b", "\u1100\u1161\u11a8"]:
        assert by_us(splitter, text) == by_library(tokenizer, normalizer.normalize_str(text))


def test_the_pretoken_encoder_takes_its_input_whole() -> None:
    encoder = pretoken_encoder(tokenizer_with(ByteLevel(add_prefix_space=True)))
    text = "ab ab <|endoftext|>1"
    assert encoder.pre_tokenizer.pre_tokenize_str(text) == [(to_alphabet(text.encode()), (0, len(text)))]
    assert "".join(encoder.encode(text).tokens).startswith("abĠab")
    assert 257 not in encoder.encode(text).ids  # the id of <|endoftext|>


def test_the_pretoken_encoder_keeps_cuts_after_byte_level() -> None:
    cut = Sequence([ByteLevel(add_prefix_space=False), Split(Regex("(?<=a)(?=b)"), "isolated")])
    assert pretoken_encoder(tokenizer_with(cut)).encode("ab b").tokens == ["a", "b", "Ġ", "b"]
