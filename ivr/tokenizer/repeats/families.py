"""Where the contexts of repeats come from: a table of families, and the one way in which all of them are tried.

A family says for which units it has candidates, which these are on either side, and which of the known contexts on the
other side they are tried beside. BPE is asked about all of them (`RepeatEncoder`), and those are kept that behave
unlike the longest known context that fits them (`distinguishing`). What each is for, the table says.
"""

import string
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ivr.tokenizer.repeats.characters import Characters
from ivr.tokenizer.repeats.contexts import BLANK, OTHER, Contexts, Side, distinguishing
from ivr.tokenizer.repeats.shown import PUNCTUATION, small_alphabets
from ivr.tokenizer.repeats.tables import SHORTEST, RepeatEncoder, continues, text_of

LONGEST_REPEAT = 8  # units: beyond it the ends of a repeat no longer see one another
CAPITALS, SMALL = string.ascii_uppercase, string.ascii_lowercase
NUMERALS = {string.digits: "digits", "abcdef": "hexadecimal letters", "ABCDEF": "hexadecimal letters"}


@dataclass(frozen=True)
class Sources:
    """What candidates are made of besides the contexts that are known."""

    bpe: RepeatEncoder
    characters: Characters
    tokens: Sequence[str]  # that a pretoken can hold, in the byte alphabet
    marks: Collection[str] = ()  # two in a row, as `seen_marks` has them


# (the side, the contexts that are known, characters of a candidate, sources) -> the candidates: contexts in the byte
# alphabet; of a mapping each with the one that BPE does the same with
Candidates = Callable[[Side, Contexts, int, Sources], Collection[str]]


@dataclass(frozen=True)
class Family:
    """One row of the table; some rows of one name differ in their letters.

    name: as METHOD.md has it.
    units: whether it has candidates for a unit.
    candidates: what is tried on one side. The nearest character of each is a known context there.
    sizes: characters of the candidates, for those that are made longer one by one: the longer ones of what is known.
    beside: whether a candidate is tried beside a known context on the other side too; if not given, beside a blank
        on the left, which can change what happens at the other end.
    far: keep them as far contexts: too many to be tabulated beside every one on the other side.
    in_parts: keep of a candidate the shortest part that behaves as it does.
    """

    name: str
    units: Callable[[str], bool]
    candidates: Candidates
    sizes: Sequence[int] = (1,)
    beside: Callable[[str], bool] = {BLANK}.__contains__
    far: bool = False
    in_parts: bool = False


def refine(contexts: Contexts, families: Iterable[Family], sources: Sources) -> Contexts:
    """These contexts, and those candidates of the families that BPE splits repeats beside unlike beside these.

    Families are tried in order, each with what the ones before it have found. Time grows with the candidates and what
    they are tried beside: 12 s for all units of GPT-2.
    """
    for family in families:
        if not family.units(contexts.unit):
            continue
        for size in family.sizes:
            for side in (Side.RIGHT, Side.LEFT):
                contexts = contexts.including(side, _distinct(family, side, contexts, size, sources), far=family.far)
    return contexts


def _distinct(family: Family, side: Side, contexts: Contexts, size: int, sources: Sources) -> set[str]:
    """The candidates of one family on one side that behave unlike what is known there."""
    candidates = family.candidates(side, contexts, size, sources)
    stand_ins = candidates if isinstance(candidates, dict) else {}
    blank = {BLANK} if side is Side.RIGHT else set()
    beside = sorted({OTHER}.union(filter(family.beside, contexts.of(side.other) | blank)))

    def behaviour(texts: Sequence[str]) -> np.ndarray:
        asked = [stand_ins.get(text, text) for text in texts]
        row_of = {text: row for row, text in enumerate(dict.fromkeys(asked))}
        pairs = [side.pair(text, other) for text in row_of for other in beside]
        rows = sources.bpe.first_of_repeats(contexts, pairs, LONGEST_REPEAT)[:, SHORTEST - 1 :]
        return rows.reshape(len(row_of), -1)[[row_of[text] for text in asked]]

    known = contexts.of(side, far=family.far)
    return distinguishing({*candidates} - known, known, side, behaviour, in_parts=family.in_parts)


# candidates -----------------------------------------------------------------------------------------------------------
def _whole_characters(side: Side, contexts: Contexts, size: int, sources: Sources) -> Collection[str]:
    return sources.characters.around(contexts, side)


def _after_a_blank(side: Side, contexts: Contexts, size: int, sources: Sources) -> Collection[str]:
    if side is Side.RIGHT:
        return ()
    lefts = {*contexts.lefts, *sources.characters.around(contexts, side).values()}
    return {BLANK + left for left in lefts if text_of(left) and not left.startswith(BLANK)}


def _ends_of_tokens(side: Side, contexts: Contexts, size: int, sources: Sources) -> Collection[str]:
    """What is left of the tokens that end (begin) with the unit; on the left also after a blank."""
    tokens = [token for token in sources.tokens if contexts.unit in token]
    if side is Side.LEFT:
        texts = {_without(token, contexts.unit, str.removesuffix) for token in tokens if token.endswith(contexts.unit)}
        texts |= {BLANK + text for text in texts - {""} if not text.startswith(BLANK)}
    else:
        words = {token.removeprefix(BLANK) for token in tokens}
        texts = {_without(word, contexts.unit, str.removeprefix) for word in words if word.startswith(contexts.unit)}
    return {text for text in texts - {"", BLANK} if side.part(text, 1) in contexts.of(side)}


