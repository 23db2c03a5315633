"""The table survives what spreadsheets do to it, or is refused by row and column: nothing is mangled in silence."""

import csv
import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.encoding.byte_alphabet import from_alphabet, to_alphabet
from ivr.errors import CorruptInputError
from ivr.tokenizer.select.output.cells import is_endangered, read_cell, read_number, write_cell, write_number
from ivr.tokenizer.select.output.table import COLUMNS, Candidate, read_candidates, write_candidates
from ivr.tokenizer.select.selection import Swap

DANGEROUS = [
    *("00", "1e5", "-007", "+1", "1/2", "2024-01-02", "3.14", "1,000", "12:30", "50%", "$5", "MARCH1", "SEPT2", "1-2"),
    *("=1+1", "=cmd|'/c calc'!A1", "@SUM(A1)", "-x", "+x", "'s", "''", "'", "#REF!", "true", "FALSE", "NaN"),
    *('"quoted"', "a,b", "a;b", "a\tb", "tab\t", " blank", "blank ", "line\nend", "\r", "세포 3", "=한"),
]


def swap(token_id: int, old: str, new: str, score: int = 7) -> Swap:
    return Swap(token_id, old.encode(), 3, new.encode(), 4, 5.0, 6.0, score)


def expected(swaps: Iterable[Swap]) -> list[Candidate]:
    return [
        Candidate(line, one.token_id, to_alphabet(one.old), to_alphabet(one.new), one.score)
        for line, one in enumerate(swaps, start=2)
    ]


def without_lines(candidates: Iterable[Candidate]) -> list[tuple[int, str, str, int | None]]:
    return [(one.old_id, one.old_token, one.new_token, one.score) for one in candidates]


def as_number(text: str) -> str | None:
    """What a spreadsheet saves for a cell it takes for a number: as it shows it."""
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text):
        number = float(text)
        if number == int(number) and abs(number) < 1e11:
            return str(int(number))
        return f"{number:.5E}"
    return None


def spreadsheet(
    data: bytes,
    delimiter: str = ",",
    mark: bool = False,
    end: str = "\r\n",
    quoting: int = csv.QUOTE_MINIMAL,
    more: int = 0,
) -> bytes:
    """Open and save as Excel and Calc do: numbers and dates are interpreted, formulas run, the rest is text."""
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    saved = []
    for row in rows:
        cells = []
        for cell in row:
            number = as_number(cell)
            if number is not None:
                cells.append(number)
            elif cell[:1] in ("=", "+", "-", "@"):
                cells.append("#NAME?")
            elif re.fullmatch(r"(?i)true|false", cell):
                cells.append(cell.upper())
            elif re.fullmatch(r"(?i)(\d+[-/.:,%$]\d*)+|\$\d+|(jan|feb|mar|march|sept?|dec)[a-z]*\s*-?\d+", cell):
                cells.append("01.03.2024")
            else:
                cells.append(cell.strip(" "))
        saved.append(cells + [""] * more)
    text = ""
    for cells in [*saved, *[[""] * (len(COLUMNS) + more)] * more]:
        row_text = io.StringIO()
        csv.writer(row_text, delimiter=delimiter, lineterminator="\r\n", quoting=quoting).writerow(cells)
        text += row_text.getvalue().removesuffix("\r\n") + end
    return (b"\xef\xbb\xbf" if mark else b"") + text.encode()


@pytest.fixture
def table(tmp_path: Path) -> tuple[Path, list[Swap]]:
    path = tmp_path / "replacement_candidates.csv"
    swaps = [swap(300 + number, old, old + "x") for number, old in enumerate(DANGEROUS)]
    swaps += [swap(400 + number, "old", new, 10**number) for number, new in enumerate(DANGEROUS[:17])]
    swaps += [swap(500 + number, "old", new) for number, new in enumerate(DANGEROUS)]
    write_candidates(path, swaps)
    return path, swaps


def test_what_is_written_is_read(table: tuple[Path, list[Swap]]) -> None:
    path, swaps = table
    assert without_lines(read_candidates(path)) == without_lines(expected(swaps))


def test_no_cell_is_a_formula_or_a_number_but_the_counts(table: tuple[Path, list[Swap]]) -> None:
    for row in csv.DictReader(io.StringIO(table[0].read_text(encoding="utf-8"), newline="")):
        for column in ("old_token", "new_token", "new_text", "reason"):
            assert row[column][:1] not in tuple("=+-@\t\r\n "), row
            assert as_number(row[column]) is None, row
        assert len(row["old_id"]) < 11


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_a_round_trip_through_a_spreadsheet_changes_nothing(
    table: tuple[Path, list[Swap]], delimiter: str, mark: bool, end: str, quoting: int
) -> None:
    path, swaps = table
    path.write_bytes(spreadsheet(path.read_bytes(), delimiter, mark, end, quoting, more=3))
    assert without_lines(read_candidates(path)) == without_lines(expected(swaps))


