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

from ivr.analysis.one_pattern import LONGEST_LITERAL, OnePattern, classes_of, one_pattern
from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.byte_alphabet import to_alphabet
from ivr.errors import ConfigError
from ivr.tokenizer.superwords.trie_pattern import Node, trie_pattern

# what may stand behind the next character and decide with it: the rest of a contraction, a line end, a blank, a word
BEHIND = ("e", "l", "s", "a", "A", "1", " ", "\n", "'", "!")
NOT_ONE_PATTERN = "the pre-tokenizer's steps are not one pattern, so no token can span its pretokens"
DEEPEST = LONGEST_LITERAL  # characters, `'ll`
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
        raise ConfigError(NOT_ONE_PATTERN)
    if list(steps[: len(base.steps)]) != base.steps:
        raise ConfigError("the pre-tokenizer is not the original's; run `ivr distill-tokenizer --force`")
    split = {
        "type": "Split",
        "pattern": {"Regex": f"{superwords_pattern(superwords, one, base)}|{one.pattern}"},
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


def superwords_pattern(
    superwords: Sequence[Sequence[str]], one: OnePattern, base: PretokenSplitter, portable: bool = False
) -> str:
    """Matches a superword (the pretokens of each) where its last pretoken ends.

    `one`: the steps of `base` as one pattern. `portable`: without calls of groups and conditions, which few engines
    have, and slower.
    """
    # what may follow is asked behind the last two pretokens: the first of these could reach over the last one
    last = sorted({tuple(pretokens[-2:]) for pretokens in superwords})
    ends = dict(zip(last, _ends(last, one, base), strict=True))
    groups = {text: f"(?<end{number}>{text})" for number, text in enumerate(sorted(set(ends.values())))}
    calls = {text: f"\\g<end{number}>" for number, text in enumerate(sorted(set(ends.values())))}
    root = Node()
    for pretokens in sorted(map(list, superwords)):
        end = ends[tuple(pretokens[-2:])]
        root.add("".join(pretokens), end if portable else calls[end])
    if portable:
        return f"(?:{root.first()}{trie_pattern(root, portable)})"
    return rf"(?:{'|'.join(groups.values())}){{0}}(?<{NAME}>{root.first()}{trie_pattern(root)})"


@dataclass(frozen=True)
class _Kinds:
    """The C kinds of characters that a pattern's sets tell apart: a character of each, and its sets, bool (C, S).

    class_N: a number for the kind of every code point.
    """

    characters: list[str]
    inside_CS: np.ndarray
    class_N: np.ndarray

    @classmethod
    def of(cls, sets: Sequence[str]) -> "_Kinds":
        classes, inside_CS = classes_of(sets)
        classes = classes.copy()
        classes[0xD800:0xE000] = -1  # surrogates are in no text
        met, first = np.unique(classes, return_index=True)
        places = [int(place) for kind, place in zip(met.tolist(), first.tolist(), strict=True) if kind >= 0]
        return cls([chr(place) for place in places], inside_CS[[int(classes[place]) for place in places]], classes)


def _ends(last: Sequence[tuple[str, ...]], one: OnePattern, base: PretokenSplitter) -> list[str]:
    """For each pair of pretokens: a zero-width pattern that matches where the second of them ends."""
    kinds = _Kinds.of(one.sets)
    barred: dict[tuple[tuple[int, ...], ...], list[str]] = {}  # a pattern sees kinds of characters, and nothing else
    found = []
    for pair in last:
        seen = tuple(tuple(kinds.class_N[ord(character)] for character in text) for text in pair)
        if seen not in barred:
            barred[seen] = _barred([text.encode() for text in pair], "", kinds, one.sets, base)
        found.append(f"(?!{'|'.join(barred[seen])})" if barred[seen] else "(?:)")
    return found


def _barred(
    pretokens: Sequence[bytes], known: str, kinds: _Kinds, sets: Sequence[str], base: PretokenSplitter
) -> list[str]:
    r"""What must not follow the pretokens and the characters `known`, lest they be split otherwise: alternatives.

    A kind that lets them end or not, as to what follows, is looked at further; at `DEEPEST` it is barred. `\z` stands
    among the alternatives where they do not end if the text does.
    """
    behind = ["", *kinds.characters, *BEHIND]
    tails = [known + each + more for each, more in product(kinds.characters, behind)]
    ends_CB = _begin_with(pretokens, tails, base).reshape(len(kinds.characters), len(behind))
    never_C, sometimes_not_C = ~np.any(ends_CB, axis=1), ~np.all(ends_CB, axis=1)
    if len(known) + 1 == DEEPEST:
        return _any_of(np.asarray(sometimes_not_C), kinds.inside_CS, sets)
    unsure_C = np.asarray(sometimes_not_C & ~never_C)
    options = _any_of(np.asarray(never_C), kinds.inside_CS, sets)
    for kind in np.flatnonzero(unsure_C).tolist():
        further = _barred(pretokens, known + kinds.characters[kind], kinds, sets, base)
        further += [] if ends_CB[kind, 0] else [r"\z"]
        if further:
            (mine,) = _any_of(np.arange(len(unsure_C)) == kind, kinds.inside_CS, sets)
            options.append(f"{mine}(?:{'|'.join(further)})")
    return options


def _begin_with(pretokens: Sequence[bytes], tails: Sequence[str], base: PretokenSplitter) -> np.ndarray:
    """Whether the text of these pretokens and each tail is split into them first, bool (len(tails),)."""
    text = b"".join(pretokens)
    pieces = base.split([text + tail.encode() for tail in tails])
    wanted = np.cumsum([len(each) for each in pretokens])
    begins = np.concatenate([[0], pieces.ends[pieces.starts[1:-1] - 1]])
    places = pieces.starts[:-1, None] + np.arange(len(wanted))
    has_so_many = np.diff(pieces.starts) >= len(wanted)
    found = pieces.ends[np.minimum(places, len(pieces.ends) - 1)] - begins[:, None]
    return has_so_many & (found == wanted).all(axis=1)


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
