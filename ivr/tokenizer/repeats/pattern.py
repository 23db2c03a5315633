"""Repeat tables as a pre-tokenizer pattern: GPT-2's own, which also cuts repeats where BPE does (Oniguruma syntax).

It splits what ByteLevel has written in the byte alphabet: mapping a text once and splitting it afterwards costs about
half of splitting it first and mapping every piece. Each alternative of GPT-2's pattern (letters, numbers, others,
blanks) gets three in front of it: a word without three equal units in a row, whole (`fast_paths`); the first token of
a repeat that starts where the piece starts; whatever stands before a repeat.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from ivr.encoding.utf8_pattern import alternatives, character_class, either, group, quote
from ivr.tokenizer.repeats.character_classes import PieceClass, PieceClasses
from ivr.tokenizer.repeats.contexts import OTHER
from ivr.tokenizer.repeats.fast_paths import AGAIN, whole_pieces
from ivr.tokenizer.repeats.groups import Longer, by_length, by_value, length_ranges, next_longer
from ivr.tokenizer.repeats.lone_repeats import lone_repeats
from ivr.tokenizer.repeats.tables import NONE, SHORTEST, RepeatTable, continues

FAR = 4  # units from which a repeat's other end changes next to nothing of what is drawn out of its beginning
KEPT = 256  # rules written of tables: learning changes few of them at a time


def cutting_pattern(
    tables: Sequence[RepeatTable], classes: PieceClasses, tokenized: Sequence[Sequence[str]] = ()
) -> str:
    """GPT-2's pattern, splitting the repeats of these tables where BPE does; for whole pretokens that alone, or "".

    `tokenized`: tokens of pretokens with such repeats that are cut at every one of them, even within characters.
    """
    if classes.are_pretokens and not tables and not tokenized:
        return ""
    mine = {kind.name: [table for table in tables if classes.of(table.unit) == kind] for kind in classes.kinds}
    options = whole_pieces(classes, mine)
    parts = []
    for kind in classes.kinds:
        whole, of_parts = _tokens(
            kind, [tokens for tokens in tokenized if classes.of_pretoken("".join(tokens)) == kind]
        )
        # behind the marker, where pretokens with a new token's string are taken first
        lone = [lone_repeats(kind, mine[kind.name])] if kind.name == "others" else []
        slow = "|".join(filter(None, [*whole, *lone, *_around_repeats(kind, mine[kind.name]), *_plain(kind)]))
        options.append(f"{kind.begins}(?:{marker(kind)}{slow})")
        parts += of_parts
    options += parts  # where a match begins within a character nothing else is possible
    return classes.definitions + "|".join(filter(None, options))


def marker(kind: PieceClass) -> str:
    """Stands in the pattern where words of this class without repeats have been taken, and repeats are not yet cut."""
    return f"(?#{kind.name})"


def _plain(kind: PieceClass) -> list[str]:
    """GPT-2's own alternative."""
    one = kind.character
    return [rf"{one}+(?={one}|\z)", f"{one}+"] if kind.name == "blanks" else [f"{kind.lead}{one}+"]


