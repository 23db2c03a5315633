"""The cleaned format gives back exactly what was written, whatever the text spells."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.corpus.documents import (
    BLOCK,
    SEPARATOR,
    check_cleaned,
    cleaned_input,
    parse_documents,
    read_documents,
    read_documents_utf8,
    split_documents,
    write_document,
)
from ivr.errors import CorruptInputError, StaleInputError
from ivr.inputs import check_present

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


def test_text_that_a_person_names_is_looked_at_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(StaleInputError, match=r"holds no text in .txt files"):
        check_cleaned(tmp_path)
    (tmp_path / "a.txt").write_text("한국어\n" * BLOCK, encoding="utf-8")  # characters across the blocks that are read
    check_cleaned(tmp_path)
    check_cleaned(tmp_path / "text.jsonl")  # a file is taken at its word
    (tmp_path / "b.txt").write_bytes("한".encode()[:2])
    with pytest.raises(CorruptInputError, match=r"b.txt is not UTF-8"):
        check_cleaned(tmp_path)
    assert cleaned_input(tmp_path, made_by="init").check is None
    with pytest.raises(CorruptInputError):
        check_present("train", [cleaned_input(tmp_path, made_by="")])
