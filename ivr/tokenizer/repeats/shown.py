"""What a text shows of the contexts in others like it: the marks it writes together, the letters in any order."""

import string
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import combinations

PUNCTUATION = frozenset(string.punctuation)
OFTEN = 50  # distinct pretokens that hold two marks in a row, for these to be tried beside repeats
ALPHABET = 4  # letters
SHORTEST_WORD = 6  # letters; shorter words hold few triples
WRITTEN = 0.75  # of all triples; words reach 0.56


def small_alphabets(pretokens: Iterable[str]) -> list[str]:
    """Every ALPHABET letters of which the text writes WRITTEN of all triples in one case; in both cases, in order.

    Over so few letters a text shows few of the strings that decide how a repeat is split, and any string is as likely
    as any. Of words over any four letters few of the 64 triples are ever written, of DNA all.
    """
    triples: dict[frozenset[str], set[str]] = defaultdict(set)
    for pretoken in pretokens:
        word = pretoken.removeprefix(" ")
        if len(word) >= SHORTEST_WORD and word.isascii() and word.isalpha() and (word.islower() or word.isupper()):
            letters = frozenset(word)
            if len(letters) <= ALPHABET:
                triples[letters].update(word[at : at + 3] for at in range(len(word) - 2))
    found = set()
    for letters in triples:
        if len(letters) == ALPHABET:
            parts = (frozenset(some) for size in range(1, ALPHABET + 1) for some in combinations(letters, size))
            written = set[str]().union(*(triples[part] for part in parts if part in triples))
            if len(written) >= WRITTEN * ALPHABET**3:
                found |= {"".join(sorted(letters)).lower(), "".join(sorted(letters)).upper()}
    return sorted(found)


def seen_marks(texts: Iterable[str], often: int = OFTEN) -> set[str]:
    """Two characters of ASCII punctuation in a row, in so many of the texts; and two brackets that close, always.

    >>> sorted(seen_marks(["(!", " (!", "]!"], often=2))
    ['(!', '))', '>>', ']]', '}}']
    """
    counts = Counter[str]()
    for text in texts:
        if not text.isalnum() and PUNCTUATION.issuperset(marks := text.removeprefix(" ")):
            counts.update({marks[at : at + 2] for at in range(len(marks) - 1)})
    return {marks for marks, count in counts.items() if count >= often} | {2 * bracket for bracket in ")]}>"}
