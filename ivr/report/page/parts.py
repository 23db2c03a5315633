"""What a page is made of, as plain data: the templates turn it into HTML, ivr.report.files into CSV and JSON.

    Section("swaps", "Swaps", [Table("swaps", "The swaps", columns, rows)], note="...")

A cell knows its value and how it is shown, so that the page and the files beside it cannot say different things.
Strings are text, never HTML: the templates escape them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ivr.encoding.byte_alphabet import readable

PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")  # of the SI: thousand, million, ...
BLANK = "\u2423"  # how a blank at the border of a token is shown


@dataclass(frozen=True)
class Figure:
    """A number, and how the page shows it; None is a figure that is not there.

    >>> Figure(1234567, ",").shown, Figure(-0.25, "+z.4f").shown, Figure(None, ",").shown
    ('1,234,567', '-0.2500', '')
    >>> Figure(-0.00001, "+z.4f").shown  # no minus before a zero
    '+0.0000'
    """

    value: float | int | None
    form: str = ","
    unit: str = ""

    @property
    def shown(self) -> str:
        return "" if self.value is None else f"{self.value:{self.form}}{self.unit}"


@dataclass(frozen=True)
class Shown:
    """Text that a reader sees otherwise than a file holds it: `7.1 %` of 0.0712, a hash cut short."""

    value: float | int | str | None
    shown: str


def scaled(value: float | None) -> Shown:
    """A large number with three digits at most and a prefix of the SI.

    >>> scaled(50_300).shown, scaled(4.732e13).shown, scaled(999_999).shown, scaled(12).shown, scaled(None).shown
    ('50.3 k', '47.3 T', '1 M', '12', '')
    """
    if value is None:
        return Shown(None, "")
    digits, _, power = f"{value:.2e}".partition("e")
    step = min(max(int(power) // 3, 0), len(PREFIXES) - 1)
    return Shown(value, f"{float(digits) * 10 ** (int(power) - 3 * step):g} {PREFIXES[step]}".rstrip())


@dataclass(frozen=True)
class Token:
    """A token in the byte alphabet; a reader sees its text."""

    value: str

    @property
    def shown(self) -> str:
        """
        >>> Token("\u0120array").shown
        '␣array'
        """
        return readable(self.value).replace(" ", BLANK)


@dataclass(frozen=True)
class Tokens:
    """Several of them in one cell."""

    tokens: Sequence[Token]

    @property
    def value(self) -> str:
        return " ".join(token.value for token in self.tokens)  # the byte alphabet has no blank


Cell = str | Figure | Shown | Token | Tokens


def value_of(cell: Cell) -> float | int | str | None:
    """What a file holds of a cell."""
    return cell if isinstance(cell, str) else cell.value


@dataclass(frozen=True)
class Column:
    """key: its name in the files. figure: aligned right, sorted by number. files_only: too much for a page."""

    key: str
    heading: str
    figure: bool = False
    files_only: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the page; with a `name`, also numbers/NAME.csv.

    searchable: a reader can sort and filter it. A page shows the first `shown` rows, the file holds all.
    in_files_only: the page says the same by a picture. csv_only: too long for figures.json.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    searchable: bool = False
    slim: bool = False
    in_files_only: bool = False
    csv_only: bool = False
    shown: int = 5000
    kind: ClassVar[str] = "table"

    @property
    def places(self) -> list[int]:
        """The columns that the page shows."""
        return [place for place, column in enumerate(self.columns) if not column.files_only]

    def records(self) -> list[dict[str, Any]]:
        """One dict a row, by the columns' keys."""
        keys = [column.key for column in self.columns]
        return [dict(zip(keys, map(value_of, row), strict=True)) for row in self.rows]


@dataclass(frozen=True)
class Bar:
    """One line of a bar chart. model: base, aligned or trained, which have colours of their own; else empty."""

    name: str
    value: float | None
    shown: str
    model: str = ""


@dataclass(frozen=True)
class Bars:
    """Horizontal bars, the largest as wide as there is room."""

    heading: str
    bars: Sequence[Bar]
    kind: ClassVar[str] = "bars"

    def width(self, bar: Bar) -> str:
        """In percent of the room."""
        largest = max((one.value for one in self.bars if one.value is not None), default=0.0)
        return f"{0.0 if bar.value is None or largest <= 0 else 100 * bar.value / largest:.2f}"


@dataclass(frozen=True)
class Picture:
    """A drawn figure. inline: SVG in the page's colours; svg, png: files that stand alone."""

    name: str
    label: str
    inline: str
    svg: str
    png: bytes
    caption: str = ""


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side where there is room."""

    pictures: Sequence[Picture]
    kind: ClassVar[str] = "pictures"


@dataclass(frozen=True)
class Missing:
    """What is shown in the place of figures of a stage that has not run."""

    stage: str
    kind: ClassVar[str] = "missing"


@dataclass(frozen=True)
class Note:
    text: str
    warning: bool = False
    kind: ClassVar[str] = "note"


@dataclass(frozen=True)
class Commands:
    """Lines for a shell, to be copied."""

    text: str
    kind: ClassVar[str] = "commands"


@dataclass(frozen=True)
class Piece:
    """Text between two token borders. tokens: how many share it, more than one where they part a character.

    A new token says what it is: its id, the string the id had, and the pieces that BPE made of it.
    """

    text: str
    tokens: int = 1
    about: str = ""


@dataclass(frozen=True)
class Line:
    """One line of held-out text under both tokenizers, and how many tokens that are."""

    before: Sequence[Piece]
    after: Sequence[Piece]
    tokens: tuple[int, int]


@dataclass(frozen=True)
class Lines:
    lines: Sequence[Line]
    kind: ClassVar[str] = "lines"


Block = Table | Bars | Pictures | Missing | Note | Commands | Lines


@dataclass(frozen=True)
class Section:
    """anchor: its name in links."""

    anchor: str
    heading: str
    blocks: Sequence[Block]
    note: str = ""


@dataclass(frozen=True)
class Tile:
    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Document:
    """A whole page."""

    eyebrow: str
    title: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    facts: Mapping[str, Any] = field(default_factory=dict)  # more that numbers/figures.json holds

    def tables(self) -> list[Table]:
        """Those that have a name, and so a file."""
        blocks = (block for section in self.sections for block in section.blocks)
        return [block for block in blocks if isinstance(block, Table) and block.name]

    def pictures(self) -> list[Picture]:
        blocks = (block for section in self.sections for block in section.blocks)
        return [one for block in blocks if isinstance(block, Pictures) for one in block.pictures]
