"""What is found below a corpora directory, and what it is called afterwards."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ivr.corpus.sources import LeftOut, Source, cleaned_names, find_sources


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("text\n")


def names_of(*names: str) -> list[str]:
    sources = [Source(Path(name), name) for name in names]
    cleaned = cleaned_names(sources)
    return [cleaned[source] for source in sources]


def test_nested_directories_and_everything_left_out(tmp_path: Path) -> None:
    write(tmp_path, "b/deep/x.txt.gz", "a.jsonl", "Z.JSON.XZ", "data.csv", "paper.pdf", ".hidden.txt", ".gitkeep", "no")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "gone.txt").symlink_to("nowhere")
    sources, left_out = find_sources(tmp_path)
    assert [source.name for source in sources] == ["Z.JSON.XZ", "a.jsonl", "b/deep/x.txt.gz"]
    assert left_out == [
        LeftOut(".hidden.txt", "hidden file"),
        LeftOut("data.csv", "file type is not read: .csv"),
        LeftOut("gone.txt", "broken link"),
        LeftOut("no", "file type is not read: without a suffix"),
        LeftOut("paper.pdf", "file type is not read: .pdf"),
        LeftOut("pipe.txt", "not a regular file"),
    ]


def test_links_are_followed_but_a_loop_ends(tmp_path: Path) -> None:
    write(tmp_path, "raw/a/x.txt", "elsewhere/y.txt")
    (tmp_path / "raw/a/up").symlink_to("..")
    (tmp_path / "raw/aa").symlink_to(tmp_path / "raw/a")
    (tmp_path / "raw/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "raw/z.txt").symlink_to(tmp_path / "elsewhere/y.txt")
    sources, left_out = find_sources(tmp_path / "raw")
    assert [source.name for source in sources] == ["a/x.txt", "link/y.txt", "z.txt"]
    assert [item.name for item in left_out] == ["a/up", "aa"]


def test_a_name_that_is_not_utf8_is_left_out(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.txt")).write_text("text")
    assert find_sources(tmp_path) == ([], [LeftOut("bad\\xff.txt", "file name is not UTF-8")])


def test_a_single_file_is_a_corpus_too(tmp_path: Path) -> None:
    write(tmp_path, "x.txt", "x.csv")
    assert [source.name for source in find_sources(tmp_path / "x.txt")[0]] == ["x.txt"]
    assert find_sources(tmp_path / "x.csv")[0] == []
    assert find_sources(tmp_path / "nothing") == ([], [])


def test_names_are_short_where_they_can_be() -> None:
    assert names_of("x.txt", "y.jsonl.gz") == ["x.txt", "y.txt"]
    assert names_of("a/x.txt", "b/x.jsonl", "a/y.txt") == ["a__x.txt", "b__x.txt", "y.txt"]
    assert names_of("x.txt", "x.json") == ["x.txt.txt", "x.json.txt"]
    assert names_of("X.txt", "x.txt") == ["X.txt.txt", "x.txt-2.txt"]


@given(st.lists(st.from_regex(r"\A([ab_]{1,2}/){0,2}[abX_]{1,2}\.(txt|json|jsonl\.gz)\Z"), unique=True, max_size=12))
def test_names_are_always_distinct(names: list[str]) -> None:
    cleaned = names_of(*names)
    assert len({name.casefold() for name in cleaned}) == len(names)
    assert all(name.endswith(".txt") and "/" not in name for name in cleaned)
