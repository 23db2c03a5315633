"""Parts of a corpus: whole documents, each in just one part, in order."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.corpus.documents import read_documents, write_document
from ivr.corpus.parts import part_bytes, read_part

SEPARATOR = "<|endoftext|>"
LINES = st.sampled_from(["", "a", "세포", SEPARATOR, "\\" + SEPARATOR, SEPARATOR + " ", "x" * 40, "\r", "<|endof"])


def write_corpus(folder: Path, files: list[list[str]]) -> None:
    for number, documents in enumerate(files):
        with (folder / f"{number}.txt").open("w", encoding="utf-8", newline="\n") as stream:
            for text in documents:
                write_document(stream, text)


@pytest.mark.slow
@given(st.lists(st.lists(st.lists(LINES, max_size=4).map("\n".join), max_size=6), max_size=4), st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_the_parts_one_after_another_are_the_corpus(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[str]], parts: int
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, files)
    together = [text for part in range(parts) for text in read_part(folder, part, parts)]
    assert together == list(read_documents(folder)) == [text for documents in files for text in documents]
    total = sum(file.stat().st_size for file in folder.iterdir())
    assert sum(part_bytes(folder, part, parts) for part in range(parts)) == total


@pytest.mark.parametrize("end", ["", "\n", SEPARATOR, f"{SEPARATOR}\n{SEPARATOR}\n", f"a\n{SEPARATOR}\nrest"])
def test_files_that_somebody_else_wrote(tmp_path: Path, end: str) -> None:
    (tmp_path / "a.txt").write_text(f"{SEPARATOR}\none\n{SEPARATOR}\n{end}")
    (tmp_path / "b.txt").write_text("two")
    for parts in range(1, 70):
        together = [text for part in range(parts) for text in read_part(tmp_path, part, parts)]
        assert together == list(read_documents(tmp_path)), parts


def test_parts_are_about_equal(tmp_path: Path) -> None:
    write_corpus(tmp_path, [["word " * (n % 40) for n in range(2000)], [], ["x" * 100] * 300])
    sizes = [sum(len(text) for text in read_part(tmp_path, part, 4)) for part in range(4)]
    assert max(sizes) - min(sizes) < 500
