"""A pretoken that holds a new token's string is not cut.

A distilled tokenizer's pattern cuts runs where BPE does, and no token crosses a cut. Where a pretoken holds a new
string, BPE's answer is no longer wanted, so such pretokens get alternatives of their own, in front of the cutting ones
and behind the one that takes words without runs. All other text is split as before.
"""

from collections.abc import Iterable, Sequence

from ivr.analysis.pretokens import PretokenSplitter
from ivr.tokenizer.run_pattern import CLASSES, CharacterClass

Trie = dict[str, "Trie"]  # what follows each character; empty at the end of a text


def uncut_pattern(pattern: str, texts: Iterable[str], base: PretokenSplitter) -> str:
    """The distilled tokenizer's pattern, with pretokens that hold one of `texts` taken whole.

    `base` splits as the original tokenizer. A class of characters whose runs are not cut needs nothing.
    """
    for place, alternative in _insertions(pattern, texts, base):
        pattern = pattern[:place] + alternative + pattern[place:]
    return pattern


def cut_again(pattern: str, texts: Iterable[str], base: PretokenSplitter) -> str:
    """The inverse of `uncut_pattern` for the same texts."""
    for kind, mine in _by_class(texts, base).items():
        pattern = pattern.replace(_alternative(kind, mine), "", 1)
    return pattern


def _insertions(pattern: str, texts: Iterable[str], base: PretokenSplitter) -> list[tuple[int, str]]:
    """(place in the pattern, what goes there), last place first."""
    found = []
    for kind, mine in _by_class(texts, base).items():
        # blanks have no alternative for words without runs; the gate in front of theirs is cheap
        marker = f")++(?!{kind.pattern})|"
        place = 0 if kind.name == "blanks" else pattern.find(marker) + len(marker)
        if kind.name == "blanks" or marker in pattern:
            found.append((place, _alternative(kind, mine)))
    return sorted(found, reverse=True)


def _by_class(texts: Iterable[str], base: PretokenSplitter) -> dict[CharacterClass, list[str]]:
    found: dict[CharacterClass, list[str]] = {}
    kinds: dict[str, str] = {}
    for text in sorted(set(texts)):
        names = {_class_of(character, base, kinds) for character in text.removeprefix(" ") or text}
        for kind in CLASSES:
            if names == {kind.name} and not (kind.name == "blanks" and len(text) < 2):
                found.setdefault(kind, []).append(text)
    return {kind: found[kind] for kind in CLASSES if kind in found}


def _class_of(character: str, base: PretokenSplitter, known: dict[str, str]) -> str:
    """What the original pattern takes a character for: it joins only others of its class."""
    if character not in known:
        known[character] = "blanks"
        for name, other in (("letters", "a"), ("numbers", "1"), ("others", "!")):
            if len(base(other + character)) == 1:
                known[character] = name
    return known[character]


def _alternative(kind: CharacterClass, texts: Sequence[str]) -> str:
    """Takes a pretoken of this class whole if it holds one of the texts."""
    if kind.name == "blanks":
        return rf"(?=\s{{2}})(?=\s*?{_any_of(texts)}{kind.inside})(?:\s+(?!\S)|\s+)|"
    at_start = [text for text in texts if text.startswith(" ")]
    anywhere = [text for text in texts if not text.startswith(" ")]
    searches = [_any_of(at_start)] if at_start else []
    searches += [f"{kind.lead}{kind.pattern}*?{_any_of(anywhere)}"] if anywhere else []
    return f"(?={kind.lead}{kind.pattern})(?={'|'.join(searches)}){kind.lead}{kind.pattern}+|"


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
    leaves = "".join(_quote(character) for character, child in sorted(node.items()) if not child)
    branches = [_quote(character) + _trie(child) for character, child in sorted(node.items()) if child]
    if leaves:
        branches.insert(0, f"[{leaves}]")
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"


def _quote(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)