def _tokens(kind: PieceClass, tokenized: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """The tokens of these pretokens, each before what follows it: (those that begin with a character, the others).

    Wherever such a piece begins BPE has a border, so that it encodes the rest as if it stood alone.
    """
    rests = sorted({tuple(tokens[at:]) for tokens in tokenized for at in range(len(tokens))})
    found: tuple[list[str], list[str]] = [], []
    for first, *others in rests:
        found[continues(first[0])].append(f"{quote(first)}(?={quote(''.join(others))}{kind.end})")
    return found


def _around_repeats(kind: PieceClass, tables: Sequence[RepeatTable]) -> list[str]:
    """The first token of a repeat that starts where the piece starts; what stands before a repeat."""
    if not tables:
        return []
    one = kind.character
    # an empty piece would be skipped over
    before = f"(?:Ġ{one}*?|{one}+?)" if kind.lead else f"{one}+?"
    starts = _guarded(tables, [_starts(kind, table) for table in tables])
    units = tuple(table.unit for table in tables)
    return [starts, f"{before}{_guarded(tables, [_later(kind, table, units) for table in tables])}"]


def _guarded(tables: Sequence[RepeatTable], rules: Sequence[str]) -> str:
    """The rules of all tables; those of one-byte units behind one look at whether three of these follow."""
    narrow = [rule for table, rule in zip(tables, rules, strict=True) if len(table.unit) == 1]
    options = [rule for table, rule in zip(tables, rules, strict=True) if len(table.unit) > 1]
    if narrow:
        units = character_class([table.unit for table in tables if len(table.unit) == 1])
        options.insert(0, f"(?=({units}){AGAIN}{{{SHORTEST - 1}}})(?:{'|'.join(narrow)})")
    return f"(?:{'|'.join(options)})"


@lru_cache(KEPT)
def _starts(kind: PieceClass, table: RepeatTable) -> str:
    """A repeat that starts where the piece starts: its first token."""
    y = group(table.unit)
    options = []
    if far := table.far_first:
        units, size = far
        # first, so that not every piece of a very long repeat looks at all that is left of it
        options.append(_cut(kind, table.unit, units, units, size, y if kind.name == "blanks" else ""))
    longer = next_longer(list(table.first), ends=False)
    for rights, counts in by_value(table.first).items():
        after = _right(kind, table, rights, longer)
        options += _cuts_before(kind, table.unit, [piece for piece in length_ranges(counts) if piece[2] > 0], after)
    return f"(?={y}{{{SHORTEST}}})(?:{'|'.join(options) or '(?!)'})"


@lru_cache(KEPT)
def _later(kind: PieceClass, table: RepeatTable, units: tuple[str, ...]) -> str:
    """A repeat after something else: the piece ends before it, or after what its left context draws in. `units`: of
    all tables of these characters.
    """
    y = group(table.unit)
    options = []
    paired = set(table.paired_lefts)
    for known, rights in ((table.lefts, [OTHER]), (table.paired_lefts, sorted(filter(None, table.first)))):
        by_left: dict[tuple[tuple[str, tuple[int, ...]], ...], list[str]] = {}
        for x in known:
            row = tuple((r, table.drawn[x, r]) for r in rights if (x, r) in table.drawn)
            by_left.setdefault(row, []).append(x)
        longer = next_longer(known, ends=True)
        longer_rights: dict[int, Longer] = {}  # a blank knows more right contexts than others
        afters: dict[tuple[int, tuple[str, ...]], str] = {}  # many left contexts part the right ones alike
        for row, lefts in by_left.items():
            inner = []
            if len(row) not in longer_rights:
                longer_rights[len(row)] = next_longer([r for r, _ in row], ends=False)
            for alike, counts in by_value(dict(row)).items():
                key = (len(row), alike)
                after = afters.get(key) or afters.setdefault(key, _right(kind, table, alike, longer_rights[len(row)]))
                pieces = [piece for piece in length_ranges(counts) if piece[2] != NONE]
                inner += _cuts_before(kind, table.unit, pieces, after)
            if inner:
                options.append(f"(?:{_left(longer, lefts, units)})(?:{'|'.join(inner)})")
            far = [x for x in lefts if x not in paired]
            if far and kind.name != "blanks":
                ends = f"(?!{y})" if len(table.unit) > 1 else ""
                low = [
                    (max(low, FAR), high, size) for low, high, size in length_ranges(row[0][1]) if (high or FAR) >= FAR
                ]
                inner = [_cut(kind, table.unit, *piece, ends) for piece in low if piece[2] != NONE]
                options += [f"(?:{_left(longer, far, units)})(?:{'|'.join(inner)})"] if inner else []
    every = set(table.lefts)
    shortest = [x for x in sorted(every) if not any(x[len(x) - size :] in every for size in range(1, len(x)))]
    inert = "".join(f"(?<!{either(same)})" for same in by_length(shortest))
    options.append(f"(?<=.){inert}(?={_starts(kind, table)})")
    return f"{_repeat_begins(table.unit)}(?={y}{{{SHORTEST}}})(?:{'|'.join(options)})"


def _repeat_begins(unit: str) -> str:
    """Zero-width: no unit stands before; one that a cut has parted is none, what is left of it begins the piece."""
    parted = "".join(rf"|(?<=\G{quote(unit[size:])})" for size in range(1, len(unit)))
    none = f"(?<!{quote(unit)})"
    return f"(?:{none}{parted})" if parted else none


def _left(longer_than: Longer, lefts: Sequence[str], units: Sequence[str]) -> str:
    """Zero-width: one of these left contexts fits, and none that is longer.

    None fits that a split point behind another repeat has parted: `00001000` is `0000`,`1000`, where the second repeat
    stands behind `1`, not `01`.
    """
    alike: dict[tuple[int, tuple[int, ...], str], list[str]] = {}
    for x in lefts:
        alike.setdefault((len(x), _parted(x, units), _unless(longer_than.get(x, ()), units)), []).append(x)
    options = []
    for (_, cuts, refused), those in alike.items():
        # all have one length: where x fits, the rest of another that stands there is x's own
        whole = "".join(f"(?<!{_rest({x[at:] for x in those})})" for at in cuts)
        options.append(f"(?<={either(those)}){whole}{refused}")
    return "|".join(options)


def _rest(rests: Iterable[str]) -> str:
    """One of these strings of one length, right where the piece begins."""
    return "|".join(rf"\G{each}" for each in alternatives(rests))


def _unless(longer: Sequence[str], units: Sequence[str]) -> str:
    """Zero-width: none of these left contexts fits."""
    alike: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for z in longer:
        alike.setdefault((len(z), _parted(z, units)), []).append(z)
    found = []
    for (_, cuts), those in alike.items():
        refused = f"(?<!{either(those)})"
        parted = "".join(f"(?<={_rest({z[at:] for z in those})})|" for at in cuts)
        # atomic: where both hold, each of them would be tried with each of all that follow
        found.append(f"(?>{parted}{refused})" if parted else refused)
    return "".join(found)


def _parted(left: str, units: Sequence[str]) -> tuple[int, ...]:
    """Where a piece may begin in this left context, because what is before ends a repeat."""
    return tuple(at for at in range(1, len(left)) if any((at * unit).endswith(left[:at]) for unit in units))


def _right(kind: PieceClass, table: RepeatTable, rights: tuple[str, ...], longer_than: Longer) -> str:
    """Zero-width: one of these right contexts fits, and none that is longer."""
    alike: dict[str, list[str]] = {}
    for r in filter(None, rights):
        alike.setdefault(_none(kind, [z[len(r) :] for z in longer_than.get(r, ())]), []).append(r)
    options = [f"(?:{either(those)}){kind.inside}{refused}" for refused, those in alike.items()]
    if OTHER in rights:
        shortest = [r for r in table.first if r and not any(r[:size] in table.first for size in range(1, len(r)))]
        other = f"{_none(kind, [table.unit, *shortest])}{kind.inside}"
        options.append(f"{kind.end}|{other}" if kind.name == "blanks" else other)
    # a right context may begin like the unit: then it is none while the repeat goes on
    repeat_ends = _none(kind, [table.unit]) if len(table.unit) > 1 else ""
    return f"{repeat_ends}(?:{'|'.join(options)})"


def _none(kind: PieceClass, strings: Sequence[str]) -> str:
    """Zero-width: none of these right contexts fits."""
    return f"(?!(?:{either(strings)}){kind.inside})" if strings else ""


def _cuts_before(kind: PieceClass, unit: str, pieces: Sequence[tuple[int, int | None, int]], after: str) -> list[str]:
    """Alternatives for these (low, high, size), as `_cut` has them, where `after` follows the repeat.

    No `after` begins with a unit: of one byte no right context does, and of longer units `_right` refuses it.
    """
    if kind.name == "blanks" or not pieces:  # the last blank may not be the repeat's
        return [_cut(kind, unit, *piece, after) for piece in pieces]
    # what follows is looked at once, then how many units there are
    y = group(unit)
    inner = (_cut(kind, unit, *piece, "" if piece[1] is None else f"(?!{y})") for piece in pieces)
    return [f"(?={y}*+{after})(?:{'|'.join(inner)})"]


def _cut(kind: PieceClass, unit: str, low: int, high: int | None, size: int, after: str) -> str:
    """The first `size` bytes of a repeat of `low` to `high` units (None: any more) that ends before `after`."""
    y = group(unit)
    whole, part = divmod(size, len(unit))
    begun = whole + bool(part)
    # possessive, so that the context is the repeat's; but the last blank before a word is not the repeat's
    more = "*" if kind.name == "blanks" else "*+"
    if high is None:
        rest = f"{y}{{{low - begun}}}" + (f"{y}{more}" if after else "")
    else:
        rest = f"{y}{{{low - begun},{high - begun}}}"
    tail = quote(unit[part:]) if part else ""
    return f"{y}{{{whole}}}{quote(unit[:part])}(?={tail}{rest}{after})"