@settings(max_examples=300, deadline=None)
@given(
    news=st.lists(
        st.one_of(
            st.text(st.sampled_from("0123456789eE.,-+=@/:%$ '\"\t\r\n;aĠ한"), min_size=1, max_size=8),
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
        ),
        min_size=1,
        max_size=8,
    ),
    delimiter=st.sampled_from(",;\t"),
    mark=st.booleans(),
)
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, news: list[str], delimiter: str, mark: bool
) -> None:
    path = tmp_path_factory.mktemp("table") / "t.csv"
    swaps = [swap(number, new[::-1], new, 3**number) for number, new in enumerate(news)]
    write_candidates(path, swaps)
    path.write_bytes(spreadsheet(path.read_bytes(), delimiter, mark))
    assert without_lines(read_candidates(path)) == without_lines(expected(swaps))


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=12))
def test_a_cell_is_read_as_it_was_written_and_never_as_something_else(text: str) -> None:
    assert read_cell(write_cell(text)) == text
    try:
        read = read_cell(text)
    except ValueError:
        assert is_endangered(text)
    else:
        # as it was written, or typed without the apostrophe where nothing could have changed it
        assert write_cell(read) == text or read == text


@pytest.mark.parametrize("number", [0, 7, 99999999999, 10**15, 2**53])
def test_numbers_are_whole_whatever_their_length(number: int) -> None:
    assert read_number(write_number(number)) == number
    assert as_number(write_number(number)) in (None, str(number))


@pytest.mark.parametrize(
    ("column", "cell", "why"),
    [
        ("new_token", "0", "write '0 if it is meant so"),
        ("new_token", "1E+05", "what a spreadsheet may have made"),
        ("new_token", "#NAME?", "what a spreadsheet may have made"),
        ("new_token", "01.03.2024", "what a spreadsheet may have made"),
        ("new_token", "TRUE", "what a spreadsheet may have made"),
        ("new_token", "'cell", "begins with one apostrophe; write ''cell where"),
        ("old_token", "-7", "what a spreadsheet may have made"),
        ("score", "1.80144E+15", "not a whole number"),
        ("old_id", "1e2", "not a whole number"),
        ("reason", "id never produced ? string saves 4 tokens", "opened or saved in another encoding"),
        ("reason", "id never produced \u00e2\u2020\u2019 string saves 4", "opened or saved in another encoding"),
    ],
)
def test_what_was_mangled_is_refused_by_row_and_column(tmp_path: Path, column: str, cell: str, why: str) -> None:
    path = tmp_path / "t.csv"
    write_candidates(path, [swap(1, "a", "b"), swap(2, "c", "d")])
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    rows[1][column] = cell
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(out.getvalue(), encoding="utf-8")
    with pytest.raises(CorruptInputError) as caught:
        read_candidates(path)
    assert f"{path}, line 3, {column} = {cell!r}" in str(caught.value) and why in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data.decode().encode("cp949", "replace"), "is not UTF-8|another encoding"),
        (lambda data: data.decode().encode("cp1252", "replace"), "another encoding"),
        (lambda data: data.decode("cp1252", "replace").encode(), "another encoding|byte alphabet"),
        (lambda data: data.replace(b"new_token", b"new"), "no column new_token"),
        (lambda data: data.replace(b"new_text", b"new_token"), "stands twice"),
        (lambda data: data + b'"open', "not a table of this kind"),
        (lambda data: b"", "no column"),
        (lambda data: b"\0" * 40, "no column|not a table"),
    ],
)
def test_files_that_are_no_such_table_are_refused(
    tmp_path: Path, spoil: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "t.csv"
    write_candidates(path, [swap(1, "a", " zebra"), swap(2, "c", "é")])
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(CorruptInputError, match=message):
        read_candidates(path)


def test_utf16_and_a_line_that_names_the_separator(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    swaps = [swap(1, "a", " zebra"), swap(2, "c", "é")]
    write_candidates(path, swaps)
    text = path.read_text(encoding="utf-8")
    path.write_bytes(text.replace(",", "\t").encode("utf-16"))
    assert without_lines(read_candidates(path)) == without_lines(expected(swaps))
    path.write_text("sep=,\n" + text, encoding="utf-8")
    assert without_lines(read_candidates(path)) == without_lines(expected(swaps))
    assert [one.line for one in read_candidates(path)] == [3, 4]


def test_a_string_may_be_given_as_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("old_id;old_token;new_token;new_text\n5;a;;세포\n6;b;'00;\n", encoding="utf-8")
    assert [from_alphabet(one.new_token).decode() for one in read_candidates(path)] == ["세포", "00"]
