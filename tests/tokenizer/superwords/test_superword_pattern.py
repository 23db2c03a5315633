"""A superword is one piece wherever its pretokens stand, longest first from the left; other text is split as before."""

import itertools
import json
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bpe import bpe_of
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.bpe import read_bpe
from ivr.encoding.byte_alphabet import from_alphabet, to_alphabet
from ivr.errors import ConfigError
from ivr.tokenizer.distill.pipeline import distill
from ivr.tokenizer.superwords.boundaries import cannot_be_placed
from ivr.tokenizer.superwords.pattern import with_superwords, without_superwords

MERGES = [
    ("c", "c"),
    ("cc", "cc"),
    (".", "."),
    ("-", "-"),
    ("--", "--"),
    ("Ġ", "Ġ"),
    ("t", "h"),
    ("th", "e"),
    ("o", "f"),
]
SUPERWORDS = [
    "of the", " of the", " of the cell", " of", "-induced", " cell-", "'s own", " cell's", "cc the", "--c", "1c", "c1",
    " c1", "é—", "—é", " 세포의 핵", "the ''", "''s", "'Hello", " dogs'", " the the", " (of", "). the", "ß of", "cell,",
    "c c", ", and", "cccc the", " Pub. L.",
]  # fmt: skip
PARTS = [
    *SUPERWORDS, "o", "of", " the", "cell", " cells", "c", "cc", "ccccc", "ccccccc", " ", "  ", "\n", "\t", "-",
    "-----", ".", "....", "'s", "'", "'ll", "''", "'''", "1", "11", "111", "é", "ß", "—", "———", "세", "dogs",
    "\u00a0", "Pub",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(PARTS), st.text(" c'1-.éof\n", max_size=4)), max_size=12).map("".join)


@cache
def splitting(pattern: str) -> Split:
    return Split(Regex(pattern), "isolated")


def pieces(pattern: str, text: str) -> list[str]:
    found = splitting(pattern).pre_tokenize_str(to_alphabet(text.encode()))
    return [from_alphabet(piece).decode(errors="replace") for piece, _ in found]


@cache
def tokenizers() -> tuple[PretokenSplitter, str, str, list[list[str]]]:
    """(the BPE's splitter, the distilled pattern, the one with superwords, the pretokens of every superword)."""
    base = bpe_of(MERGES)
    spec = json.loads(distill(base, read_bpe(base), ["ccc", "----", "...."], 3.0).tokenizer.to_str())
    pattern = spec["pre_tokenizer"]["pretokenizers"][1]["pattern"]["Regex"]
    splitter = PretokenSplitter(base)
    superwords = [
        parts for parts in map(splitter, SUPERWORDS) if len(parts) > 1 and not cannot_be_placed(parts, splitter)
    ]
    return splitter, pattern, with_superwords(pattern, superwords, splitter), superwords


def expected(text: str) -> list[str]:
    """Longest superword from the left over pretokens; what is no superword as the distilled tokenizer splits it."""
    splitter, pattern, _, superwords = tokenizers()
    pretokens = splitter(text)
    known = {tuple(parts) for parts in superwords}
    found: list[str] = []
    at = 0
    while at < len(pretokens):
        # behind a contraction letters are no pretoken that a pattern could tell from the rest of one
        within = at > 0 and pretokens[at - 1][-1].isalpha() and pretokens[at][0].isalpha()
        sizes = [n for n in range(len(pretokens) - at, 1, -1) if tuple(pretokens[at : at + n]) in known and not within]
        if sizes:
            found.append("".join(pretokens[at : at + sizes[0]]))
            at += sizes[0]
        else:
            found += pieces(pattern, pretokens[at]) if pretokens[at].strip() else [pretokens[at]]
            at += 1
    return found


def joined_blanks(parts: list[str]) -> list[str]:
    """Runs of blanks in one: how they are cut depends on what follows, and is none of superwords' business."""
    found: list[str] = []
    for part in parts:
        if found and not part.strip() and not found[-1].strip():
            found[-1] += part
        else:
            found.append(part)
    return found


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(TEXTS)
def test_superwords_are_taken_longest_first_from_the_left(text: str) -> None:
    _, _, changed, _ = tokenizers()
    assert joined_blanks(pieces(changed, text)) == joined_blanks(expected(text))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_text_without_a_superword_is_split_as_before(text: str) -> None:
    _, pattern, changed, superwords = tokenizers()
    if not any("".join(parts) in text for parts in superwords):
        assert pieces(changed, text) == pieces(pattern, text)


BEFORE = ["", "x ", "\n", ".", ", ", " ", "  ", "\n\n", "x\n", "(the) ", "!? ", "ccccc", "—————"]
AFTER = ["", " x", "\n", " of the", "  ", " (", "\n\nx"]


@pytest.mark.parametrize("text", SUPERWORDS)
def test_a_superword_is_one_piece_wherever_it_stands(text: str) -> None:
    """Where its pretokens stand; `. ` and ` of` share a blank, say, and stand otherwise."""
    splitter, _, changed, superwords = tokenizers()
    parts = splitter(text)
    assert (parts in superwords) == (len(parts) > 1 and not cannot_be_placed(parts, splitter))
    places = 0
    for before, after in itertools.product(BEFORE, AFTER):
        around = splitter(before + text + after)
        begins = [at for at in range(len(around)) if around[at : at + len(parts)] == parts]
        longer = any((text + after).startswith("".join(other)) for other in superwords if len(other) > len(parts))
        if parts in superwords and not longer and any("".join(around[:at]) == before for at in begins):
            places += 1
            assert text in pieces(changed, before + text + after)
    assert (parts not in superwords) or places >= 20


def test_taking_superwords_back_gives_the_pattern_as_it_was() -> None:
    splitter, pattern, changed, superwords = tokenizers()
    assert changed != pattern
    assert without_superwords(changed, superwords, splitter) == pattern
    assert with_superwords(pattern, [], splitter) == pattern


def test_another_pattern_is_refused() -> None:
    splitter, _, _, superwords = tokenizers()
    with pytest.raises(ConfigError, match="run `ivr distill-tokenizer --force`"):
        with_superwords("a|b", superwords, splitter)
