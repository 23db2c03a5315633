"""A mark decides for its file; what looks like another encoding is read as what it is, or refused with the option."""

import codecs
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.corpus.readers import ReadOptions, read_source
from ivr.corpus.reading.encodings import MARKS, check_encoding, decide, guess, looks_wide
from ivr.corpus.reading.items import Document, Reject
from ivr.corpus.sources import Source
from ivr.errors import ConfigError

KOREAN = "대한민국의 수도는 서울이다.\n두 번째 줄입니다.\n" * 20
ENGLISH = "The first line must not be lost.\nThe second line.\n" * 20
CHINESE = "汉字是记录汉语的文字。\n第二行。\n" * 20
JAPANESE = "これは日本語の文章です。\n二行目。\n" * 20
RUSSIAN = "Это первая строка текста.\nА это вторая.\n" * 20
FRENCH = "Le café était déjà fermé à midi.\nÇa ne va pas.\n" * 20


def read(tmp_path: Path, content: bytes, encoding: str = "utf-8") -> tuple[list[str], list[str]]:
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    items = list(read_source(Source(path, "x.txt"), ReadOptions(encoding=encoding, document_separator="line")))
    texts = [item.text for item in items if isinstance(item, Document)]
    return texts, sorted({item.reason for item in items if isinstance(item, Reject)})


@pytest.mark.parametrize("option", ["utf-8", "utf-16", "utf-16-le", "utf-32", "cp949", "latin-1"])
@pytest.mark.parametrize("text", [KOREAN, ENGLISH, CHINESE, "한"])
@pytest.mark.parametrize(("mark", "encoding"), MARKS)
def test_a_mark_decides_whatever_the_option_says(
    tmp_path: Path, mark: bytes, encoding: str, text: str, option: str
) -> None:
    assert read(tmp_path, mark + text.encode(encoding), option) == (text.splitlines(), [])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [KOREAN, ENGLISH, RUSSIAN])
def test_wide_text_without_a_mark_is_refused_with_the_option_to_give(tmp_path: Path, encoding: str, text: str) -> None:
    texts, reasons = read(tmp_path, text.encode(encoding))
    assert texts == [] and reasons == [
        f"looks like {encoding.upper()} without a byte order mark; give --encoding {encoding}"
    ]
    assert read(tmp_path, text.encode(encoding), encoding) == (text.splitlines(), [])
    if encoding.startswith("utf-16"):
        assert read(tmp_path, text.encode(encoding), "utf-16") == (text.splitlines(), []), "its order can be told"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (KOREAN, "iso2022_kr"),
        (JAPANESE, "iso2022_jp"),
        (ENGLISH + JAPANESE[:9], "iso2022_jp"),
        (JAPANESE + CHINESE[:6], "iso2022_jp_2"),
        (CHINESE, "hz"),
        (KOREAN, "utf-7"),
        (RUSSIAN, "utf-7"),
    ],
)
def test_text_in_ascii_bytes_that_is_none_is_refused_with_the_option(tmp_path: Path, text: str, encoding: str) -> None:
    for option in ("utf-8", "cp949"):
        texts, reasons = read(tmp_path, text.encode(encoding), option)
        assert texts == [] and len(reasons) == 1 and reasons[0].endswith(f"give --encoding {encoding}")
    assert read(tmp_path, text.encode(encoding), encoding) == (text.splitlines(), [])


@pytest.mark.parametrize(
    "line", ["printf '\x1b$x' is a terminal's", "a+b-c, C++, 1+1=2 and +ok-", "~{x~} ~{~} is LaTeX's"]
)
def test_text_with_what_shifts_elsewhere_is_text(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, f"{line}\n".encode() * 20) == ([line] * 20, [])


@pytest.mark.parametrize("option", ["utf-16", "utf-16-le", "utf-32", "cp949", "latin-1", "shift_jis"])
@pytest.mark.parametrize("text", [KOREAN, FRENCH, RUSSIAN])
def test_plain_utf8_is_read_as_such_whatever_the_option_says(tmp_path: Path, option: str, text: str) -> None:
    assert read(tmp_path, text.encode(), option) == (text.splitlines(), [])
    assert "is read as such" in decide(text.encode(), option).said


