"""Pretokens that are one repeat of an ASCII character (`...`, ` ====`, a rule of 70 dashes), as a pattern.

The repeat rules say the same of them, but these look at every context a repeat can have, and such pretokens, which have
none, are most of those with repeats.
"""

from collections.abc import Sequence

from ivr.encoding.utf8_pattern import character_class, quote
from ivr.tokenizer.repeats.character_classes import PieceClass
from ivr.tokenizer.repeats.contexts import BLANK, OTHER
from ivr.tokenizer.repeats.groups import length_ranges
from ivr.tokenizer.repeats.tables import NONE, SHORTEST, RepeatTable

AT_ONCE = 6  # units behind one look at whether one of them follows


def lone_repeats(kind: PieceClass, tables: Sequence[RepeatTable]) -> str:
    """The first piece of such a pretoken, after a blank or not; "" where no table has such a unit."""
    known = [table for table in tables if len(table.unit) == 1 and table.unit in kind.ascii and table.unit.isascii()]
    known.sort(key=lambda table: (-len(table.first[OTHER]), table.unit))  # long tokens of it: a frequent repeat
    options = []
    for blank, rows in (
        ("", [(table, table.first[OTHER]) for table in known]),
        (BLANK, [(table, table.drawn.get((BLANK, OTHER), (NONE,))) for table in known]),
    ):
        repeats = [(table.unit, _first_piece(table, kind.end, counts)) for table, counts in rows if NONE not in counts]
        groups = [repeats[at : at + AT_ONCE] for at in range(0, len(repeats), AT_ONCE)]
        inner = [
            f"(?={character_class(unit for unit, _ in group)})(?:{'|'.join(pattern for _, pattern in group)})"
            for group in groups
        ]
        if inner:
            units = character_class(unit for unit, _ in repeats)
            options.append(f"{blank}(?=({units})\\k<-1>{{{SHORTEST - 1}}})(?:{'|'.join(inner)})")
    return "|".join(options)


def _first_piece(table: RepeatTable, end: str, counts: tuple[int, ...]) -> str:
    """Of a repeat to the pretoken's end: `counts` units by its length, the longest ones first."""
    y = quote(table.unit)
    options = []
    for low, _, size in reversed(length_ranges(counts)):
        rest = f"(?={y}{{{low - size}}})" if low > size else ""
        options.append(f"{y}{{{size}}}{rest}" if size else rest)
    # before the far end of a very long repeat each piece would look for it: what follows there does not matter
    after_blank = {row[-1] for (x, _), row in table.drawn.items() if x == BLANK}
    far = f"{y}{{{len(counts) - SHORTEST}}}|" if table.far_first and len(after_blank) < 2 else ""
    return f"(?={y}{{{SHORTEST}}}(?:{far}{y}*+{end}))(?:{'|'.join(options)})"
