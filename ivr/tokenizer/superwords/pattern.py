r"""Superwords in a distilled tokenizer's pre-tokenizer pattern: tried wherever a pretoken begins, longest first.

The pattern tries one alternative after another where its last match ended, and nearly always a pretoken begins there.
So a superword is its text and a look ahead that its last pretoken ends: all of them in one trie, which is called before
the alternatives that take a pretoken at a glance. A text that holds no superword is split as before.

Where a run was cut, a match begins inside a pretoken. A superword that begins with a blank cannot: a blank is followed
by something else only where a pretoken begins. Others look back: no blank, and no character of the class of their
first one, stands there.
"""

import json
from collections.abc import Sequence

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.byte_alphabet import to_alphabet
from ivr.encoding.utf8_pattern import byte_class, character_class
from ivr.errors import ConfigError
from ivr.tokenizer.repeats.character_classes import NAMES, PieceClass, piece_classes
from ivr.tokenizer.superwords.boundaries import CONTRACTIONS
from ivr.tokenizer.superwords.trie_pattern import Node, trie_pattern

BLANK = "Ġ"
KINDS = ("letters", "numbers", "others")
FIRST_GROUP = 5  # the four classes come before
ALL = FIRST_GROUP + 2 * len(KINDS)  # the group of the trie
NO_CONTRACTION = "(?!s|t|re|ve|m|ll|d)"  # behind a lone apostrophe
SECOND = "(?:\\K"  # stands before the second pretoken that one match may take


def with_superwords(pattern: str, superwords: Sequence[Sequence[str]], base: PretokenSplitter) -> str:
    """The pattern that takes these superwords (the pretokens of each) whole. `base` splits as the original tokenizer.

    Raises ConfigError for a pattern that was not made here.
    """
    if not superwords:
        return pattern
    definitions, body = _parts(pattern, base)
    call = f"\\g<{ALL}>"
    one, separator, rest = body.partition(SECOND)
    if not separator or not rest.startswith(one):
        raise ConfigError(
            "the distilled tokenizer's pattern was made by another version; run `ivr distill-tokenizer --force`"
        )
    rest = rest.removeprefix(one)
    return f"{definitions}{_definitions(superwords, base)}(?:{call}|{one}){SECOND}(?:{call}|{one}){rest}"


def has_superwords(tokenizer_json: str) -> bool:
    """Is this the text of a tokenizer.json whose pattern takes superwords?"""
    return json.dumps(f"(?:\\g<{ALL}>|").strip('"') in tokenizer_json


def without_superwords(pattern: str, superwords: Sequence[Sequence[str]], base: PretokenSplitter) -> str:
    """The inverse of `with_superwords` for the same superwords."""
    if not superwords:
        return pattern
    definitions, body = _parts(pattern, base)
    body = body.removeprefix(_definitions(superwords, base))
    opening = f"(?:\\g<{ALL}>|"
    one, _, rest = body.removeprefix(opening).partition(f"){SECOND}{opening}")
    return f"{definitions}{one}{SECOND}{rest.replace(f'{one})', one, 1)}"


def _parts(pattern: str, base: PretokenSplitter) -> tuple[str, str]:
    definitions = piece_classes(base.all_classes).definitions
    if not pattern.startswith(definitions):
        raise ConfigError(
            "the distilled tokenizer's pattern was made by another version; run `ivr distill-tokenizer --force`"
        )
    return definitions, pattern.removeprefix(definitions)


def _definitions(superwords: Sequence[Sequence[str]], base: PretokenSplitter) -> str:
    """Groups to be called: where pretokens of each class end and begin, and all superwords."""
    kinds = {kind.name: kind for kind in piece_classes(base.all_classes).kinds}
    groups = [kinds[name].end for name in KINDS] + [_begins(kinds[name]) for name in KINDS]
    groups.append(_all_of(superwords, base))
    return f"(?:{'|'.join(f'({group})' for group in groups)}){{0}}"


def _begins(kind: PieceClass) -> str:
    """Zero-width: no character of this class stands before, and no blank, which a pretoken would begin with."""
    # most characters before are ASCII, and those of other classes end the search at once
    return f"(?<!{character_class([*kind.ascii, BLANK])})(?:(?<!{byte_class(range(0x80, 0xC0))})|(?<!{kind.beyond()}))"


def _all_of(superwords: Sequence[Sequence[str]], base: PretokenSplitter) -> str:
    roots: dict[str, Node] = {}  # how the superwords below begin: with a blank (""), or the class of the first one
    for pretokens in sorted(map(list, superwords)):
        first = pretokens[0]
        begins = "" if first[0] == " " else f"\\g<{FIRST_GROUP + len(KINDS) + KINDS.index(_class_of(first, base))}>"
        roots.setdefault(begins, Node()).add(to_alphabet("".join(pretokens).encode()), _end(pretokens[-1], base))
    options = []
    for begins, root in sorted(roots.items()):
        options.append(f"{root.first()}{begins}{trie_pattern(root)}")
    return "|".join(options)


def _class_of(pretoken: str, base: PretokenSplitter) -> str:
    return NAMES[base.all_classes[ord(pretoken.removeprefix(" ")[0])]]


def _end(last: str, base: PretokenSplitter) -> str:
    """Zero-width: this pretoken ends here."""
    if last in CONTRACTIONS:
        return "(?:)"
    end = f"\\g<{FIRST_GROUP + KINDS.index(_class_of(last, base))}>"
    return f"{end}{NO_CONTRACTION}" if last == "'" else end
