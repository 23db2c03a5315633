"""Cells of a table that a spreadsheet shows, and leaves as they are.

A spreadsheet takes `00`, `1e5`, `-007`, `MARCH1` for numbers and dates and saves what it took them for, and it runs
what begins with `=`. It takes what begins with an apostrophe for text. So such a cell has one put in front, and one
that begins with an apostrophe has another; reading takes exactly one off. A cell that should have one and has none
may be what a spreadsheet made of it, and is refused.
"""

# what a formula begins with, full-width forms too, and what spreadsheets trim or take for a mark of text
BEGINNINGS = "=+-@#'\uff1d\uff0b\uff0d\uff20"
# how the byte alphabet writes a blank, a tab and a line end: no number or date of any language begins with one
BLANKS = "\u0120\u0109\u010a"
WORDS = frozenset(
    (
        *("true", "false", "wahr", "falsch", "vrai", "faux", "verdadero", "falso", "vero", "verdadeiro", "waar"),
        *("onwaar", "prawda", "fałsz", "истина", "ложь", "참", "거짓", "真", "偽", "nan", "inf", "infinity", "null"),
    )
)
APOSTROPHE = "'"
WHOLE_DIGITS = 11  # longer whole numbers are shown, and saved, as 1.8E+15


def is_endangered(text: str) -> bool:
    """Whether a spreadsheet would show, save or run something else than this text.

    >>> [is_endangered(text) for text in ("00", "MARCH1", "=A1", " a", "true", "cell", "Ġ00")]
    [True, True, True, True, True, False, False]
    """
    return _is_no_text(text) or text != text.strip() or not text.isprintable()


def _is_no_text(text: str) -> bool:
    """Whether it may be a number, a date, a truth value, an error or a formula, or what became of one."""
    return bool(text) and (
        text[0] in BEGINNINGS
        or (any(character.isnumeric() for character in text) and text[0] not in BLANKS)
        or text.casefold() in WORDS
    )


def write_cell(text: str) -> str:
    """
    >>> [write_cell(text) for text in ("00", "'s", "cell")]
    ["'00", "''s", 'cell']
    """
    return APOSTROPHE + text if is_endangered(text) else text


def read_cell(cell: str) -> str:
    """The text of a cell. Raises ValueError, saying why and what to write, for one that may have been changed.

    >>> read_cell("'00")
    '00'
    """
    if cell.startswith(APOSTROPHE):
        if is_endangered(cell[1:]):
            return cell[1:]
        raise ValueError(f"begins with one apostrophe; write {APOSTROPHE}{cell} where it is of the text, else none")
    if not _is_no_text(cell):
        return cell
    raise ValueError(
        "is what a spreadsheet may have made of something else (a number, a date, a formula); "
        f"write {APOSTROPHE}{cell} if it is meant so"
    )


def write_number(number: int) -> str:
    """
    >>> write_number(12), write_number(123456789012)
    ('12', "'123456789012")
    """
    text = str(number)
    return APOSTROPHE + text if len(text) > WHOLE_DIGITS else text


def read_number(cell: str) -> int:
    """Raises ValueError for what is no whole number, as 1.8E+15 is none."""
    text = cell.strip().removeprefix(APOSTROPHE)
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 20):
        raise ValueError("not a whole number")
    return int(text)
