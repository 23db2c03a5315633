r"""What a cutting pattern takes at a glance: whole pretokens without a repeat to cut, which are nearly all of a text.

An engine that backtracks tries alternatives in order, so these come first, the most frequent before others. They may
see a repeat that is none, and leave such a pretoken to slower alternatives; they must never take one with a repeat.

Every search costs as much as matching a word. So one finds two pieces where it can: `\K` lets the match begin after the
first, and `Split` keeps what stands before a match ("isolated") as it keeps the match.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ivr.encoding.utf8_pattern import character_class, quote
from ivr.tokenizer.repeats.character_classes import LEADS, PRETOKEN, PieceClass, PieceClasses
from ivr.tokenizer.repeats.contexts import BLANK, OTHER
from ivr.tokenizer.repeats.tables import SHORTEST, RepeatTable

APOSTROPHE = "'"
CONTRACTIONS = f"{APOSTROPHE}(?:s|t|re|ve|m|ll|d)"
AGAIN = "\\k<-1>"  # the last captured character
VISIBLE = "[\\x21-\\x7e]"


class _Whole(NamedTuple):
    """Alternatives that take a whole pretoken without three equal units in a row; "" for none."""

    ascii: str = ""  # of visible ASCII characters; what may stand before them is left to the caller
    wide: str = ""  # of other characters, and none that begins a unit of its own; the same
    mixed: str = ""  # of any, after a blank if any


def whole_pieces(classes: PieceClasses, tables: Mapping[str, Sequence[RepeatTable]]) -> list[str]:
    """Alternatives, in order. `tables`: of every class of characters, by its name."""
    if classes.are_pretokens:
        return [_pretoken_without_repeats(tables[PRETOKEN])]
    letter, number, other, blank = classes.kinds
    words, figures, signs = (_without_repeats(kind, tables[kind.name]) for kind in (letter, number, other))
    wide = "|".join(filter(None, [words.wide, signs.wide, figures.wide]))
    # after a cut inside punctuation an apostrophe starts a piece; a contraction never follows punctuation
    contraction = f"(?={APOSTROPHE}){classes.no_contraction}{CONTRACTIONS}"
    bodies = [words.ascii, f"(?={LEADS})(?:{wide})" if wide else ""]
    bodies += [f"(?!{APOSTROPHE}){signs.ascii}" if signs.ascii else "", figures.ascii]
    often = [
        f"Ġ?(?:{'|'.join(filter(None, bodies))})" if any(bodies) else "",
        _one_blank(blank),
        _indentation(blank, tables[blank.name]),
    ]
    often += [contraction, f"Ġ?{signs.ascii}" if signs.ascii else "", _ascii_blanks(blank, tables[blank.name])]
    one = f"(?:{'|'.join(filter(None, [*often, _one_token_repeats(other, tables[other.name])]))})"
    return [f"{one}(?:\\K{one})?", words.mixed, signs.mixed, figures.mixed]


def _pretoken_without_repeats(tables: Sequence[RepeatTable]) -> str:
    """A whole pretoken, whatever it is made of, in which no unit stands three times in a row."""
    refused = [f"{AGAIN}{{{SHORTEST - 1}}}"]
    by_first: dict[str, list[str]] = {}
    for table in tables:
        if len(table.unit) > 1:
            by_first.setdefault(table.unit[0], []).append(quote(table.unit[1:] + 2 * table.unit))
    options = [
        f"(?<={character_class(first)})(?:{'|'.join(sorted(rests))})" for first, rests in sorted(by_first.items())
    ]
    refused += [f"(?<={character_class(by_first)})(?:{'|'.join(options)})"] if options else []
    return rf"\A(?:(.)(?!{'|'.join(refused)}))++\z"


def _without_repeats(kind: PieceClass, tables: Sequence[RepeatTable]) -> _Whole:
    """For letters, numbers and others. Where these see a repeat that is none, slower alternatives take the pretoken."""
    if not tables:
        return _Whole()
    units = [table.unit for table in tables if len(table.unit) > 1]
    # a unit of several characters is looked for at its last one: few characters end all of them
    ends = {unit[-1] if unit[-1] in kind.ascii else unit[0] for unit in units} & set(kind.ascii)
    seen = [2 * unit if unit[-1] in ends else unit[1:] + 2 * unit for unit in units if {unit[0], unit[-1]} & ends]
    repeats = f"{AGAIN}{{{SHORTEST - 1}}}"
    # whether a character repeats costs less to see than which characters may
    options = {"".join(c for c in kind.ascii if c not in ends): [repeats]}
    options["".join(sorted(ends))] = [repeats, *map(quote, seen)]
    narrow = "|".join(f"({character_class(chars)})(?!{'|'.join(no)})" for chars, no in options.items() if chars)
    leads = sorted({unit[0] for unit in units} - set(kind.ascii))
    no_repeats = "".join(f"(?!(?:{quote(unit)}){{{SHORTEST}}})" for unit in units if unit[0] in leads)
    rest = [f"(?={character_class(leads)}){no_repeats}(?:{kind.beyond(leads)})"] if leads else []
    # few alternatives first: those of all characters are slow even where the first of them fits
    easy = kind.beyond(but=leads)
    wide = [f"(?:{some})++{kind.end}" for some in (kind.dense(but=leads), easy) if some]
    return _Whole(
        ascii=_by_pairs(kind, {len(unit) for unit in units if set(unit).issubset(kind.ascii)}),
        wide="|".join(wide),
        mixed=f"{kind.lead}(?:{'|'.join([narrow, f'(?={LEADS})(?:{easy})', *rest])})++{kind.end}",
    )


def _by_pairs(kind: PieceClass, sizes: set[int]) -> str:
    """Visible ASCII characters only, two at a step, and only the first of the two is looked at.

    Of three equal characters in a row two are such a pair, and either one more follows or one stands before. Of three
    units of `sizes` characters one of the first two characters begins a pair, and comes again after one and two units.
    """
    one = character_class(character for character in kind.ascii if character.isascii())

    def again_after(size: int) -> str:
        """Once the pair is taken: its first character stands `size` and twice `size` characters after itself."""
        return f"{_times(one, size - 2)}{AGAIN}{_times(one, size - 1)}{AGAIN}"

    longer = [again_after(size) for size in sorted(sizes) if size > 2]
    equal = f"(?!{'|'.join([AGAIN, *longer])})(?<!{SHORTEST * AGAIN})"
    unequal = "|".join([again_after(2), *longer] if 2 in sizes else longer)
    unequal = f"{one}(?!{unequal})" if unequal else one
    # a condition, since what fails for two equal ones must not be tried as two others
    return f"{one}(?:({one})(?({AGAIN}){equal}|{unequal}))*{one}?{kind.end}"


def _times(pattern: str, count: int) -> str:
    return pattern * count if count < 2 else f"{pattern}{{{count}}}"


def _one_token_repeats(kind: PieceClass, tables: Sequence[RepeatTable]) -> str:
    """A pretoken that is a short repeat and one token (`...`, `====`): the repeat rules say the same, but later."""
    longest: dict[str, int] = {}
    for table in tables:
        counts = table.first[OTHER]
        whole = SHORTEST - 1
        while whole < len(counts) and counts[whole] == whole + 1:
            whole += 1
        if table.unit in kind.ascii and whole >= SHORTEST:
            longest[table.unit] = whole
    if not longest:
        return ""
    more, taken = "", max(longest.values())
    for bound in sorted({SHORTEST, *longest.values()} - {taken}, reverse=True):
        allowed = character_class(unit for unit, whole in longest.items() if whole > bound)
        some = f"|{AGAIN}{{1,{taken - bound - 1}}}" if taken - bound > 1 else ""
        more = f"(?:(?<={allowed})(?:{AGAIN}{{{taken - bound}}}{more}{some}))?"
        taken = bound
    return f"(?>({character_class(longest)}){AGAIN}{{{SHORTEST - 1}}}{more}){kind.end}"


def _one_blank(kind: PieceClass) -> str:
    """A single blank before something else, which does not take it: the end of a line."""
    return f"{character_class(c for c in kind.ascii if c != BLANK)}(?!{kind.character})"


def _indentation(kind: PieceClass, tables: Sequence[RepeatTable]) -> str:
    """Blanks, behind a line end or not, before a last one that belongs to the word behind it.

    "" where repeats of blanks are cut.
    """
    if BLANK in {table.unit for table in tables}:
        return ""
    return f"Ċ?{BLANK}+(?={BLANK}{VISIBLE})" if {BLANK, "Ċ"}.issubset(kind.ascii) else ""


def _ascii_blanks(kind: PieceClass, tables: Sequence[RepeatTable]) -> str:
    """Line ends and indentation without repeats that are cut."""
    repeats = [table.unit for table in tables if table.unit in kind.ascii]
    others = [c for c in kind.ascii if c not in repeats]
    options = [character_class(others)] if others else []
    options += [f"{quote(c)}(?!{quote(c)}{{{SHORTEST - 1}}})" for c in repeats]
    return f"(?:{'|'.join(options)})+{kind.end}"
