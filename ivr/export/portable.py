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
from ivr.encoding.utf8_pattern import quote
from ivr.errors import ConfigError
from ivr.tokenizer.superwords.any_pattern import NOT_ONE_PATTERN, superwords_pattern
from ivr.tokenizer.superwords.trie_pattern import Node, trie_pattern

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
    """The steps, and one behind them that cuts these pretokens into these tokens (all in the byte alphabet)."""
    return [*steps, _split(border_pattern(borders))] if borders else list(steps)


def border_pattern(borders: Mapping[str, Sequence[str]]) -> str:
    r"""A pattern that takes every piece whole, but these (piece -> its tokens) token by token.

    Every match begins where the last one ended: a piece is taken whole, or all of its tokens are. What is left of a
    piece says which token is next, so that no two of these pieces may go on otherwise (`without_contradictions`).

    >>> border_pattern({"aaaa": ["aaa", "a"]})
    '\\A(?!aaaa(?:\\z))[\\s\\S]+|a(?=(?:\\z))|aaa(?=a(?:\\z))'
    """
    rests: dict[str, set[str]] = {}
    for tokens in borders.values():
        for token, rest in zip(tokens, _rests(tokens)[1:], strict=True):
            rests.setdefault(token, set()).add(rest)
    cuts = [f"{quote(token)}(?={_any_of(rests[token])})" for token in sorted(rests)]
    return "|".join([rf"\A(?!{_any_of(borders)}){ANY}+", *cuts])


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


def _any_of(texts: Iterable[str]) -> str:
    """One of these texts, and the end."""
    root = Node()
    for text in sorted(texts):
        root.add(text, r"\z")
    return ("" if root.ends else root.first()) + trie_pattern(root, portable=True)


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
