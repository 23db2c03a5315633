"""The cleaned format gives back exactly what was written, whatever the text spells."""

import io
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ivr.corpus.documents import (
    SEPARATOR,
    parse_documents,
    read_documents,
    read_documents_utf8,
    split_documents,
    write_document,
)

FRAGMENTS = st.sampled_from([SEPARATOR, "\\", "\n", "\r", "\u2028", " ", "a", "\ufeff", "\\\\" + SEPARATOR])
TEXTS = st.one_of(st.lists(FRAGMENTS, max_size=12).map("".join), st.text(st.characters(exclude_categories=["Cs"])))


@given(st.lists(TEXTS, max_size=5))
def test_round_trip(documents: list[str]) -> None:
    stream = io.StringIO(newline="\n")
    for text in documents:
        write_document(stream, text)
    stream.seek(0)
    assert list(parse_documents(stream)) == documents


def test_a_separator_line_of_the_text_is_no_separator(tmp_path: Path) -> None:
    text = f"a\n{SEPARATOR}\n\\{SEPARATOR}\nx {SEPARATOR}"
    with (tmp_path / "x.txt").open("w", encoding="utf-8", newline="\n") as stream:
        write_document(stream, text)
        write_document(stream, "b")
    lines = (tmp_path / "x.txt").read_text().split("\n")
    assert lines == ["a", "\\" + SEPARATOR, "\\\\" + SEPARATOR, "x " + SEPARATOR, SEPARATOR, "b", SEPARATOR, ""]
    assert list(read_documents(tmp_path)) == [text, "b"]
    assert list(read_documents_utf8(tmp_path)) == [text.encode(), b"b"]


@given(st.lists(FRAGMENTS, max_size=20).map("".join), st.integers(1, 30))
def test_bytes_and_lines_give_the_same_documents(written: str, size: int) -> None:
    data = written.encode()
    blocks = [data[begin : begin + size] for begin in range(0, len(data), size)]
    lines = io.StringIO(written, newline="\n")
    assert [document.decode() for document in split_documents(blocks)] == list(parse_documents(lines))
