"""Superwords before any pre-tokenizer that is one pattern: longest first from the left, and nothing else moves."""

import json
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pre_tokenizers_of_others import OTHERS
from tokenizers import Regex, Tokenizer, models
from tokenizers.pre_tokenizers import PreTokenizer, Sequence, Split

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.byte_alphabet import from_alphabet
from ivr.errors import ConfigError
from ivr.tokenizer.superwords.any_pattern import (
    takes_superwords,
    with_any_superwords,
    without_any_superwords,
)
from ivr.tokenizer.superwords.boundaries import cannot_be_placed

KINDS = sorted(set(OTHERS) - {"a string"})
TEXTS_OF_SUPERWORDS = [
    "of the", " of the", " of the cell", " of", "-induced", " cell-", " cell's own", "'s own", "cc the", "--c", "1c",
    "c1", "12 3", " 세포의 핵", "(of the)", ". The", "ß of", "cell,", " p53", " 1,000", "Of The", "über die", "12.5",
    " the 中", ", and", " Pub. L.", " don't know", "½.", "o'",
]  # fmt: skip
PARTS = [
    *TEXTS_OF_SUPERWORDS, "o", "of", " the", "cell", " cells", "c", "cc", " ", "  ", "\n", "\t", "-", ".", "'s", "'",
    "'ll", "1", "11", "111", "é", "\u0300", "세", "中", "\u00a0", "THE", "\r\n", "½", " '", ". '",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(PARTS), st.text(" c'1-.éoSf\n", max_size=4)), max_size=10).map("".join)
CUTS = {"type": "Split", "pattern": {"Regex": "c(?=c)|e"}, "behavior": "Isolated", "invert": False}


@cache
def changed(name: str, *, cuts: bool) -> tuple[PretokenSplitter, PreTokenizer, set[tuple[str, ...]]]:
    """(the original's splitter, the steps with superwords, these by their pretokens)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = OTHERS[name]()
    base = PretokenSplitter(tokenizer)
    superwords = {
        tuple(parts) for parts in map(base, TEXTS_OF_SUPERWORDS) if len(parts) > 1 and not cannot_be_placed(parts, base)
    }
    assert len(superwords) > (10 if name != "some only" else 4)  # which takes words together
    steps = with_any_superwords([*base.steps, *([CUTS] if cuts else [])], sorted(superwords), base)
    spec = json.loads(tokenizer.to_str()) | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}
    pre_tokenizer = Tokenizer.from_str(json.dumps(spec)).pre_tokenizer
    assert isinstance(pre_tokenizer, Sequence)
    return base, pre_tokenizer, superwords


def pieces(pre_tokenizer: PreTokenizer, text: str) -> list[str]:
    return [from_alphabet(piece).decode(errors="replace") for piece, _ in pre_tokenizer.pre_tokenize_str(text)]


def expected(base: PretokenSplitter, superwords: set[tuple[str, ...]], text: str) -> list[str]:
    pretokens, found, at = base(text), [], 0
    while at < len(pretokens):
        size = next((n for n in range(len(pretokens) - at, 1, -1) if tuple(pretokens[at : at + n]) in superwords), 1)
        found.append("".join(pretokens[at : at + size]))
        at += size
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_superwords_are_taken_longest_first_from_the_left(name: str) -> None:
    base, steps, superwords = changed(name, cuts=False)
    met: set[tuple[str, ...]] = set()

    @settings(max_examples=400, deadline=None)
    @given(TEXTS)
    def check(text: str) -> None:
        wanted = expected(base, superwords, text)
        met.update(parts for parts in superwords if "".join(parts) in wanted)
        assert pieces(steps, text) == wanted

    check()
    assert len(met) > len(superwords) // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_cuts_go_on_elsewhere_and_leave_superwords_whole(name: str) -> None:
    base, steps, superwords = changed(name, cuts=True)
    cut = Split(Regex(CUTS["pattern"]["Regex"]), "isolated")
    texts = {"".join(parts) for parts in superwords}

    @settings(max_examples=200, deadline=None)
    @given(TEXTS)
    def check(text: str) -> None:
        wanted = [
            piece
            for part in expected(base, superwords, text)
            for piece in ([part] if part in texts else [each for each, _ in cut.pre_tokenize_str(part)])
        ]
        assert pieces(steps, text) == wanted

    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_taking_superwords_out_gives_the_steps_as_they_were(name: str) -> None:
    base, _, superwords = changed(name, cuts=True)
    steps = [*base.steps, CUTS]
    placed = with_any_superwords(steps, sorted(superwords), base)
    assert takes_superwords(json.dumps(placed)) and not takes_superwords(json.dumps(steps))
    assert without_any_superwords(placed, sorted(superwords), base) == steps
    assert with_any_superwords(steps, [], base) == steps


@pytest.mark.slow
def test_a_pre_tokenizer_that_is_no_pattern_is_refused() -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = OTHERS["a string"]()
    base = PretokenSplitter(tokenizer)
    with pytest.raises(ConfigError, match="not one pattern"):
        with_any_superwords(base.steps, [[" of", " the"]], base)
