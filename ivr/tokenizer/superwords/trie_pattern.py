"""Texts as a trie, and the trie as a pattern (Oniguruma) that matches the longest of them that ends where it may."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ivr.encoding.utf8_pattern import character_class, quote

TRIED_IN_TURN = 8  # next characters


@dataclass
class Node:
    """What may follow: `children` by their first character. `ends`: a text ends here if this matches; "" for none."""

    children: dict[str, "Node"] = field(default_factory=dict)
    ends: str = ""
    size: int = 0  # texts below

    def add(self, text: str, end: str) -> None:
        """A text, and the zero-width pattern that must match behind it."""
        node = self
        node.size += 1
        for character in text:
            node = node.children.setdefault(character, Node())
            node.size += 1
        node.ends = end

    def first(self) -> str:
        """A look ahead at the first character, where there are several; "" otherwise."""
        return f"(?={character_class(self.children)})" if len(self.children) > 1 else ""


def trie_pattern(node: Node, portable: bool = False) -> str:
    """What may follow, the longest first. `portable`: without conditions, which few engines have.

    >>> root = Node()
    >>> root.add("of", "(?!s)"), root.add("of the", "(?:)")
    (None, None)
    >>> trie_pattern(root)
    'of(?:\\\\x20the(?:(?:))|(?!s))'
    """
    text = ""
    while len(node.children) == 1 and not node.ends:
        ((character, node),) = node.children.items()
        text += quote(character)
    options = [_next(sorted(node.children.items()), portable)] if node.children else []
    if node.ends:
        options.append(node.ends)
    return f"{text}(?:{'|'.join(options)})"


def _next(children: Sequence[tuple[str, Node]], portable: bool) -> str:
    """Alternatives for what begins with one of these characters, those with most texts behind them first.

    An engine that backtracks tries one after another, so more than a few are halved by a condition (no alternative:
    that would be tried again when the first half has failed).
    """
    if portable or len(children) <= TRIED_IN_TURN:
        order = sorted(children, key=lambda item: (-item[1].size, item[0]))
        return "|".join(quote(character) + trie_pattern(child, portable) for character, child in order)
    half = len(children) // 2
    first, second = children[:half], children[half:]
    return f"(?((?={character_class(c for c, _ in first)}))(?:{_next(first, portable)})|(?:{_next(second, portable)}))"
