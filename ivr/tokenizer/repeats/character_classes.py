r"""GPT-2's classes of characters over the byte alphabet: what its pretokens are made of.

GPT-2's pattern asks of every character whether it is a letter, a number, a blank or another. In the byte alphabet such
a class is a trie of byte sequences (`ivr.encoding.utf8_pattern`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import regex

from ivr.encoding.byte_alphabet import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE
from ivr.encoding.gpt2_pattern import BLANK, LETTER, NUM_CODE_POINTS, NUMBER, OTHER
from ivr.encoding.utf8_pattern import (
    NON_ASCII_LEADS,
    byte_class,
    character_class,
    characters_pattern,
    dense_characters_pattern,
    lead_bytes,
)

ASCII = 0x80
LEADS = byte_class(NON_ASCII_LEADS)
LEAD_OF = lead_bytes()
NAMES = {LETTER: "letters", NUMBER: "numbers", OTHER: "others", BLANK: "blanks"}
PRETOKEN = "pretoken"


@dataclass(frozen=True, eq=False)
class PieceClass:
    """One alternative of GPT-2's pattern: what its pretokens are made of.

    Or, by the name PRETOKEN, any character: what a pattern sees that splits the pretokens of another pattern further.
    """

    name: str
    group: int  # of `definitions`: `character` calls it
    members: np.ndarray  # bool (NUM_CODE_POINTS)

    @cached_property
    def ascii(self) -> str:
        """Its ASCII characters, in the byte alphabet."""
        return "".join(BYTE_TO_CHARACTER[byte] for byte in np.flatnonzero(self.members[:ASCII]).tolist())

    def beyond(self, leads: Sequence[str] = (), but: Sequence[str] = ()) -> str:
        """Alternatives for its characters beyond ASCII, those with these lead bytes or all but those with others."""
        return characters_pattern(self._beyond(leads, but))

    def dense(self, but: Sequence[str] = ()) -> str:
        """Alternatives for most of its characters beyond ASCII, quicker to try (`dense_characters_pattern`)."""
        return dense_characters_pattern(self._beyond((), but))

    def _beyond(self, leads: Sequence[str], but: Sequence[str]) -> np.ndarray:
        """Code points, int64 (n,)."""
        wanted = self.members.copy()
        wanted[:ASCII] = False
        if leads:
            wanted &= np.isin(LEAD_OF, [CHARACTER_TO_BYTE[lead] for lead in leads])
        wanted &= ~np.isin(LEAD_OF, [CHARACTER_TO_BYTE[lead] for lead in but])
        return np.flatnonzero(wanted)

    @cached_property
    def definition(self) -> str:
        """A pattern for one character."""
        return f"{character_class(self.ascii)}|(?={LEADS})(?:{self.beyond()})"

    @property
    def character(self) -> str:
        """One character, as a call of the group in `definitions`: written out every time they would fill megabytes."""
        if self.name == PRETOKEN:
            return "."
        if self.name == "blanks":  # few, and looked for often
            return f"(?:{self.definition})"
        return f"\\g<{self.group}>"

    @property
    def lead(self) -> str:
        """An optional blank in front, where the pattern takes one."""
        return "" if self.name in ("blanks", PRETOKEN) else "Ġ?"

    @property
    def end(self) -> str:
        """Zero-width: the pretoken ends here. Of blanks before a word the last one belongs to the word."""
        if self.name == PRETOKEN:
            return r"\z"
        if self.name == "blanks":
            return rf"(?={self.character}(?!{self.character}).|\z)"
        beyond = map(BYTE_TO_CHARACTER.__getitem__, NON_ASCII_LEADS)
        return f"(?:(?!{character_class([*self.ascii, *beyond])})|(?={LEADS})(?!{self.character}))"

    @property
    def begins(self) -> str:
        """Zero-width: a pretoken of this class begins here, or a piece of one."""
        return f"(?={self.lead}{self.character})"

    @property
    def inside(self) -> str:
        """Zero-width after a right context: it belongs to the pretoken."""
        return rf"(?={self.character}|\z)" if self.name == "blanks" else ""


@dataclass(frozen=True)
class PieceClasses:
    """Letters, numbers, others and blanks, in this order; or one class of all characters."""

    kinds: tuple[PieceClass, ...]

    @property
    def are_pretokens(self) -> bool:
        """Whether the text has been split into pretokens already."""
        return len(self.kinds) == 1

    def of(self, text: str) -> PieceClass:
        """The class of the first character of this text, which is whole characters in the byte alphabet."""
        if self.are_pretokens:
            return self.kinds[0]
        return next(kind for kind in self.kinds if regex.match(kind.definition, text))

    def of_pretoken(self, text: str) -> PieceClass:
        """The same of a pretoken, before which a blank may stand."""
        return self.of(text.removeprefix("Ġ") or text)

    @property
    def definitions(self) -> str:
        """Matches nothing; stands at the very beginning of a pattern that uses the classes."""
        if self.are_pretokens:
            return ""
        return f"(?:{'|'.join(f'({kind.definition})' for kind in self.kinds)}){{0}}"

    @property
    def no_contraction(self) -> str:
        """Zero-width: the character before is one of the others."""
        others = self.kinds[2]
        return f"(?<!{character_class(others.ascii)})(?<!{others.beyond()})"


def whole_pretokens() -> PieceClasses:
    """For a text that has been split into pretokens, whatever these are made of."""
    return PieceClasses((PieceClass(PRETOKEN, 0, np.ones(NUM_CODE_POINTS, bool)),))


def piece_classes(classes: np.ndarray) -> PieceClasses:
    """`classes`: uint8 (NUM_CODE_POINTS) of LETTER, NUMBER, OTHER, BLANK."""
    assert len(classes) == NUM_CODE_POINTS
    return PieceClasses(
        tuple(PieceClass(name, at, classes == kind) for at, (kind, name) in enumerate(NAMES.items(), 1))
    )
