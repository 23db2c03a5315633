"""Run tables as a pre-tokenizer pattern: GPT-2's own, which also cuts runs where BPE does (Oniguruma syntax, on text).

Each alternative of GPT-2's pattern (letters, numbers, others, blanks) gets three in front of it: a word without three
equal units in a row, whole; the first token of a run that starts where the piece starts; whatever stands before a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ivr.analysis.pretokens import PretokenSplitter
from ivr.tokenizer.run_rules import NONE, OTHER, SHORTEST, RunTable


@dataclass(frozen=True)
class CharacterClass:
    """One alternative of GPT-2's pattern: what its pretokens are made of."""

    name: str
    pattern: str  # one character
    lead: str  # an optional blank in front, where the pattern takes one
    end: str  # zero-width: the pretoken ends here
    inside: str  # zero-width after a right neighbour: it belongs to the pretoken


CLASSES = (
    CharacterClass("letters", r"\p{L}", " ?", "", ""),
    CharacterClass("numbers", r"\p{N}", " ?", "", ""),
    CharacterClass("others", r"[^\s\p{L}\p{N}]", " ?", "", ""),
    # of blanks before a word the last one belongs to the word
    CharacterClass("blanks", r"\s", "", r"(?=\s\S|\z)", r"(?=\s|\z)"),
)


def cutting_pattern(tables: Sequence[RunTable], splitter: PretokenSplitter) -> str:
    """GPT-2's pattern, cutting the runs of these tables where BPE does (Oniguruma syntax, on text)."""
    # after a cut inside punctuation an apostrophe starts a piece; a contraction never follows punctuation
    alternatives = [r"(?<![^\s\p{L}\p{N}])'(?:s|t|re|ve|m|ll|d)"]
    for kind in CLASSES:
        mine = [table for table in tables if _class_of(table.unit, splitter) == kind.name]
        alternatives += _class_alternatives(kind, mine)
    return "|".join(alternatives)


def _class_of(unit: str, splitter: PretokenSplitter) -> str:
    if len(splitter(unit * SHORTEST)) != 1:
        return ""  # the pattern parts it by itself
    if unit[0].isspace():
        return "blanks" if unit.isspace() else ""
    probe = unit[0]
    if splitter("a" + probe) == ["a" + probe]:
        return "letters"
    return "numbers" if splitter("1" + probe) == ["1" + probe] else "others"


def _class_alternatives(kind: CharacterClass, tables: Sequence[RunTable]) -> list[str]:
    plain = [r"\s+(?!\S)", r"\s+"] if kind.name == "blanks" else [f"{kind.lead}{kind.pattern}+"]
    if not tables:
        return plain
    long_units = [_quote(table.unit) for table in tables if len(table.unit) > 1]
    # no three equal characters in a row, no three equal longer units: the whole word at once
    no_long = "".join(f"(?!(?:{unit}){{{SHORTEST}}})" for unit in long_units)
    word = f"{kind.lead}(?:{no_long}({kind.pattern})(?!\\k<-1>{{2}}))++"
    fast = f"{word}(?!{kind.pattern})" if kind.name != "blanks" else ""
    at_start = "|".join(_starts(kind, table) for table in tables)
    later = "|".join(_later(kind, table) for table in tables)
    result = [fast] if fast else []
    # something stands before the run in this piece: an empty piece would be skipped over
    before = f"(?: {kind.pattern}*?|{kind.pattern}+?)" if kind.lead else f"{kind.pattern}+?"
    result += [f"(?:{at_start})", f"{before}(?:{later})", *plain]
    return result


def _starts(kind: CharacterClass, table: RunTable) -> str:
    """A run that starts where the piece starts: its first token."""
    y = _group(table.unit)
    options = []
    for rights, counts in _by_value(table.first).items():
        after = _right(kind, table, rights)
        options += [_cut(table.unit, *piece, after) for piece in _ranges(counts) if piece[2] > 0]
    return f"(?={y}{{{SHORTEST}}})(?:{'|'.join(options) or '(?!)'})"


