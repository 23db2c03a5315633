r"""A distilled pre-tokenizer without what only Oniguruma has, for engines such as JavaScript's.

    ByteLevel, Split(repeats, superwords)   or   Digits, ByteLevel, ..., Split(superwords), ..., Split(repeats)
 -> Split(superwords|pretoken), ByteLevel without its pattern, ..., Split(borders)

What cuts repeats where BPE does looks back to where its match began, keeps what it took, and calls groups: JavaScript
has none of these. In its place stand the borders of pretokens that are known to need some: those of a text, and the
short repeats of every unit that merges with itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ivr.analysis.one_pattern import one_pattern
from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.utf8_pattern import group, quote
from ivr.errors import ConfigError
from ivr.tokenizer.repeats.tables import SHORTEST
from ivr.tokenizer.superwords.any_pattern import NOT_ONE_PATTERN, superwords_pattern
from ivr.tokenizer.superwords.trie_pattern import Node, trie_pattern

SEVERAL = 3  # lengths of a repeat that are counted
LONGEST_UNIT = 8  # characters of the byte alphabet
ANY = r"[\s\S]"  # (?m:.) in the words of every engine


def portable_steps(
    after: Sequence[dict[str, Any]], base: PretokenSplitter, superwords: Sequence[Sequence[str]]
) -> list[dict[str, Any]]:
    """The steps of a pre-tokenizer that splits as `base`, takes superwords whole, and cuts no repeats.

    Args:
        after: the steps of the distilled or remapped tokenizer.json; what drops bytes without an id stays.
        base: splits as the original tokenizer.
        superwords: the pretokens of each.

    Raises:
        ConfigError: there are superwords, and the steps of `base` are no one pattern.
    """
    one = one_pattern(base.steps)
    if one is None and superwords:
        raise ConfigError(NOT_ONE_PATTERN)
    *before, byte_level = base.steps
    if one is not None:
        plain = superwords_pattern(superwords, one, base, portable=True) + "|" if superwords else ""
        before = [_split(f"{plain}{one.pattern}".replace("(?m:.)", ANY))]
        byte_level = {**byte_level, "use_regex": False}
    dropping = [step for step in after if step["type"] == "Split" and step["behavior"] == "Removed"]
    return [*before, byte_level, *dropping]


def with_borders(steps: Sequence[dict[str, Any]], borders: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The steps, and one behind them that cuts these pretokens into these parts (all in the byte alphabet)."""
    return [*steps, _split(border_pattern(borders))] if borders else list(steps)


def border_pattern(borders: Mapping[str, Sequence[str]]) -> str:
    r"""A pattern that takes every piece whole, but these (piece -> its parts) part by part.

    Every match begins where the last one ended. What is left of a piece says how long the next part is, so that no two
    of these pieces may go on otherwise (`without_contradictions`).

    >>> border_pattern({"aaaa": ["aaa", "a"]})
    '\\A(?=(?:aaaa(?:\\z)))[\\s\\S]{3}|[\\s\\S]+'
    """
    first: dict[int, set[str]] = {}
    later: dict[int, set[str]] = {}
    for parts in borders.values():
        for place, (left, part) in enumerate(zip(_rests(parts), parts, strict=False)):
            if left != part:
                (later if place else first).setdefault(len(part), set()).add(left)
    options = [
        f"{where}(?={any_of(sorted(lefts))}){ANY}{{{size}}}"
        for where, found in ((r"\A", first), (r"(?!\A)", later))
        for size, lefts in sorted(found.items())
    ]
    return "|".join([*options, f"{ANY}+"])


def without_contradictions(borders: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Those of these pieces, short ones first, of which no rest is cut in two ways.

    >>> without_contradictions({"aaa": ["aa", "a"], "aaaa": ["a", "a", "aa"], "bbb": ["b", "bb"]})
    {'aaa': ['aa', 'a'], 'bbb': ['b', 'bb']}
    """
    first: dict[str, str] = {}
    kept: dict[str, list[str]] = {}
    for piece, tokens in sorted(borders.items(), key=lambda item: (len(item[0]), item[0])):
        mine = dict(zip(_rests(tokens), tokens, strict=False))
        if all(first.get(rest, token) == token for rest, token in mine.items()):
            first |= mine
            kept[piece] = list(tokens)
    return kept


def _rests(tokens: Sequence[str]) -> list[str]:
    """What is left of a piece before each of its tokens, and behind the last one."""
    return ["".join(tokens[at:]) for at in range(len(tokens) + 1)]


def any_of(texts: Iterable[str]) -> str:
    r"""One of these texts (byte alphabet), and the end.

    Repeats of several lengths are counted, since JavaScript's library copies the whole pattern for every piece that it
    splits, so that each byte of it costs time.

    >>> any_of(["aaa", "aaaa", "aaaaa", "xbb", "xbbbb", "xbbbbbb", "c"])
    '(?:a{3,5}\\z|xbb(?:bb){0,2}\\z|c(?:\\z))'
    """
    counts: dict[tuple[str, str], list[int]] = {}
    for text in texts:
        before, unit, count = _last_repeat(text)
        counts.setdefault((before, unit), []).append(count)
    root, options = Node(), []
    for (before, unit), found in sorted(counts.items()):
        for low, step, times in _progressions(found):
            if times + 1 < SEVERAL:
                for count in range(low, low + times * step + 1, step):
                    root.add(before + unit * count, r"\z")
            elif step == 1:
                options.append(f"{quote(before)}{group(unit)}{{{low},{low + times}}}\\z")
            else:
                options.append(f"{quote(before + unit * low)}{group(unit * step)}{{0,{times}}}\\z")
    if root.children or root.ends:
        options.append(("" if root.ends else root.first()) + trie_pattern(root, portable=True))
    return f"(?:{'|'.join(options)})"


def _last_repeat(text: str) -> tuple[str, str, int]:
    """(before, unit, count): what the text ends in at least twice, the shortest; ("", text, 1) where there is none.

    >>> _last_repeat("xabab"), _last_repeat("abc")
    (('x', 'ab', 2), ('', 'abc', 1))
    """
    for size in range(1, min(LONGEST_UNIT, len(text) // 2) + 1):
        unit, count = text[-size:], 1
        while text.endswith(unit * (count + 1)):
            count += 1
        if count > 1:
            return text[: len(text) - size * count], unit, count
    return "", text, 1


def is_mostly_repeat(text: str) -> bool:
    """Whether a repeat of three and more ends the text and has half of it.

    >>> is_mostly_repeat("xaaa"), is_mostly_repeat("xyzzyaaa"), is_mostly_repeat("aa")
    (True, False, False)
    """
    _, unit, count = _last_repeat(text)
    return count >= SHORTEST and 2 * count * len(unit) >= len(text)


def _progressions(counts: Sequence[int]) -> list[tuple[int, int, int]]:
    """These different numbers as (first, step, steps), each as long as it goes.

    >>> _progressions([3, 4, 5, 7, 9, 20])
    [(3, 1, 2), (7, 2, 1), (20, 1, 0)]
    """
    found: list[tuple[int, int, int]] = []
    for count in sorted(counts):
        low, step, times = found[-1] if found else (count, 1, -1)
        if times == 0 and found:
            step = count - low
        if found and count == low + step * (times + 1):
            found[-1] = low, step, times + 1
        else:
            found.append((count, 1, 0))
    return found


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
