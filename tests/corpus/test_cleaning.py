"""Cleaning touches line ends, NUL and outer blank lines only; the split goes by a document's own bytes."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.corpus.cleaners import clean_corpus
from ivr.corpus.cleaning import CleaningOptions, clean_text, is_heldout, total
from ivr.corpus.documents import read_documents
from ivr.corpus.readers import ReadOptions


def clean(tmp_path: Path, fraction: float = 0.0, seed: int = 0) -> tuple[dict, list[dict]]:
    """Clean tmp_path/raw into tmp_path/{train,heldout}; the figures and the rejects."""
    for name in ("train", "heldout"):
        (tmp_path / name).mkdir(exist_ok=True)
        for path in (tmp_path / name).iterdir():
            path.unlink()
    rejects = io.StringIO()
    options = CleaningOptions("domain", ReadOptions(), fraction, seed)
    counts = clean_corpus(tmp_path / "raw", options, tmp_path / "train", tmp_path / "heldout", rejects)
    return total(counts), [json.loads(line) for line in rejects.getvalue().splitlines()]


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="\n")


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("\0a\0", "a"),
        ("\n \t\n  indented\nlast  \n\n \n", "  indented\nlast  "),
        (" \n\u3000\n\0", ""),
        ("", ""),
        ("e\u0301 ﬁ \u200b\ufeff", "e\u0301 ﬁ \u200b\ufeff"),  # not normalised
        ("a\n\n\nb", "a\n\n\nb"),
    ],
)
def test_clean_text(raw: str, kept: str) -> None:
    assert clean_text(raw) == kept


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_cleaning_twice_is_cleaning_once_and_keeps_every_letter(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert "".join(once.split()) == "".join(text.replace("\0", "").split())
    assert "\r" not in once and "\0" not in once


def test_every_document_is_kept_held_out_or_rejected(tmp_path: Path) -> None:
    write(tmp_path / "raw/a/x.txt", "".join(f"line {number}\n" for number in range(1000)) + "nul\0nul\n")
    write(tmp_path / "raw/b/x.jsonl", '{"text": "<|endoftext|>"}\n{"text": " "}\n{"no": 1}\noops\n')
    write(tmp_path / "raw/table.csv", "a,b\n")
    figures, rejects = clean(tmp_path, fraction=0.1)
    kept = [*read_documents(tmp_path / "train"), *read_documents(tmp_path / "heldout")]
    assert sorted(kept) == sorted([*(f"line {number}" for number in range(1000)), "nulnul", "<|endoftext|>"])
    assert figures["documents"] + figures["heldout_documents"] == 1002
    assert figures["bytes"] + figures["heldout_bytes"] == sum(len(text.encode()) for text in kept)
    assert figures["nul_removed"] == 1
    assert [(row["file"], row["line"], row["reason"]) for row in rejects] == [
        ("table.csv", 0, "file type is not read: .csv (write its text column as .jsonl)"),
        ("b/x.jsonl", 2, "empty"),
        ("b/x.jsonl", 3, "no key 'text'"),
        ("b/x.jsonl", 4, "broken JSON"),
    ]
    assert figures["rejected"] == {
        "broken JSON": 1,
        "empty": 1,
        "file type is not read: .csv (write its text column as .jsonl)": 1,
        "no key 'text'": 1,
    }
    assert {row["file"]: row["separator"] for row in figures["sources"]}["a/x.txt"] == "line"
    assert {path.name for path in (tmp_path / "train").iterdir()} <= {"a__x.txt", "b__x.txt"}


def test_an_empty_file_is_reported_and_makes_no_source(tmp_path: Path) -> None:
    write(tmp_path / "raw/empty.txt", "\n\n")
    write(tmp_path / "raw/full.txt", "a\n")
    figures, rejects = clean(tmp_path)
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["full.txt"]
    assert {row["file"] for row in rejects} == {"empty.txt"}
    assert figures["documents"] == 1


def test_duplicates_stay_together_and_order_does_not_matter(tmp_path: Path) -> None:
    lines = [f"document {number % 300}\n" for number in range(900)]
    write(tmp_path / "raw/x.txt", "".join(lines))
    clean(tmp_path, 0.2)
    train, heldout = set(read_documents(tmp_path / "train")), set(read_documents(tmp_path / "heldout"))
    assert train and heldout and not train & heldout
    write(tmp_path / "raw/x.txt", "".join(reversed(lines)))
    clean(tmp_path, 0.2)
    assert set(read_documents(tmp_path / "heldout")) == heldout
    clean(tmp_path, 0.2, seed=1)
    assert set(read_documents(tmp_path / "heldout")) != heldout


@given(st.binary(max_size=30), st.integers(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_out_more(text: bytes, seed: int, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert is_heldout(text, small, seed) <= is_heldout(text, large, seed)
    assert not is_heldout(text, 0.0, seed)


def test_the_share_is_about_the_fraction() -> None:
    held = sum(is_heldout(str(number).encode(), 0.1, 0) for number in range(10_000))
    assert 900 < held < 1100
