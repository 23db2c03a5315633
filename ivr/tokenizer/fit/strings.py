"""The strings that weights are fitted to besides the text, and which of all hold a repeat."""

import string
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, combinations, groupby

import numpy as np
import regex

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.batch import Batch, chunks
from ivr.encoding.byte_alphabet import from_alphabet
from ivr.tokenizer.repeats.contexts import Contexts
from ivr.tokenizer.repeats.tables import SHORTEST, text_of

DIGITS = 5  # every number of up to so many digits is fitted: few corpora hold them all
ROUND_DIGITS = 3  # and every round one of so many digits and three zeros; of four, the repeat rules learn too much
SPARSE_DIGITS = 8  # of `1001000`, `00008000` and the like
NAME_LETTERS = 4
LONGEST_CHARACTER = 4  # bytes of UTF-8


def single_pretokens(texts: Iterable[str], splitter: PretokenSplitter) -> list[str]:
    """Those of the texts that this tokenizer neither splits nor normalizes; others a model never sees at once."""
    return [*each_single_pretoken(texts, splitter)]


def each_single_pretoken(texts: Iterable[str], splitter: PretokenSplitter) -> Iterator[str]:
    """The same one by one, so many in memory at a time as one chunk has."""
    for chunk in chunks(texts):
        pieces = splitter.split([text.encode() for text in chunk])
        single = (chunk[row] for row in np.flatnonzero(np.diff(pieces.starts) == 1).tolist())
        if splitter.normalizing:
            alone = (found[0].decode(errors="replace") for found in pieces.lists() if len(found) == 1)
            single = (text for text, piece in zip(single, alone, strict=True) if text in piece)
        yield from single


def in_one_array(texts: Iterable[str]) -> Batch:
    """Texts as bytes one behind another: of a large corpus there are millions, and a str takes five times the room."""
    parts = [Batch.of([]), *(Batch.of([text.encode() for text in chunk]) for chunk in chunks(texts))]
    offsets = np.cumsum([0, *(len(part.data) for part in parts)])
    starts = [part.starts[:-1] + offset for part, offset in zip(parts, offsets, strict=False)]
    return Batch(np.concatenate([part.data for part in parts]), np.concatenate([*starts, offsets[-1:]]))


def short_numbers() -> list[str]:
    """Every string of 1 to DIGITS digits, and longer round numbers, alone and after a blank."""
    numbers = [f"{number:0{size}}" for size in range(1, DIGITS + 1) for number in range(10**size)]
    numbers += [f"{number}000" for number in range(10 ** (DIGITS - 3), 10**ROUND_DIGITS)]
    return numbers + [" " + number for number in numbers]


def sparse_numbers() -> list[str]:
    """Longer numbers of so many digits with a repeat in which two at most are not 0, alone and after a blank.

    Repeat rules learn from them; scores that are right on them too, a file cannot hold.
    """
    numbers: dict[str, None] = {}
    for size in range(DIGITS + 1, SPARSE_DIGITS + 1):
        powers = [10**place for place in range(size)]
        sparse = {one * p + other * q for p, q in combinations(powers, 2) for one in range(10) for other in range(10)}
        texts = (f"{number:0{size}}" for number in sorted(sparse - {0}))
        numbers |= dict.fromkeys(text for text in texts if SHORTEST * "0" in text)
    return [blank + number for blank in ("", " ") for number in numbers]


