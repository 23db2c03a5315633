"""What is found below a corpora directory, and what it is called afterwards."""

import os
import unicodedata
from pathlib import Path

from hypothesis import given, settings
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
        LeftOut("data.csv", "file type is not read: .csv (write its text column as .jsonl)"),
        LeftOut("gone.txt", "broken link"),
        LeftOut("no", "file type is not read: without a suffix"),
        LeftOut("paper.pdf", "file type is not read: .pdf (turn it into .txt)"),
        LeftOut("pipe.txt", "not a regular file"),
    ]


def test_links_are_followed_but_a_loop_ends(tmp_path: Path) -> None:
    write(tmp_path, "raw/a/x.txt", "elsewhere/y.txt")
    (tmp_path / "raw/a/up").symlink_to("..")
    (tmp_path / "raw/aa").symlink_to(tmp_path / "raw/a")
    (tmp_path / "raw/a/z.txt").symlink_to("x.txt")
    (tmp_path / "raw/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "raw/z.txt").symlink_to(tmp_path / "elsewhere/y.txt")
    sources, left_out = find_sources(tmp_path / "raw")
    assert [source.name for source in sources] == ["a/x.txt", "link/y.txt"]
    assert [item.name for item in left_out] == ["a/up", "a/z.txt", "aa", "z.txt"]  # no text is read twice


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


def test_long_names_are_cut_and_stay_apart(tmp_path: Path) -> None:
    folder, file = "가" * 60, "나" * 63
    names = names_of(*(f"{folder}/{other}/{file}.txt" for other in ("다" * 60, "라" * 60, "마")), f"{file}.txt")
    assert len(set(names)) == 4 and all(len(name.encode()) <= 204 for name in names)
    assert names == names_of(*(f"{folder}/{other}/{file}.txt" for other in ("다" * 60, "라" * 60, "마")), f"{file}.txt")
    for name in names:
        (tmp_path / f".{name}.ivr-4194304").touch()


def test_names_are_such_as_every_file_system_takes() -> None:
    assert names_of("-rf.txt", "a\nb.txt", 'c:"d".txt', "🙂.txt", "~e.txt") == [
        "_rf.txt",
        "a_b.txt",
        "c__d_.txt",
        "🙂.txt",
        "_e.txt",
    ]
    composed, decomposed = "é.txt", "e\u0301.txt"
    first, second = names_of(composed, decomposed)
    assert first.casefold() != second.casefold() and "\u0301" not in first + second


WEIRD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0."), min_size=1, max_size=90)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(WEIRD, WEIRD).map("/".join), unique=True, min_size=1, max_size=6))
def test_weird_names_are_distinct_bounded_and_the_same_each_time(names: list[str]) -> None:
    sources = [f"{name}.txt" for name in names]
    cleaned = names_of(*sources)
    assert cleaned == names_of(*sources)
    keys = {unicodedata.normalize("NFD", name).casefold() for name in cleaned}
    assert len(keys) == len(names)
    for name in cleaned:
        assert len(name.encode()) <= 220 and "/" not in name and name[0] not in "-." and name.isprintable() is not None
        assert not any(unicodedata.category(character) == "Cc" for character in name)


def test_a_link_to_itself_is_left_out_as_one_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    for name in ("self.txt", "folder"):
        (tmp_path / name).symlink_to(name)
    sources, left_out = find_sources(tmp_path)
    assert [source.name for source in sources] == ["a.txt"]
    assert [(item.name, item.reason) for item in left_out] == [("folder", "broken link"), ("self.txt", "broken link")]