@pytest.mark.parametrize("option", ["utf-16", "utf-32"])
def test_ascii_where_wide_text_was_said(tmp_path: Path, option: str) -> None:
    assert read(tmp_path, ENGLISH.encode(), option) == (ENGLISH.splitlines(), [])


@pytest.mark.parametrize(
    ("encoding", "text", "named"),
    [
        ("cp949", KOREAN, "cp949"),
        ("euc-kr", KOREAN, "cp949"),
        ("latin-1", FRENCH, "cp1252"),
        ("cp1252", FRENCH, "cp1252"),
        ("shift_jis", JAPANESE, "cp932"),
        ("gb18030", CHINESE, "gb18030"),
        ("big5", "漢字是記錄漢語的文字。\n" * 20, "big5"),
        ("cp1251", RUSSIAN, "cp1251"),
        ("koi8-r", RUSSIAN, "koi8-r"),
    ],
)
def test_invalid_utf8_names_the_encoding_to_try(tmp_path: Path, encoding: str, text: str, named: str) -> None:
    _, reasons = read(tmp_path, text.encode(encoding))
    assert reasons == [f"invalid utf-8, looks like {named}: give --encoding {named}"]
    assert read(tmp_path, text.encode(encoding), named) == (text.splitlines(), [])


def test_a_few_odd_bytes_name_nothing() -> None:
    assert guess(b"\xff\xfe") == guess(b"caf\xe9") == ""


def test_zeros_within_utf8_are_no_utf16(tmp_path: Path) -> None:
    assert read(tmp_path, b"nul\0nul\nand more\n") == (["nul\0nul", "and more"], [])
    assert looks_wide(b"a" * 999 + b"\0") == looks_wide(b"\0" * 100) == looks_wide(b"") == ""


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04 rest", b"%PDF-1.7\n", b"\x1f\x8b\x08\0", b"PAR1abc", b"\xd0\xcf\x11\xe0\xa1"],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes) -> None:
    texts, (reason,) = read(tmp_path, content)
    assert texts == [] and reason.startswith("is ") and reason.endswith(", not text")


@pytest.mark.parametrize("encoding", ["utf-9", "base64", "rot13", "hex", "idna", "punycode", "undefined", "zip", "\0"])
def test_what_is_no_encoding_of_text_is_refused(encoding: str) -> None:
    with pytest.raises(ConfigError, match="unknown text encoding"):
        check_encoding(encoding)


@settings(max_examples=400, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.tuples(st.sampled_from([mark for mark, _ in MARKS]), st.binary(max_size=60)).map(b"".join),
        st.tuples(st.text(max_size=60), st.sampled_from(["utf-16", "utf-16-le", "cp949", "utf-8", "utf-32-be"])).map(
            lambda drawn: drawn[0].encode(drawn[1], "ignore")
        ),
    ),
    option=st.sampled_from(["utf-8", "utf-16", "utf-32", "cp949", "latin-1", "utf-7", "iso2022_jp", "gb18030", "hz"]),
    name=st.sampled_from(["x.txt", "x.json", "x.jsonl"]),
)
def test_any_bytes_are_documents_or_rejects(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, option: str, name: str
) -> None:
    path = tmp_path_factory.mktemp("bytes") / name
    path.write_bytes(content)
    for item in read_source(Source(path, name), ReadOptions(encoding=option)):
        if isinstance(item, Document):
            item.text.encode()
        else:
            item.excerpt.encode()


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1), min_size=1),
    marked=st.sampled_from([encoding for _, encoding in MARKS]),
)
def test_no_line_is_lost_under_a_mark(tmp_path_factory: pytest.TempPathFactory, lines: list[str], marked: str) -> None:
    mark = {encoding: mark for mark, encoding in MARKS}[marked]
    text = "\n".join(lines) + "\n"
    found, reasons = read(tmp_path_factory.mktemp("marked"), mark + text.encode(marked), "cp949")
    first = lines[0].removeprefix("\ufeff") if not mark else lines[0]
    assert (found, reasons) == ([first, *lines[1:]], [])


def test_marks_are_pythons() -> None:
    assert codecs.BOM_UTF8 in dict(MARKS) and len({encoding for _, encoding in MARKS}) == len(MARKS)
