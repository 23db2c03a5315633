"""The contexts of one unit's repeats: what stands left or right of them and decides where BPE splits.

` spectatorssss` is split after `spectators`, `rssss` alone after `r`. How much of the text decides is found as L*
(Angluin, 1987) finds the states of an automaton: BPE answers, for a context and every length of the repeat, where the
first border is; contexts with the same answers are one state, and where two differ the shortest parts are kept that
tell them apart. So the longest known context that fits a text behaves as the text does.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

LONGEST_CONTEXT = 12  # bytes
BLANK = "Ġ"  # the one blank that belongs to the word behind it
OTHER = ""  # the right context: the end, or any character that shares no token with the unit


class Side(Enum):
    """Where a context stands."""

    LEFT = "left"
    RIGHT = "right"

    @property
    def other(self) -> "Side":
        return Side.RIGHT if self is Side.LEFT else Side.LEFT

    def part(self, text: str, size: int) -> str:
        """The characters of this context that touch the repeat.

        >>> Side.LEFT.part("tor", 2), Side.RIGHT.part("tor", 2)
        ('or', 'to')
        """
        return text[len(text) - size :] if self is Side.LEFT else text[:size]

    def pair(self, context: str, beyond: str) -> tuple[str, str]:
        """(left, right) of a context on this side and one on the other.

        >>> Side.RIGHT.pair("lu", "Ġ")
        ('Ġ', 'lu')
        """
        return (context, beyond) if self is Side.LEFT else (beyond, context)

    def longest(self, text: str, known: Collection[str]) -> str:
        """The longest of the known contexts that fits where this text stands; empty when none does.

        >>> Side.LEFT.longest("spectator", {"r", "or", "to"})
        'or'
        """
        for size in reversed(_sizes(text)):
            if self.part(text, size) in known:
                return self.part(text, size)
        return ""


def _sizes(text: str) -> range:
    return range(1, min(len(text), LONGEST_CONTEXT) + 1)


@dataclass(frozen=True)
class Contexts:
    """The contexts to tabulate for one unit: single characters, and longer ones that were found to differ from these.

    `lefts` and `rights` are tabulated in pairs. The far ones, which are many, stand alone: no left context (or a blank)
    before a far right one, and nothing that shares a token with the unit after a far left one.
    """

    unit: str
    longest: int  # units of the longest repeat that is one token
    lefts: frozenset[str]
    rights: frozenset[str]
    far_lefts: frozenset[str] = frozenset()
    far_rights: frozenset[str] = frozenset()

    def of(self, side: Side, *, far: bool = False) -> frozenset[str]:
        """Those on one side; with `far` these too."""
        near, more = (self.lefts, self.far_lefts) if side is Side.LEFT else (self.rights, self.far_rights)
        return near | more if far else near

    def including(self, side: Side, more: Iterable[str], *, far: bool = False) -> "Contexts":
        """These and more on one side."""
        name = f"{'far_' if far else ''}{side.value}s"
        return replace(self, **{name: getattr(self, name) | frozenset(more)})

    def extended(self, before: str, after: str) -> "Contexts":
        """With one byte more of the text before and after a repeat, where the context shares a token with it.

        >>> sorted(Contexts("s", 2, frozenset("r"), frozenset("h")).extended("tor", "xy").lefts)
        ['or', 'r']
        """
        contexts = self
        for side, text in ((Side.LEFT, before), (Side.RIGHT, after)):
            size = len(side.longest(text, self.of(side)))
            if 0 < size < min(len(text), LONGEST_CONTEXT):
                contexts = contexts.including(side, [side.part(text, size + 1)])
        return contexts


def distinguishing(
    texts: Iterable[str],
    known: Iterable[str],
    side: Side,
    behaviour: Callable[[Sequence[str]], np.ndarray],
    *,
    in_parts: bool,
) -> set[str]:
    """Contexts, besides the known ones, so that the longest that fits a text behaves as the whole text.

    texts: contexts on this side, each of which one of the known ones fits.
    behaviour: what BPE does beside each of some contexts, one row for each.
    in_parts: take the shortest part of a text that behaves as it does; if not, the text itself.

    `r` draws an `s` in, but not where `or` was merged before:

    >>> def behaviour(texts):
    ...     return np.array([not text.endswith("or") for text in texts])
    >>> distinguishing(["tor", "ter", "tar"], {"r"}, Side.LEFT, behaviour, in_parts=True)
    {'or'}
    """
    fitting, kept = set(known), set[str]()
    wanted = sorted(texts)
    row_of: dict[str, bytes] = {}

    def ask(parts: Iterable[str]) -> None:
        new = sorted({*parts} - row_of.keys())
        if new:
            row_of.update((text, row.tobytes()) for text, row in zip(new, behaviour(new), strict=True))

    def longer_parts(text: str, fit: str) -> list[str]:
        return [side.part(text, size) for size in _sizes(text) if size > len(fit)] if in_parts else [text]

    ask(wanted)
    changed = True
    while changed:
        fits = {text: side.longest(text, fitting) for text in wanted}
        ask(fits.values())
        differ = [text for text in wanted if row_of[fits[text]] != row_of[text]]
        ask(part for text in differ for part in longer_parts(text, fits[text]))
        changed = False
        for text in differ:
            fit = side.longest(text, fitting)
            if row_of[fit] == row_of[text]:
                continue  # what was kept for another text
            alike = (part for part in longer_parts(text, fit) if row_of[part] == row_of[text])
            if (shortest := next(alike, None)) is not None and shortest not in fitting:
                kept.add(shortest)
                fitting.add(shortest)
                changed = True
    return kept