def _later(kind: CharacterClass, table: RunTable) -> str:
    """A run after something else: the piece ends before it, or after what its left neighbour draws in."""
    y = _group(table.unit)
    options = []
    by_left: dict[tuple[tuple[str, tuple[int, ...]], ...], list[str]] = {}
    for x in table.lefts:
        row = tuple((r, table.drawn[x, r]) for r in sorted(table.first))
        by_left.setdefault(row, []).append(x)
    for row, lefts in by_left.items():
        inner = []
        for rights, counts in _by_value(dict(row)).items():
            after = _right(kind, table, rights)
            inner += [_cut(table.unit, *piece, after) for piece in _ranges(counts) if piece[2] != NONE]
        if inner:
            options.append(f"(?:{_left(table, lefts)})(?:{'|'.join(inner)})")
    single = [x for x in table.lefts if len(x) == 1]
    inert = f"(?<!{_set(single)})" if single else ""
    options.append(f"(?<=.){inert}(?={_starts(kind, table)})")
    return f"(?<!{_quote(table.unit)})(?={y}{{{SHORTEST}}})(?:{'|'.join(options)})"


def _left(table: RunTable, lefts: Sequence[str]) -> str:
    """Zero-width: the longest left neighbour in the table that fits is one of these."""
    options = []
    by_longer: dict[tuple[str, ...], list[str]] = {}
    for x in lefts:
        longer = tuple(z[: len(z) - len(x)] for z in table.lefts if z != x and z.endswith(x))
        if len(x) == 1 and not longer:
            by_longer.setdefault((), []).append(x)
        else:
            refused = "".join(f"(?<!{_quote(z + x)})" for z in longer)
            options.append(f"(?<={_quote(x)}){refused}")
    if by_longer:
        options.append(f"(?<={_set(by_longer[()])})")
    return "|".join(options)


def _by_value(rows: dict[str, tuple[int, ...]]) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Right neighbours that behave alike, together."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for r, counts in rows.items():
        groups.setdefault(counts, []).append(r)
    return {tuple(rights): counts for counts, rights in groups.items()}


def _ranges(counts: tuple[int, ...]) -> list[tuple[int, int | None, int]]:
    """(low, high, count) of equal neighbours among lengths >= SHORTEST; the last one has no upper end."""
    found: list[tuple[int, int | None, int]] = []
    for length in range(SHORTEST, len(counts) + 1):
        count = counts[length - 1]
        if found and found[-1][2] == count:
            found[-1] = (found[-1][0], length, count)
        else:
            found.append((length, length, count))
    low, _, count = found[-1]
    found[-1] = (low, None, count)
    return found


def _right(kind: CharacterClass, table: RunTable, rights: tuple[str, ...]) -> str:
    """Zero-width: the longest right neighbour in the table that fits is one of these."""
    options, plain = [], []
    for r in rights:
        longer = [z[len(r) :] for z in table.first if z != r and r and z.startswith(r)]
        if len(r) == 1 and not longer:
            plain.append(r)
        elif r:
            refused = "".join(f"(?!{_quote(z)}{kind.inside})" for z in longer)
            options.append(f"{_quote(r)}{kind.inside}{refused}")
    if plain:
        options.append(f"{_set(plain)}{kind.inside}")
    if OTHER in rights:
        single = [r for r in table.first if len(r) == 1]
        not_others = f"(?!{_set(single)}{kind.inside})" if single else ""
        not_unit = f"(?!{_quote(table.unit)}{kind.inside})"
        options.append(f"{kind.end}|{not_unit}{not_others}{kind.inside}" if kind.end else f"{not_unit}{not_others}")
    # a right neighbour may begin like the unit: then it is none while the run goes on
    run_ends = f"(?!{_quote(table.unit)})" if len(table.unit) > 1 else ""
    return f"{run_ends}(?:{'|'.join(options)})"


def _cut(unit: str, low: int, high: int | None, characters: int, after: str) -> str:
    """The first `characters` of a run of `low` to `high` units (None: any more) that ends before `after`."""
    y = _group(unit)
    whole, part = divmod(characters, len(unit))
    begun = whole + bool(part)
    # possessive, so that the neighbour is the run's; but the last blank before a word is not the run's
    more = "*" if unit.isspace() else "*+"
    rest = f"{y}{{{low - begun}}}{y}{more}" if high is None else f"{y}{{{low - begun},{high - begun}}}"
    tail = _quote(unit[part:]) if part else ""
    return f"{y}{{{whole}}}{_quote(unit[:part])}(?={tail}{rest}{after})"


def _group(unit: str) -> str:
    return _quote(unit) if len(unit) == 1 else f"(?:{_quote(unit)})"


def _quote(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)


def _set(characters: Sequence[str]) -> str:
    return "[" + "".join(_quote(character) for character in sorted(characters)) + "]"