def short_names(capitals: int) -> Batch:
    """Every string of NAME_LETTERS ASCII letters without a repeat, alone and after a blank, the first ones `capitals`.

    Abbreviations and short names: there are few of each length, and no text holds many of them.
    """
    letters_ND = np.indices((len(string.ascii_lowercase),) * NAME_LETTERS, np.uint8).reshape(NAME_LETTERS, -1).T
    names_ND = letters_ND + np.where(np.arange(NAME_LETTERS) < capitals, ord("A"), ord("a")).astype(np.uint8)
    alike_ND = names_ND[:, 1:] == names_ND[:, :-1]
    names_ND = names_ND[~(alike_ND[:, 1:] & alike_ND[:, :-1]).any(axis=1)]
    after_blank = np.insert(names_ND, 0, ord(" "), axis=1)
    lengths = np.repeat([NAME_LETTERS, NAME_LETTERS + 1], len(names_ND))
    data = np.concatenate([names_ND.ravel(), after_blank.ravel()])
    return Batch(data, np.concatenate([[0], np.cumsum(lengths)]))


def other_forms(pretokens: Iterable[str], tokens: Iterable[bytes]) -> Iterator[str]:
    """Words of ASCII letters, of the text and of the vocabulary, in lower case, capitals and titled, with and without
    a blank: the likeliest strings that a text of another kind holds and these do not. None holds a repeat.
    """
    lower, others = _words_without_repeats(pretokens, tokens)
    for blank in (" ", ""):
        # each of these is in order; of a large corpus a set of all would have a gigabyte
        merged = merge(map(str.upper, lower), map(str.title, lower), lower, others)
        yield from (blank + form for form, _ in groupby(merged))


def _words_without_repeats(pretokens: Iterable[str], tokens: Iterable[bytes]) -> tuple[list[str], list[str]]:
    """The words in lower case, and those that are written in no form that is made of these; both in order."""
    texts = chain((text for text in pretokens if text.isascii()), (t.decode() for t in tokens if t.isascii()))
    words = {word for word in (text.removeprefix(" ") for text in texts) if word.isalpha()}
    lower = sorted({word.lower() for word in words})
    repeats = {lower[row] for row in rows_with_periods(Batch.of([word.encode() for word in lower]), [1]).tolist()}
    others = sorted(
        word for word in words
        if word.lower() not in repeats and word not in (word.lower(), word.upper(), word.title())
    )  # fmt: skip
    return [word for word in lower if word not in repeats], others


def pretokens_with_repeats(pretokens: Sequence[str], contexts: Sequence[Contexts]) -> list[str]:
    """Those that hold three equal characters, or three equal longer units, in a row."""
    rows = rows_with_repeats(Batch.of([pretoken.encode() for pretoken in pretokens]), contexts)
    return [pretokens[row] for row in rows.tolist()]


def rows_with_repeats(pretokens: Batch, contexts: Sequence[Contexts]) -> np.ndarray:
    """Where these stand, ascending, int64."""
    longer = "".join(f"|(?:{regex.escape(text_of(c.unit))}){{{SHORTEST}}}" for c in contexts if len(c.unit) > 1)
    repeat = regex.compile(rf"(.)\1{{{SHORTEST - 1}}}{longer}", regex.DOTALL)
    periods = {*range(1, LONGEST_CHARACTER + 1), *(len(from_alphabet(context.unit)) for context in contexts)}
    rows = rows_with_periods(pretokens, periods).tolist()
    return np.array([row for row in rows if repeat.search(pretokens.string(row).decode())], np.int64)


def rows_with_periods(batch: Batch, periods: Iterable[int]) -> np.ndarray:
    """The strings in which some SHORTEST * u bytes in a row repeat their first u, for one of the periods u; ascending.

    All with a repeat of a unit of so many bytes are among them, found many times faster than by a pattern.
    """
    found = np.zeros(len(batch), bool)
    for period in periods:
        equal = batch.data[:-period] == batch.data[period:]
        size, wanted = 1, (SHORTEST - 1) * period
        while size < wanted:  # equal[i]: so many from i on are equal
            step = min(size, wanted - size)
            equal = equal[:-step] & equal[step:]
            size += step
        places = np.flatnonzero(equal)
        rows = np.searchsorted(batch.starts, places, side="right") - 1
        found[rows[places + SHORTEST * period <= batch.starts[rows + 1]]] = True
    return np.flatnonzero(found)
