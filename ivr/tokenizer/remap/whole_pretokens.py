"""A pretoken that holds a new token's string is not cut.

A distilled tokenizer's pattern cuts runs where BPE does, and no token crosses a cut. Where a pretoken holds a new
string, BPE's answer is no longer wanted, so such pretokens get alternatives of their own, in front of the cutting ones
and behind the one that takes words without runs. All other text is split as before.
"""

from collections.abc import Iterable, Sequence

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.byte_alphabet import to_alphabet
from ivr.encoding.utf8_pattern import character_class, quote
from ivr.tokenizer.repeats.character_classes import NAMES, PieceClass, piece_classes, whole_pretokens
from ivr.tokenizer.repeats.pattern import marker

Trie = dict[str, "Trie"]  # what follows each character; empty at the end of a text


def uncut_pattern(pattern: str, texts: Iterable[str], base: PretokenSplitter) -> str:
    """The distilled tokenizer's pattern, with pretokens that hold one of `texts` taken whole.

    `base` splits as the original tokenizer. A class of characters whose runs are not cut needs nothing.
    """
    for kind, mine in _by_class(texts, base):
        pattern = pattern.replace(marker(kind), _alternative(kind, mine) + marker(kind), 1)
    return pattern


def cut_again(pattern: str, texts: Iterable[str], base: PretokenSplitter) -> str:
    """The inverse of `uncut_pattern` for the same texts."""
    for kind, mine in _by_class(texts, base):
        pattern = pattern.replace(_alternative(kind, mine), "", 1)
    return pattern


def _by_class(texts: Iterable[str], base: PretokenSplitter) -> list[tuple[PieceClass, list[str]]]:
    """The texts of one class of characters, in the byte alphabet."""
    if not base.is_gpt2:
        every = [to_alphabet(text.encode()) for text in sorted(set(texts))]
        return [(kind, every) for kind in whole_pretokens().kinds if every]
    found: dict[str, list[str]] = {}
    for text in sorted(set(texts)):
        names = {NAMES[base.all_classes[ord(character)]] for character in text.removeprefix(" ") or text}
        if len(names) == 1 and not (names == {"blanks"} and len(text) < 2):
            found.setdefault(names.pop(), []).append(to_alphabet(text.encode()))
    classes = piece_classes(base.all_classes).kinds if found else ()
    return [(kind, found[kind.name]) for kind in classes if kind.name in found]


def _alternative(kind: PieceClass, texts: Sequence[str]) -> str:
    """Takes a pretoken of this class whole if it holds one of the texts."""
    one = kind.character
    if kind.name == "blanks":
        return rf"(?={one}{{2}})(?={one}*?{_any_of(texts)}{kind.inside})(?:{one}+(?={one}|\z)|{one}+)|"
    at_start = [text for text in texts if text.startswith("Ġ")]
    anywhere = [text for text in texts if not text.startswith("Ġ")]
    searches = [_any_of(at_start)] if at_start else []
    searches += [f"{kind.lead}{one}*?{_any_of(anywhere)}"] if anywhere else []
    return f"(?={kind.lead}{one})(?={'|'.join(searches)}){kind.lead}{one}+|"


def _any_of(texts: Sequence[str]) -> str:
    """A pattern that matches where one of the texts begins; a trie, so that it is decided character by character."""
    root: Trie = {}
    known = set(texts)
    for text in texts:
        if any(text[:size] in known for size in range(1, len(text))):
            continue  # a shorter one is enough
        node = root
        for character in text:
            node = node.setdefault(character, {})
    return _trie(root)


def _trie(node: Trie) -> str:
    leaves = [character for character, child in node.items() if not child]
    branches = [_branch(character, child) for character, child in sorted(node.items()) if child]
    if leaves:
        branches.insert(0, character_class(leaves))
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"


def _branch(text: str, node: Trie) -> str:
    """One way on as long as there is no other, without a call a character: strings may be long."""
    while len(node) == 1:
        ((character, child),) = node.items()
        text, node = text + character, child
    return quote(text) + (_trie(node) if node else "")