def _marks(side: Side, contexts: Contexts, size: int, sources: Sources) -> Collection[str]:
    """Two in a row that text often shows; three where the third merges with the second of two that are known."""
    known = contexts.of(side)
    if size == 2:
        return {marks for marks in sources.marks if side.part(marks, 1) in known}
    merged, shorter = set(sources.tokens), [text for text in known if len(text) == size - 1]
    if side is Side.LEFT:
        return {mark + text for text in shorter for mark in PUNCTUATION if mark + text[0] in merged}
    return {text + mark for text in shorter for mark in PUNCTUATION if text[-1] + mark in merged}


def _parts_of_the_unit(side: Side, contexts: Contexts, size: int, sources: Sources) -> Collection[str]:
    """Of its ends those that a split point within a unit leaves before a repeat; all its beginnings after one."""
    unit = contexts.unit
    if side is Side.RIGHT:
        parts = [unit[:place] for place in _inner_borders(unit)]
    else:
        pairs = [(x, r) for x in sorted(contexts.lefts | {""}) for r in sorted(contexts.rights | {OTHER})]
        pairs += [(x, OTHER) for x in sorted(contexts.far_lefts)]
        sizes = np.unique(sources.bpe.first_of_repeats(contexts, pairs)).tolist()
        split = {size % len(unit) for size in sizes if size > 0}
        parts = [unit[place:] for place in _inner_borders(unit) if place in split]
    return [part for part in parts if side.longest(part, contexts.of(side))]


def _strings_over(alphabet: str) -> Candidates:
    """Every string over these letters, on the left also with a blank in place of its first letter."""

    def candidates(side: Side, contexts: Contexts, size: int, sources: Sources) -> Collection[str]:
        touching = _touching(side, contexts, alphabet)
        rests = {"".join(rest) for rest in product(alphabet, repeat=size - 1)}
        if side is Side.RIGHT:
            return {near + rest for near in touching for rest in rests}
        return {rest + near for near in touching for rest in rests | {BLANK + rest[1:] for rest in rests}}

    return candidates


def _two_letters(letters: str) -> Candidates:
    """Every two of these, on the left also a capital before a small one, and all after a blank."""

    def candidates(side: Side, contexts: Contexts, size: int, sources: Sources) -> Collection[str]:
        touching = _touching(side, contexts, letters)
        if side is Side.RIGHT:
            return {near + far for near in touching for far in letters}
        return {blank + far + near for near in touching for far in letters + CAPITALS for blank in ("", BLANK)}

    return candidates


def _touching(side: Side, contexts: Contexts, letters: str) -> frozenset[str]:
    """Those that share a token with the unit, and are not more of the repeat itself."""
    return contexts.of(side) & (set(letters) - {contexts.unit})


def _without(text: str, unit: str, remove: Callable[[str, str], str]) -> str:
    while (shorter := remove(text, unit)) != text:
        text = shorter
    return text


def _inner_borders(unit: str) -> list[int]:
    """Of its characters."""
    return [place for place in range(1, len(unit)) if not continues(unit[place])]


# the table ------------------------------------------------------------------------------------------------------------
def _any(text: str) -> bool:
    return True


def _none(text: str) -> bool:
    return False


def _one_of(letters: str) -> Callable[[str], bool]:
    return frozenset(letters).__contains__


def _made_of(alphabet: str) -> Callable[[str], bool]:
    return lambda text: set(text.removeprefix(BLANK)) <= set(alphabet)


FAMILIES: tuple[Family, ...] = (
    # `´` ends a thousand characters, in some of which it is merged before the unit comes
    Family("characters", _any, _whole_characters, in_parts=True),
    # in ` Cll` `ĠC` may draw in what `C` does not
    Family("after a blank", lambda unit: not text_of(unit).isspace(), _after_a_blank, beside=_any),
    # ` spectatorssss` is `Ġspectators`,`ss`,`s`, but `rssss` alone `r`,`ss`,`ss`
    Family("words", _any, _ends_of_tokens, beside=_none, far=True, in_parts=True),
    # `,...]]` is `,...`,`]]`, but `,...]` is `,`,`...]`
    Family("marks", PUNCTUATION.issuperset, _marks, sizes=(2, 3), beside=_any),
    # where `p` draws in the `x` of `xyz`, the rest begins with `yz`, which need not behave as `z` does
    Family("parts of the unit", lambda unit: len(_inner_borders(unit)) > 1, _parts_of_the_unit, beside=_any),
    # `102000`: a number may hold any digits; all pairs of three would make a pattern of megabytes
    *(
        Family(f"two {name}", _one_of(digits), _strings_over(digits), (2,), beside=_one_of(digits + BLANK))
        for digits, name in NUMERALS.items()
    ),
    *(
        Family(f"three {name}", _one_of(digits), _strings_over(digits), (3,), far=True)
        for digits, name in NUMERALS.items()
    ),
    # `mmml` is `mm`,`ml`, but `mmmlu`, a name that no word list holds, `mmm`,`lu`
    Family("two letters", _one_of(SMALL), _two_letters(SMALL), far=True),
    Family("two letters", _one_of(CAPITALS), _two_letters(CAPITALS), far=True),
)


def families_of(pretokens: Iterable[str]) -> tuple[Family, ...]:
    """The table for a text: besides what any text may hold, strings over its small alphabets.

    Of DNA `GGGGA` is `GG`,`GG`,`A`, but `GGGGAAT` is `GG`,`G`,`GA`,`AT`.
    """
    alphabets = small_alphabets(pretokens)
    return FAMILIES + tuple(
        Family("small alphabets", _one_of(some), _strings_over(some), (2, 3, 4, 5), beside=_made_of(some))
        for some in alphabets
    )
