"""Longer neighbours of runs in text over a few characters, where any string is as likely as any: DNA, numbers.

`GGGGA` is `GG`,`GG`,`A`, `GGGGAAT` is `GG`,`G`,`GA`,`AT`: what stands three characters from a run decides how it is
parted, and a text shows few of the strings that ask for it. Over few letters all of them can be tried. Which letters
make such text, the text itself tells: of words over any four letters few of the 64 triples are ever written, of DNA
all. Numbers any text may hold, decimal and hexadecimal; of ten digits only short strings can be tried.
"""

from collections import defaultdict
from collections.abc import Iterable, Set
from dataclasses import replace
from itertools import combinations, product

import numpy as np

from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.tokenizer.run_neighbours import begin, end, unlike
from ivr.tokenizer.run_rules import BLANK, OTHER, Contexts

LETTERS = 4
SHORTEST_TEXT = 6  # characters; shorter words hold few triples
WRITTEN = 0.75  # of all triples; words reach 0.56
NUMERALS = "0123456789", "abcdef", "ABCDEF"
PAIRED_NUMERALS, LONGEST_NUMERALS = 2, 3  # digits of a neighbour
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
        others = {character for character in alphabet if character != contexts.unit}  # no more of the run itself
        for size in range(2, LONGEST + 1):
            strings = ["".join(characters) for characters in product(alphabet, repeat=size)]
            near = {text for text in strings if begin(text, 1) in contexts.rights & others}
            lefts = {text for text in contexts.lefts if set(text.removeprefix(BLANK)) <= set(alphabet)} | {"", BLANK}
            kept = unlike(sorted(near - contexts.rights), contexts, lefts, encoder, token_lengths, ends=False)
            contexts = replace(contexts, rights=contexts.rights | kept)
            near = {text for text in strings if end(text, 1) in contexts.lefts & others}
            near |= {BLANK + text[1:] for text in near}
            rights = {text for text in contexts.rights if set(text) <= set(alphabet)} | {OTHER}
            kept = unlike(sorted(near - contexts.lefts), contexts, rights, encoder, token_lengths, ends=True)
            contexts = replace(contexts, lefts=contexts.lefts | kept)
    return contexts


def with_numerals(contexts: Contexts, encoder: BpeEncoder, token_lengths: np.ndarray) -> Contexts:
    """For a digit: the contexts with the digits beside a run that behave unlike their known parts.

    PAIRED_NUMERALS are tried beside every digit on the other side, LONGEST_NUMERALS where a run ends its number or
    begins it: round numbers, above all. All pairs of three would make a pattern of megabytes.
    """
    bpe_of = (encoder, token_lengths)
    for digits in NUMERALS:
        if contexts.unit not in digits:
            continue
        lefts, rights = ({text for text in known if text in digits} for known in (contexts.lefts, contexts.rights))
        for size in range(2, LONGEST_NUMERALS + 1):
            paired = size <= PAIRED_NUMERALS
            strings = ["".join(some) for some in product(digits, repeat=size)]
            # a far one may have to be paired, too
            known = contexts if paired else replace(contexts, rights=contexts.rights | contexts.far_rights)
            near = {text for text in strings if text[0] in rights} - known.rights
            beside = {"", BLANK} | (lefts if paired else set())
            kept = unlike(sorted(near), known, beside, *bpe_of, ends=False)
            contexts = _with(contexts, paired, rights=kept)
            known = contexts if paired else replace(contexts, lefts=contexts.lefts | contexts.far_lefts)
            near = {text for text in strings if text[-1] in lefts}
            near |= {BLANK + text[1:] for text in near}
            kept = unlike(
                sorted(near - known.lefts), known, {OTHER} | (rights if paired else set()), *bpe_of, ends=True
            )
            contexts = _with(contexts, paired, lefts=kept)
    return contexts


def _with(contexts: Contexts, paired: bool, lefts: Set[str] = frozenset(), rights: Set[str] = frozenset()) -> Contexts:
    if paired:
        return replace(contexts, lefts=contexts.lefts | lefts, rights=contexts.rights | rights)
    return replace(contexts, far_lefts=contexts.far_lefts | lefts, far_rights=contexts.far_rights | rights)
