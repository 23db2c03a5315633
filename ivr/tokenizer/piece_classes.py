r"""What the pieces of the distilled tokenizer are made of: GPT-2's classes of characters, over the byte alphabet.

GPT-2's pattern asks of every character whether it is a letter, a number, a blank or another. Between two characters
that no token spans a border changes nothing, for BPE as for Unigram; so of the characters outside ASCII only those
that share a token with a neighbour need their true class. All the others may go with the letters, which keeps the
pattern short. Blanks are told apart always, because a blank before a word belongs to the word.
"""

from dataclasses import dataclass

import numpy as np
import regex

from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.byte_alphabet import BYTE_TO_CHARACTER, from_alphabet
from ivr.encoding.gpt2_pattern import BLANK, NUM_CODE_POINTS, NUMBER, OTHER
from ivr.encoding.utf8_pattern import NON_ASCII_LEADS, byte_class, character_class, characters_pattern, whole_leads

LEADS = byte_class(NON_ASCII_LEADS)
ASCII = 0x80


@dataclass(frozen=True)
class PieceClass:
    """One alternative of GPT-2's pattern: what its pretokens are made of."""

    name: str
    ascii: str  # its ASCII characters, in the byte alphabet
    beyond: str  # alternatives for its characters beyond ASCII; empty: none
    whole_leads: dict[str, int]  # lead bytes, all of whose characters are its: continuation bytes
    lead: str  # an optional blank in front, where the pattern takes one
    end: str  # zero-width: the pretoken ends here
    inside: str  # zero-width after a right neighbour: it belongs to the pretoken

    @property
    def character(self) -> str:
        """A pattern for one character."""
        narrow = character_class(self.ascii)
        return f"(?:{narrow}|{self.beyond})" if self.beyond else narrow

    def none_here(self) -> str:
        """Zero-width: no character of this class follows."""
        beyond = f"|(?={LEADS})(?:{self.beyond})" if self.beyond else ""
        return f"(?!{character_class(self.ascii)}{beyond})"


@dataclass(frozen=True)
class PieceClasses:
    """Letters, numbers, others and blanks, in this order; and where a contraction may not begin."""

    kinds: tuple[PieceClass, PieceClass, PieceClass, PieceClass]
    no_contraction: str  # zero-width: the character before is one of `others`

    def of(self, unit: str) -> PieceClass:
        """The class of which the first character of this text (whole characters, in the byte alphabet) is one."""
        return next(kind for kind in self.kinds if regex.match(kind.character, unit))


def piece_classes(bpe: ByteLevelBpe, classes: np.ndarray) -> PieceClasses:
    """The classes for this vocabulary. `classes`: uint8 (NUM_CODE_POINTS) of LETTER, NUMBER, OTHER, BLANK."""
    spanned = _share_tokens(bpe)
    numbers, others = (classes == kind for kind in (NUMBER, OTHER))
    blanks = classes == BLANK
    strict = spanned & (numbers | others)
    beyond = np.arange(NUM_CODE_POINTS) >= ASCII
    letters = beyond & ~strict & ~blanks
    blank = _alternatives(blanks & beyond)
    ascii_blanks = _ascii(blanks)
    any_blank = f"(?:{character_class(ascii_blanks)}|{blank})"

    def word(name: str, ascii_members: np.ndarray, members: np.ndarray) -> PieceClass:
        return PieceClass(name, _ascii(ascii_members), _alternatives(members), whole_leads(members), "Ġ?", "", "")

    kinds = (
        word("letters", ~numbers & ~others & ~blanks, letters),
        word("numbers", numbers, strict & numbers & beyond),
        word("others", others, strict & others & beyond),
        # of blanks before a word the last one belongs to the word
        PieceClass(
            "blanks", ascii_blanks, blank, {}, "", rf"(?={any_blank}(?!{any_blank}).|\z)", rf"(?={any_blank}|\z)"
        ),
    )
    refused = f"(?<!{character_class(kinds[2].ascii)})(?<!{_alternatives(others & beyond)})"
    return PieceClasses(kinds, refused)


def _alternatives(members: np.ndarray) -> str:
    return characters_pattern(np.flatnonzero(members))


def _ascii(members: np.ndarray) -> str:
    return "".join(BYTE_TO_CHARACTER[byte] for byte in np.flatnonzero(members[:ASCII]).tolist())


def _share_tokens(bpe: ByteLevelBpe) -> np.ndarray:
    """Code points that some token holds together with (a part of) a neighbouring character, bool (NUM_CODE_POINTS).

    A token that ends, or begins, inside a character stands for every character with those bytes.
    """
    found = np.zeros(NUM_CODE_POINTS, bool)
    for token_id, token in enumerate(bpe.tokens):
        if token_id in bpe.special_ids:
            continue
        data = from_alphabet(token)
        # a blank in front is no neighbour: every class but the blanks takes one
        data = data[1:] if data[:1] == b" " and len(data) > 1 else data
        if data.isascii():
            continue
        borders = [at for at in range(1, len(data)) if not 0x80 <= data[at] < 0xC0]
        for part in _parts(data, borders) if borders else []:
            found |= _with_bytes(part)
    return found


def _parts(data: bytes, borders: list[int]) -> list[bytes]:
    return [data[begin:end] for begin, end in zip([0, *borders], [*borders, len(data)], strict=True)]


_CODE_POINTS = np.arange(NUM_CODE_POINTS)


def _with_bytes(part: bytes) -> np.ndarray:
    """The characters beyond ASCII whose UTF-8 begins with `part`, or ends with it where it starts inside one."""
    found = np.zeros(NUM_CODE_POINTS, bool)
    if part[0] < 0x80:
        return found
    if part[0] >= 0xC0:
        size = 2 if part[0] < 0xE0 else 3 if part[0] < 0xF0 else 4
        value = part[0] & (0xFF >> (size + 1))
        for byte in part[1:]:
            value = value << 6 | byte & 0x3F
        free = 6 * (size - len(part))
        found[value << free : (value + 1) << free] = True
        found[:ASCII] = False
        return found
    value = 0
    for byte in part:
        value = value << 6 | byte & 0x3F
    found[(_CODE_POINTS & ((1 << 6 * len(part)) - 1)) == value] = True
    found[:ASCII] = False
    return found
