r"""A pre-tokenizer of several steps as one pattern that matches a pretoken, whole, wherever one begins.

    Digits(individual), ByteLevel's own pattern   ->   \p{N}|'s|...| ?\p{L}+|...|\s+(?!(?!\p{N})\S)|\s+

A step may come before others if the characters that it isolates are set apart by it alone: each match of it holds
nothing but characters of one set, and each such character is in a match (`\p{N}{1,3}`, Digits). To the steps behind it,
such a character is where the text ends: their sets lose those characters, and looks ahead take one for the end. What
was isolated they may split in turn: then they are written once more, for these characters alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from ivr.analysis.pattern_steps import digits, literal, members
from ivr.encoding.gpt2_pattern import PATTERN
from ivr.encoding.patterns.machine import character_classes
from ivr.encoding.patterns.program import MOST_REPEATS, Tree, UnsupportedPattern, compile_pattern, parse_pattern

MANY = MOST_REPEATS + 1  # characters: more than a counted repeat takes
LONGEST_LITERAL = 3  # characters that stand one behind another in a pattern as themselves, as in `'ll`
NOTHING = r"[^\s\S]"  # no character


@dataclass(frozen=True)
class OnePattern:
    """`pattern` matches one pretoken (Oniguruma syntax); `sets`: what it asks of a character, as patterns."""

    pattern: str
    sets: tuple[str, ...]


def one_pattern(steps: Sequence[dict[str, Any]]) -> OnePattern | None:
    """The steps of a tokenizer.json's pre-tokenizer, ByteLevel the last, as one pattern; None where there is none.

    >>> digits_apart = {"type": "Digits", "individual_digits": False}
    >>> byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    >>> one_pattern([digits_apart, byte_level]).sets[1:4]  # the first are the digits
    ("'", 's', 't')
    """
    *before, byte_level = steps
    if byte_level["type"] != "ByteLevel" or byte_level["add_prefix_space"]:
        return None  # it splits the bytes; each piece would get a blank of its own
    try:
        sources = [_source(step) for step in before] + ([PATTERN] if byte_level.get("use_regex", True) else [])
        if not sources:
            return None
        if any(_longest_literal(tree) > LONGEST_LITERAL for source in sources for tree in parse_pattern(source)):
            return None  # where a pretoken ends hangs on more characters than is asked about
        sets = tuple(dict.fromkeys(name for source in sources for name in compile_pattern(source).sets))
        apart: list[str] = []
        alternatives = []
        for place, source in enumerate(sources[:-1]):
            mine, longest = _only_set(parse_pattern(source))
            alternatives += _set_apart(source, mine, longest, sources[place + 1 :], tuple(apart))
            apart.append(mine)
        alternatives += [_written(tree, "", tuple(apart)) for tree in parse_pattern(sources[-1])]
    except UnsupportedPattern:
        return None
    pattern = "|".join(alternatives)
    return OnePattern(f"{pattern}|(?:(?!{pattern})(?m:.))+", sets)  # what no pattern matches is a pretoken, too


def _set_apart(source: str, mine: str, longest: int | None, later: Sequence[str], apart: tuple[str, ...]) -> list[str]:
    """Alternatives for the characters of the set `mine`, which the step `source` sets apart and `later` ones split."""
    written = [_written(tree, "", apart) for tree in parse_pattern(source)]
    if longest == 1 or _stays_whole(mine, longest, later):
        return written
    if longest is not None or len(later) > 1:
        raise UnsupportedPattern("what a step isolates is split by the next")
    inside = [_written(tree, mine, apart) for tree in parse_pattern(later[0])]
    one = _narrowed(mine, "", apart)
    return [*inside, f"(?:(?!{'|'.join(inside)}){one})+"]


def _stays_whole(mine: str, longest: int | None, later: Sequence[str]) -> bool:
    """Whether no later step splits what holds characters of the set `mine` alone."""
    kind_N, _ = character_classes(np.array([members(name) for each in later for name in compile_pattern(each).sets]))
    points = np.flatnonzero(members(mine))
    if len(set(kind_N[points].tolist())) != 1:
        return False
    text = chr(points[0]) * (longest or MANY)
    splits = [Split(Regex(each), "isolated") for each in later]
    return all(len(split.pre_tokenize_str(text[:size])) == 1 for split in splits for size in range(1, len(text) + 1))


def _source(step: dict[str, Any]) -> str:
    """The pattern that a step isolates. Raises UnsupportedPattern for a step that is none."""
    if step["type"] == "Digits":
        one = _digit()
        return one if step["individual_digits"] else f"{one}+"
    if step["type"] != "Split" or step["behavior"] != "Isolated" or step["invert"]:
        raise UnsupportedPattern(step["type"])
    pattern = step["pattern"]
    return str(pattern["Regex"]) if "Regex" in pattern else literal(pattern["String"])


def _digit() -> str:
    r"""`\p{N}` and what else Digits takes: it asks Rust's tables, a pattern Oniguruma's, of another age of Unicode."""
    numbers, mine = members(r"\p{N}"), digits()
    if (numbers & ~mine).any():
        raise UnsupportedPattern("numbers that are no digits")
    beyond = "".join(f"\\x{{{point:x}}}" for point in np.flatnonzero(mine & ~numbers).tolist())
    return rf"[\p{{N}}{beyond}]" if beyond else r"\p{N}"


def _only_set(trees: Sequence[Tree]) -> tuple[str, int | None]:
    """The set of a pattern that matches its characters alone, every one of them, and how many at most (None: any)."""
    match trees:
        case [("all", [("set", source)])]:
            return str(source), 1
        case [("all", [("repeat", ("set", source), 1, most, _)])]:
            return str(source), most
    raise UnsupportedPattern("a step whose matches hold several sets stands before another")


def _longest_literal(tree: Tree) -> int:
    """The most characters that must follow one another as themselves, whatever their case.

    >>> [_longest_literal(tree) for tree in parse_pattern(r"(?i:'(?:ll|ve))|\\p{L}+a")]
    [3, 1]
    """
    match tree:
        case ("set", source):
            bare = source.removeprefix("(?i:").removesuffix(")") if source.startswith("(?i:") else source
            return int(len(bare) == 1 or (len(bare) == 2 and bare[0] == "\\" and not bare[1].isalnum()))
        case ("any", items):
            return max(map(_longest_literal, items))
        case ("repeat", inner, _, _, _):
            return _longest_literal(inner)
        case ("all", items):
            longest = run = 0
            for item in items:
                mine = _longest_literal(item)
                run = run + mine if mine else 0
                longest = max(longest, run)
            return longest
    return 0


def _written(tree: Tree, within: str, apart: tuple[str, ...]) -> str:
    """The tree as a pattern in which a character outside the set `within` ("": none is), or in one of `apart`, is the
    end of the text.
    """
    match tree:
        case ("set", source):
            return _narrowed(source, within, apart)
        case ("is" | "not" as kind, source):
            return f"(?{'=' if kind == 'is' else '!'}{_narrowed(source, within, apart)})"
        case ("end",):
            outside = [f"(?!{within})"] if within else []
            return rf"(?=\z{''.join(f'|{each}' for each in [*outside, *apart])})"
        case ("all", items):
            return "".join(_written(item, within, apart) for item in items)
        case ("any", items):
            return f"(?:{'|'.join(_written(item, within, apart) for item in items)})"
        case ("repeat", inner, least, most, own):
            text = _written(inner, within, apart)
            many = {(0, 1): "?", (0, None): "*", (1, None): "+"}.get((least, most))
            if many is None:
                return f"(?:{text}){{{least},{'' if most is None else most}}}"
            return f"(?:{text}){many}{'+' if own else ''}"
    raise AssertionError(tree)


def _narrowed(source: str, within: str, apart: tuple[str, ...]) -> str:
    """A character of this set that is no end of the text."""
    mine = members(source)
    looks, left = "", mine.copy()
    if within and (mine & ~members(within)).any():
        looks, left = f"(?={within})", mine & members(within)
    for other in apart:
        if (mine & members(other)).any():
            looks, left = f"{looks}(?!{other})", left & ~members(other)
    if not left.any():
        return NOTHING
    return f"(?:{looks}{source})" if looks else source


def classes_of(sets: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Characters that the sets do not tell apart: (class of every code point, which sets each class is in, (C, S))."""
    return character_classes(np.array([members(source) for source in sets]))
