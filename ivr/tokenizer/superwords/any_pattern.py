r"""Superwords before any pre-tokenizer that is one pattern (`ivr.analysis.one_pattern`): Digits, cl100k's, o200k's.

    Digits, ByteLevel with its pattern, ..., Split(cuts)
 -> Split(superwords|pretoken, isolated), ByteLevel without, ..., Split(\A(superwords)\z|cuts)

Matches follow one another, and each is a superword or one pretoken, so a superword is tried just where a pretoken
begins. That its last pretoken ends behind it depends on what may follow. That is asked of the original splitter, for
a character of every kind that its pattern tells apart. What cuts pretokens further leaves superwords whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ivr.analysis.one_pattern import OnePattern, classes_of, one_pattern
from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.byte_alphabet import to_alphabet
from ivr.errors import ConfigError
from ivr.tokenizer.superwords.trie_pattern import Node, trie_pattern

# what may stand behind the next character and decide with it: the rest of a contraction, a line end, a blank, a word
BEHIND = ("", "e", "l", "s", "a", "A", "1", " ", "\n", "'", "!")
DEEPEST = 3  # characters of a contraction, `'ll`
NAME = "superword"  # of the group of all of them
WHOLE = rf"\A(?:(?#{NAME}s)"  # what stands in front of the cuts begins so


def can_be_placed(split: PretokenSplitter) -> bool:
    """Whether superwords can be written into the pre-tokenizer of this original tokenizer."""
    return one_pattern(split.steps) is not None


def with_any_superwords(
    steps: Sequence[dict[str, Any]], superwords: Sequence[Sequence[str]], base: PretokenSplitter
) -> list[dict[str, Any]]:
    """The steps of a distilled pre-tokenizer with these superwords (the pretokens of each) taken whole.

    Raises ConfigError where the original pre-tokenizer is no one pattern, or these steps do not begin with its own.
    """
    if not superwords:
        return list(steps)
    one = one_pattern(base.steps)
    if one is None:
        raise ConfigError("this tokenizer's pre-tokenizer is not one pattern, so no token can span its pretokens")
    if list(steps[: len(base.steps)]) != base.steps:
        raise ConfigError("the pre-tokenizer is not the original's; run `ivr distill-tokenizer --force`")
    split = {
        "type": "Split",
        "pattern": {"Regex": f"{_superwords(superwords, one, base)}|{one.pattern}"},
        "behavior": "Isolated",
        "invert": False,
    }
    whole = _whole(superwords)
    later = [_prefixed(step, whole) for step in steps[len(base.steps) :]]
    return [split, {**base.steps[-1], "use_regex": False}, *later]


def without_any_superwords(
    steps: Sequence[dict[str, Any]], superwords: Sequence[Sequence[str]], base: PretokenSplitter
) -> list[dict[str, Any]]:
    """The inverse of `with_any_superwords` for the same superwords."""
    if not superwords:
        return list(steps)
    whole = _whole(superwords)
    later = []
    for step in steps[2:]:
        text = step["pattern"].get("Regex", "") if _cuts(step) else ""
        pattern = {"pattern": {"Regex": text.removeprefix(whole)}} if text.startswith(whole) else {}
        later.append({**step, **pattern})
    return [*base.steps, *later]


def takes_superwords(tokenizer_json: str) -> bool:
    """Is this the text of a tokenizer.json that `with_any_superwords` changed?"""
    return f"(?<{NAME}>" in tokenizer_json


def _cuts(step: dict[str, Any]) -> bool:
    return step["type"] == "Split" and step["behavior"] == "Isolated" and "Regex" in step["pattern"]


def _prefixed(step: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {**step, "pattern": {"Regex": prefix + step["pattern"]["Regex"]}} if _cuts(step) else step


def _whole(superwords: Sequence[Sequence[str]]) -> str:
    """Takes a piece that is a superword, in the byte alphabet, whole."""
    root = Node()
    for pretokens in sorted(map(list, superwords)):
        root.add(to_alphabet("".join(pretokens).encode()), r"\z")
    return rf"{WHOLE}{root.first()}{trie_pattern(root)})|"


def _superwords(superwords: Sequence[Sequence[str]], one: OnePattern, base: PretokenSplitter) -> str:
    last = sorted({pretokens[-1] for pretokens in superwords})
    ends = dict(zip(last, _ends(last, one, base), strict=True))
    groups = {text: f"(?<end{number}>{text})" for number, text in enumerate(sorted(set(ends.values())))}
    calls = {text: f"\\g<end{number}>" for number, text in enumerate(sorted(set(ends.values())))}
    root = Node()
    for pretokens in sorted(map(list, superwords)):
        root.add("".join(pretokens), calls[ends[pretokens[-1]]])
    return rf"(?:{'|'.join(groups.values())}){{0}}(?<{NAME}>{root.first()}{trie_pattern(root)})"


@dataclass(frozen=True)
class _Kinds:
    """The C kinds of characters that a pattern's sets tell apart: a character of each, and its sets, bool (C, S)."""

    characters: list[str]
    inside_CS: np.ndarray

    @classmethod
    def of(cls, sets: Sequence[str]) -> "_Kinds":
        classes, inside_CS = classes_of(sets)
        classes = classes.copy()
        classes[0xD800:0xE000] = -1  # surrogates are in no text
        met, first = np.unique(classes, return_index=True)
        places = [int(place) for kind, place in zip(met.tolist(), first.tolist(), strict=True) if kind >= 0]
        return cls([chr(place) for place in places], inside_CS[[int(classes[place]) for place in places]])


