"""Longer neighbours of runs in text where any string is as likely as any: DNA, numbers, letters that are no word.

`GGGGA` is `GG`,`GG`,`A`, `GGGGAAT` is `GG`,`G`,`GA`,`AT`: what stands three characters from a run decides how it is
parted, and a text shows few of the strings that ask for it. Over few letters all of them can be tried. Which letters
make such text, the text itself tells: of words over any four letters few of the 64 triples are ever written, of DNA
all. Numbers any text may hold, decimal and hexadecimal; of ten digits only short strings can be tried, and so of all
letters (`mmml` is `mm`,`ml`, but `mmmlu`, a name that no word list holds, `mmm`,`lu`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from itertools import combinations, product
from string import ascii_lowercase, ascii_uppercase

import numpy as np

from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.tokenizer.repeats.tables import BLANK, OTHER, Contexts
from ivr.tokenizer.repeats.vocabulary_contexts import begin, end, unlike

LETTERS = 4
SHORTEST_TEXT = 6  # characters; shorter words hold few triples
WRITTEN = 0.75  # of all triples; words reach 0.56
NUMERALS = "0123456789", "abcdef", "ABCDEF"
LONGEST = 5  # characters of a neighbour; of four letters there are 1,024


def small_alphabets(pretokens: Iterable[str]) -> list[str]:
    """Every LETTERS letters of which the text writes WRITTEN of all triples in one case; in both cases, in order."""
    triples: dict[frozenset[str], set[str]] = defaultdict(set)
    for pretoken in pretokens:
        word = pretoken.removeprefix(" ")
        if len(word) >= SHORTEST_TEXT and word.isascii() and word.isalpha() and (word.islower() or word.isupper()):
            letters = frozenset(word)
            if len(letters) <= LETTERS:
                triples[letters].update(word[at : at + 3] for at in range(len(word) - 2))
    found = set()
    for letters in triples:
        if len(letters) == LETTERS:
            parts = (frozenset(some) for size in range(1, LETTERS + 1) for some in combinations(letters, size))
            written = set[str]().union(*(triples[part] for part in parts if part in triples))
            if len(written) >= WRITTEN * LETTERS**3:
                found |= {"".join(sorted(letters)).lower(), "".join(sorted(letters)).upper()}
    return sorted(found)


def with_alphabets(
    contexts: Contexts, alphabets: Iterable[str], encoder: BpeEncoder, token_lengths: np.ndarray
) -> Contexts:
    """For a unit of one of these: the contexts with all neighbours over it that behave unlike their known parts.

    Each is tried beside every known one over the alphabet on the other side.
    """
    for alphabet in alphabets:
        if contexts.unit not in alphabet:
            continue
        for size in range(2, LONGEST + 1):
            lefts = {text for text in contexts.lefts if set(text.removeprefix(BLANK)) <= set(alphabet)}
            kept = _unlike_rights(contexts, alphabet, size, lefts, encoder, token_lengths)
            contexts = replace(contexts, rights=contexts.rights | kept)
            rights = {text for text in contexts.rights if set(text) <= set(alphabet)}
            kept = _unlike_lefts(contexts, alphabet, size, rights, encoder, token_lengths)
            contexts = replace(contexts, lefts=contexts.lefts | kept)
    return contexts


def with_numerals(contexts: Contexts, encoder: BpeEncoder, token_lengths: np.ndarray) -> Contexts:
    """For a digit: the contexts with the digits beside a run that behave unlike their known parts.

    Two digits are tried beside every digit on the other side, three where a run ends its number or begins it: round
    numbers, above all. All pairs of three would make a pattern of megabytes.
    """
    bpe_of = (encoder, token_lengths)
    for digits in NUMERALS:
        if contexts.unit not in digits:
            continue
        lefts, rights = contexts.lefts & set(digits), contexts.rights & set(digits)
        kept = _unlike_rights(contexts, digits, 2, lefts, *bpe_of)
        contexts = replace(contexts, rights=contexts.rights | kept)
        kept = _unlike_lefts(contexts, digits, 2, rights, *bpe_of)
        contexts = replace(contexts, lefts=contexts.lefts | kept)
        # the far ones stand alone
        known = replace(
            contexts, lefts=contexts.lefts | contexts.far_lefts, rights=contexts.rights | contexts.far_rights
        )
        far_rights = contexts.far_rights | _unlike_rights(known, digits, 3, set(), *bpe_of)
        far_lefts = contexts.far_lefts | _unlike_lefts(known, digits, 3, set(), *bpe_of)
        contexts = replace(contexts, far_lefts=far_lefts, far_rights=far_rights)
    return contexts


def with_letters(contexts: Contexts, encoder: BpeEncoder, token_lengths: np.ndarray) -> Contexts:
    """For an ASCII letter: the contexts with two letters beside a run that behave unlike the nearer one of them.

    Tried where a run begins or ends its word, behind a blank too; of both its case, and a capital before a small one.
    Two on either side at once would make a pattern half as large again.
    """
    unit, bpe_of = contexts.unit, (encoder, token_lengths)
    letters = next((letters for letters in (ascii_lowercase, ascii_uppercase) if unit in letters), "")
    if not letters:
        return contexts
    known = replace(contexts, lefts=contexts.lefts | contexts.far_lefts, rights=contexts.rights | contexts.far_rights)
    known = replace(known, rights=known.rights | _unlike_rights(known, letters, 2, set(), *bpe_of))
    firsts = letters + (ascii_uppercase if letters is ascii_lowercase else "")
    near = {first + last for first in firsts for last in known.lefts & set(letters) - {unit}}
    for blank in ("", BLANK):  # in turn: two letters behind a blank must be told from these two
        tried = sorted({blank + text for text in near} - known.lefts)
        known = replace(known, lefts=known.lefts | unlike(tried, known, {OTHER}, *bpe_of, ends=True))
    return replace(contexts, far_lefts=known.lefts - contexts.lefts, far_rights=known.rights - contexts.rights)


def _unlike_rights(
    known: Contexts, alphabet: str, size: int, lefts: Set[str], encoder: BpeEncoder, token_lengths: np.ndarray
) -> set[str]:
    """The right neighbours of so many characters that behave unlike their known parts, alone or beside one of these."""
    begins = known.rights & (set(alphabet) - {known.unit})  # no more of the run itself
    near = {text for text in _strings(alphabet, size) if begin(text, 1) in begins} - known.rights
    return unlike(sorted(near), known, {*lefts, "", BLANK}, encoder, token_lengths, ends=False)


def _unlike_lefts(
    known: Contexts, alphabet: str, size: int, rights: Set[str], encoder: BpeEncoder, token_lengths: np.ndarray
) -> set[str]:
    """The same of left ones, which may begin with a blank."""
    ends = known.lefts & (set(alphabet) - {known.unit})
    near = {text for text in _strings(alphabet, size) if end(text, 1) in ends}
    near |= {BLANK + text[1:] for text in near}
    return unlike(sorted(near - known.lefts), known, {*rights, OTHER}, encoder, token_lengths, ends=True)


def _strings(alphabet: str, size: int) -> Iterator[str]:
    return map("".join, product(alphabet, repeat=size))
