"""Every input format and every hazard of one, against what was written by hand."""

import gzip
import json
import lzma
import tracemalloc
from pathlib import Path

import pytest

from ivr.corpus.readers import ReadOptions, choose_separator, read_source
from ivr.corpus.reading import json_stream
from ivr.corpus.reading.encodings import check_encoding
from ivr.corpus.reading.items import Document, Reject
from ivr.corpus.sources import Source
from ivr.errors import ConfigError, CorruptInputError

LINES = ReadOptions(document_separator="line")
BLANK = ReadOptions(document_separator="blank-line")


def read(path: Path, content: bytes, options: ReadOptions = LINES) -> list[Document | Reject]:
    path.write_bytes(content)
    return list(read_source(Source(path, path.name), options))


def texts(items: list[Document | Reject]) -> list[str]:
    return [item.text for item in items if isinstance(item, Document)]


def reasons(items: list[Document | Reject]) -> list[tuple[int, str]]:
    return [(item.line, item.reason) for item in items if isinstance(item, Reject)]


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.txt", b"one\ntwo\n"),
        ("x.jsonl", b'{"text": "one"}\n"two"\n'),
        ("x.json", b'[{"text": "one"}, "two"]'),
    ],
)
def test_every_format_plain_and_compressed(tmp_path: Path, name: str, content: bytes, suffix: str) -> None:
    packed = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[suffix](content)
    assert texts(read(tmp_path / (name + suffix), packed)) == ["one", "two"]


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@pytest.mark.parametrize("damage", ["cut short", "overwritten", "another kind"])
def test_a_damaged_compressed_file_is_named(tmp_path: Path, suffix: str, damage: str) -> None:
    content = b"".join(b"line %d\n" % number for number in range(5000))
    packed = bytearray({".gz": gzip.compress, ".xz": lzma.compress}[suffix](content))
    if damage == "cut short":
        del packed[len(packed) // 2 :]
    elif damage == "overwritten":
        packed[len(packed) // 2 : len(packed) // 2 + 40] = b"\xaa" * 40
    else:
        packed = bytearray(content)
    with pytest.raises(CorruptInputError, match=r"big\.txt"):
        read(tmp_path / f"big.txt{suffix}", bytes(packed))


@pytest.mark.parametrize(
    ("separator", "expected"),
    [
        ("line", ["a", "b", "", "", "c"]),
        ("blank-line", ["a\nb", "c"]),
        ("file", ["a\nb\n\n \nc\n"]),
    ],
)
def test_separators(tmp_path: Path, separator: str, expected: list[str]) -> None:
    found = texts(read(tmp_path / "x.txt", b"a\nb\n\n \nc\n", ReadOptions(document_separator=separator)))
    assert [text.strip(" ") for text in found] == [text.strip(" ") for text in expected]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\n\nb\n", "blank-line"),
        (b"a\r\n\r\nb", "blank-line"),
        (b"a\n \t\nb", "blank-line"),
        (b"a\nb\n", "line"),
        (b"\n\na\nb\n\n\n", "line"),  # blank lines at the ends part nothing
        (b"", "line"),
        (b"a" * 3_000_000, "line"),
    ],
)
def test_auto_separator(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    assert choose_separator(Source(path, "x.txt"), ReadOptions()) == expected


def test_line_numbers_are_where_documents_begin(tmp_path: Path) -> None:
    assert read(tmp_path / "x.txt", b"\na\nb\n\n\nc", BLANK) == [Document("a\nb", 2), Document("c", 6)]


def test_line_ends_and_bom(tmp_path: Path) -> None:
    assert texts(read(tmp_path / "x.txt", b"\xef\xbb\xbfa\r\nb\rc\xef\xbb\xbf")) == ["a", "b", "c\ufeff"]
    assert texts(read(tmp_path / "x.json", b'\xef\xbb\xbf["a"]')) == ["a"]
    assert texts(read(tmp_path / "x.jsonl", b'\xef\xbb\xbf"a"\r\n"b"')) == ["a", "b"]
    whole = ReadOptions(document_separator="file")
    assert texts(read(tmp_path / "y.txt", b"\xef\xbb\xbfa\r\n", whole)) == ["a\n"]


def test_other_line_separators_are_text(tmp_path: Path) -> None:
    assert texts(read(tmp_path / "x.txt", "a\u2028b\x85c\x0bd\x1ce\n".encode())) == ["a\u2028b\x85c\x0bd\x1ce"]
    assert texts(read(tmp_path / "x.jsonl", '"a\u2028b"\n'.encode())) == ["a\u2028b"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1", "euc-kr"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    text = "naïve" if encoding == "latin-1" else "한국어"
    options = ReadOptions(encoding=encoding, document_separator="line")
    assert texts(read(tmp_path / "x.txt", f"{text}\r\nb\n".encode(encoding), options)) == [text, "b"]


def test_unknown_encodings_are_refused() -> None:
    for encoding in ("utf-9", "base64", "rot13"):
        with pytest.raises(ConfigError, match=encoding):
            check_encoding(encoding)
    check_encoding("utf-8")


def test_undecodable_bytes_reject_their_document_only(tmp_path: Path) -> None:
    items = read(tmp_path / "x.txt", b"good\nbad \xff\xfe here\ngood too\n\xed\xa0\x80\n")
    assert texts(items) == ["good", "good too"]
    assert reasons(items) == [(2, "invalid utf-8"), (4, "invalid utf-8")]
    assert isinstance(items[1], Reject) and items[1].excerpt == "bad \\xff\\xfe here"
    items = read(tmp_path / "x.jsonl", b'"a"\n{"text": "\xff"}\n"b"\n')
    assert (texts(items), reasons(items)) == (["a", "b"], [(2, "invalid utf-8")])
    items = read(tmp_path / "x.json", b'["a",\n"' + b"x" * 1000 + b'\xff", "b"]')
    assert (texts(items), reasons(items)) == (["a", "b"], [(2, "invalid utf-8")])


def test_jsonl_rejects_have_line_and_reason(tmp_path: Path) -> None:
    rows = [
        ('{"text": "kept"}', None),
        ("", None),
        ('{"txt": 1}', "no key 'text'"),
        ('{"text": 1}', "'text' is a number, not a string"),
        ('{"text": NaN}', "'text' is a number, not a string"),
        ('{"text": null}', "'text' is null, not a string"),
        ('{"text": ["a"]}', "'text' is a list, not a string"),
        ('{"text": "cut', "broken JSON"),
        ('{"text": "a"} {"text": "b"} oops', "broken JSON"),
        ('{"text": "a", "text": "b"}', "key 'text' stands twice in one object"),
        ('{"text": "\\ud83d"}', "lone surrogate"),
        ("[" * 100_000 + "]" * 100_000, "JSON nested too deeply"),
        ("[1, 2]", "a list, not an object or a string"),
        ('{"text": "kept too", "score": NaN, "n": ' + "9" * 5000 + "}", None),
        ('{"text": "\\ud83d\\ude42"}', None),
    ]
    items = read(tmp_path / "x.jsonl", "\n".join(row for row, _ in rows).encode())
    assert texts(items) == ["kept", "kept too", "🙂"]
    assert reasons(items) == [(number, reason) for number, (_, reason) in enumerate(rows, start=1) if reason]
    assert all(len(item.excerpt) <= 200 for item in items if isinstance(item, Reject))


@pytest.mark.parametrize(
    ("key", "row", "expected"),
    [
        ("a.b", {"a": {"b": "deep"}}, "deep"),
        ("a.b", {"a.b": "flat", "a": {"b": "deep"}}, "flat"),
        ("a.b", {"a": "string"}, None),
        ("a.b", {"a": {"c": "x"}}, None),
    ],
)
def test_dotted_keys(tmp_path: Path, key: str, row: dict[str, object], expected: str | None) -> None:
    items = read(tmp_path / "x.jsonl", json.dumps(row).encode(), ReadOptions(text_key=key))
    assert texts(items) == ([expected] if expected else [])
    assert reasons(items) == ([] if expected else [(1, f"no key '{key}'")])


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize(
    ("content", "kept", "rejected"),
    [
        ('[{"text": "a"},\n "b",\n{"x": 1}]\n', ["a", "b"], [(3, "no key 'text'")]),
        ('{"text": "a"}', ["a"], []),
        ('{\n "text": "a"\n}\n{"text": "b"}', ["a", "b"], []),
        ('{"text": "a"}\n{"text": oops}\n{"text": "b"}\n', ["a", "b"], [(2, "broken JSON")]),
        ("[12345, -1.5e3]", [], [(1, "a number, not an object or a string")] * 2),
        ("[]", [], []),
        ("", [], []),
        ('["a", "b"', ["a", "b"], [(1, "JSON list without an end")]),
        ('["a", oops, "b"]', ["a"], [(1, "broken JSON; the rest of the file is left out")]),
        ('["a" "b"]', ["a"], [(1, "broken JSON; the rest of the file is left out")]),
        ('["a"] "b"', ["a"], [(1, "text after the end of the JSON list")]),
        ("words", [], [(1, "broken JSON; the rest of the file is left out")]),
        ('{"text": "a"},\n{"text": "b"}, {"text": "c"},\n', ["a", "b", "c"], []),
        ('{"text": "a"},, {"text": "b"}', ["a"], [(1, "broken JSON; the rest of the file is left out")]),
        ('["a", ' + "[" * 100_000, ["a"], [(1, "JSON nested too deeply; the rest of the file is left out")]),
    ],
)
def test_json_in_chunks_of_any_size(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
    content: str,
    kept: list[str],
    rejected: list[tuple[int, str]],
) -> None:
    monkeypatch.setattr(json_stream, "CHUNK_CHARACTERS", chunk)
    items = read(tmp_path / "x.json", content.encode())
    assert (texts(items), reasons(items)) == (kept, rejected)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """20 MB on one JSON line, and as many lines of text, in less than a fifth of that."""
    row = json.dumps({"text": "word " * 100})
    (tmp_path / "x.json").write_text("[" + ",".join([row] * 40_000) + "]")
    (tmp_path / "x.txt").write_text(("word " * 100 + "\n") * 40_000)
    for name in ("x.json", "x.txt"):
        tracemalloc.start()
        count = sum(isinstance(item, Document) for item in read_source(Source(tmp_path / name, name), LINES))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 40_000
        assert peak < 8e6, f"{name}: {peak / 1e6:.1f} MB"