def _ends(last: Sequence[str], one: OnePattern, base: PretokenSplitter) -> list[str]:
    """For each pretoken: a zero-width pattern that matches where it ends."""
    kinds = _Kinds.of(one.sets)
    barred = [_barred(text.encode(), "", kinds, one.sets, base) for text in last]
    return [f"(?!{'|'.join(options)})" if options else "(?:)" for options in barred]


def _barred(pretoken: bytes, known: str, kinds: _Kinds, sets: Sequence[str], base: PretokenSplitter) -> list[str]:
    """What must not follow the pretoken and the characters `known`, lest more than the pretoken is taken: alternatives.

    A kind that lets it end or not, as to what follows, is looked at further; at `DEEPEST` it is barred.
    """
    tails = [known + character + behind for character, behind in product(kinds.characters, BEHIND)]
    pieces = base.split([pretoken + tail.encode() for tail in tails])
    firsts = pieces.ends[pieces.starts[:-1]] - np.concatenate([[0], pieces.ends[pieces.starts[1:-1] - 1]])
    ends_CB = (firsts == len(pretoken)).reshape(len(kinds.characters), len(BEHIND))
    unsure_C = ends_CB.any(axis=1) & ~ends_CB.all(axis=1)
    if len(known) + 1 == DEEPEST:
        return _any_of(~ends_CB.all(axis=1), kinds.inside_CS, sets)
    options = _any_of(~ends_CB.any(axis=1), kinds.inside_CS, sets)
    for kind in np.flatnonzero(unsure_C).tolist():
        further = _barred(pretoken, known + kinds.characters[kind], kinds, sets, base)
        if further:
            (mine,) = _any_of(np.arange(len(unsure_C)) == kind, kinds.inside_CS, sets)
            options.append(f"{mine}(?:{'|'.join(further)})")
    return options


def _any_of(wanted_C: np.ndarray, inside_CS: np.ndarray, sets: Sequence[str]) -> list[str]:
    """Alternatives that take one character of these kinds."""
    left_C = wanted_C.copy()
    options = []
    for number in np.argsort(-inside_CS.sum(axis=0), kind="stable").tolist():
        inside_C = inside_CS[:, number]
        if (inside_C & left_C).any() and not (inside_C & ~wanted_C).any():
            options.append(sets[number])
            left_C &= ~inside_C
    for kind in np.flatnonzero(left_C).tolist():
        looks = [f"(?{'=' if is_in else '!'}{source})" for source, is_in in zip(sets, inside_CS[kind], strict=True)]
        options.append(f"{''.join(looks)}(?m:.)")
    return options
