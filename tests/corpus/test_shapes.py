"""JSON of any shape under any suffix, special tokens as separators, lines of any length, and pieces of files."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.corpus import readers
from ivr.corpus.readers import ReadOptions, decide_reading, read_source, read_stream
from ivr.corpus.reading import splitting
from ivr.corpus.reading.items import Document, Reject
from ivr.corpus.reading.splitting import pieces_of
from ivr.corpus.sources import Source

ROWS = [{"text": "one", "n": 1}, {"text": "two\nlines"}, {"text": "셋"}]
TEXTS = [row["text"] for row in ROWS]
PARTS = [{"type": "text", "text": "a"}, {"type": "image_url"}, "b"]
CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello\nthere"}]


def read(path: Path, content: str | bytes, options: ReadOptions | None = None) -> tuple[list[str], list[str]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    items = list(read_source(Source(path, path.name), options or ReadOptions()))
    texts = [item.text for item in items if isinstance(item, Document)]
    return texts, [item.reason for item in items if isinstance(item, Reject)]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".ndjson"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        "\n".join(json.dumps(row) for row in ROWS),
        "\r\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS),
        "\n".join(json.dumps(row, indent=4) for row in ROWS),
        "".join(json.dumps(row) for row in ROWS),
        " ".join(json.dumps(row) for row in ROWS),
        "\n\ufeff".join(json.dumps(row) for row in ROWS),
        "\n".join([json.dumps(ROWS[:2]), json.dumps(ROWS[2:])]),
        json.dumps([[ROWS[0]], ROWS[1:]]),
        "\n\n" + json.dumps(ROWS[0]) + "\n\n" + json.dumps(ROWS[1]) + "\n" + json.dumps(ROWS[2]) + "\n\n",
    ],
    ids=["list", "pretty list", "lines", "CRLF", "pretty", "joined", "blanks", "marks", "lists", "nested", "gaps"],
)
def test_any_shape_under_any_suffix(tmp_path: Path, suffix: str, mark: str, content: str) -> None:
    assert read(tmp_path / f"x{suffix}", mark + content) == (TEXTS, [])


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"messages": CHAT}, "Hi\n\nHello\nthere"),
        ({"id": 7, "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}, "Hi\n\nHo"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}, "b"]}]},
            "a\n\nb",
        ),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": []}, *CHAT]}, "Hi\n\nHello\nthere"),
        (CHAT, "Hi\n\nHello\nthere"),
    ],
)
def test_a_chat_is_one_document(tmp_path: Path, suffix: str, value: object, said: str) -> None:
    content = "\n".join(json.dumps(value) for _ in range(2))
    assert read(tmp_path / f"x{suffix}", content) == ([said, said], [])


def test_a_chat_under_a_key_that_is_named(tmp_path: Path) -> None:
    row = {"text": "not this", "dialog": {"turns": CHAT}}
    assert read(tmp_path / "x.jsonl", json.dumps(row), ReadOptions(text_key="dialog.turns"))[0] == [
        "Hi\n\nHello\nthere"
    ]


def test_a_list_on_the_way_gives_a_document_for_each(tmp_path: Path) -> None:
    content = json.dumps({"data": [{"body": {"text": "a"}}, {"body": {"text": "b"}}, {"no": 1}]})
    assert read(tmp_path / "x.json", content, ReadOptions(text_key="data.body.text")) == (["a", "b"], [])


def test_a_missing_key_names_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"title": "T", "meta": {"content": "long text"}}) + "\n")
    (item,) = read_source(Source(path, "x.jsonl"), ReadOptions())
    assert isinstance(item, Reject) and item.reason == "no key 'text'"
    assert dict(item.keys) == {"title": 1, "meta.content": 9}


@pytest.mark.parametrize(
    ("content", "texts", "reasons"),
    [
        ('{"text": "a", "text": "b"}', [], ["key 'text' stands twice in one object"]),
        ('{"n": 1, "n": 2, "text": "b"}', ["b"], []),
        ('{"text": NaN}\n{"text": "c", "n": -Infinity}', ["c"], ["'text' is a number, not a string"]),
        ('{"text": 1e999}\n{"text": "c", "n": 1e999}', ["c"], ["'text' is a number, not a string"]),
        ('{"text": "cut\n{"text": "b"}', ["b"], ["broken JSON"]),
        ("[" * 200_000, [], ["JSON nested too deeply; the rest of the file is left out"]),
        ('{"a":' * 100_000, [], ["JSON nested too deeply"]),
        ("{'text': 'python'}", [], ["broken JSON"]),
        ("", [], []),
        ("null\ntrue\n3", [], ["null, not an object or a string", "true or false, not an object or a string",
                               "a number, not an object or a string"]),
        ('[{"text": "a"}, 3]', ["a"], ["a number, not an object or a string"]),
    ],
)  # fmt: skip
def test_hazards_of_json(tmp_path: Path, content: str, texts: list[str], reasons: list[str]) -> None:
    assert read(tmp_path / "x.jsonl", content) == (texts, reasons)


GPT2_FORMS = [
    "<|startoftext|>\n{}\n<|endoftext|>\n",
    "<|startoftext|>{}<|endoftext|>\n",
    "{}\n<|endoftext|>\n",
    "{}<|endoftext|>\n",
    "<|endoftext|>{}",
    "<|startoftext|>\r\n{}\r\n<|endoftext|>\r\n",
    "  <|startoftext|>  \n{}\n <|endoftext|> \n\n",
]


@pytest.mark.parametrize("form", GPT2_FORMS)
@pytest.mark.parametrize("documents", [["one", "two", "three"], ["a\n\nb", "c\nd", "e"], ["하나", "둘"]])
def test_special_tokens_part_documents(tmp_path: Path, form: str, documents: list[str]) -> None:
    content = "".join(form.format(text) for text in documents)
    texts, reasons = read(tmp_path / "x.txt", content)
    assert [text.strip() for text in texts] == documents and reasons == []


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("GPT-2 ends a text by <|endoftext|> and goes on.\nAnother line.\n", 2),
        ("First.\n\nIts token\n<|endoftext|>\nis special.\n\nThird.\n", 3),
    ],
)
def test_a_text_about_special_tokens_is_not_parted_by_them(tmp_path: Path, content: str, texts: int) -> None:
    found, reasons = read(tmp_path / "x.txt", content)
    assert len(found) == texts and reasons == [] and sum("<|endoftext|>" in text for text in found) == 1


def test_the_models_own_delimiters_part_documents_too(tmp_path: Path) -> None:
    options = ReadOptions(delimiters=("<|endoftext|>", "</s>"))
    assert read(tmp_path / "x.txt", "one\n</s>\ntwo\n</s>\n", options) == (["one", "two"], [])
    assert read(tmp_path / "x.txt", "one\n</s>\ntwo\n</s>\n")[0] == ["one", "</s>", "two", "</s>"]


@pytest.mark.parametrize("separator", ["line", "blank-line", "special-token", "file"])
def test_a_document_that_is_too_long_is_left_out_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str
) -> None:
    monkeypatch.setattr(readers, "MOST_CHARACTERS", 1000)
    end = {"line": "\n", "blank-line": "\n\n", "special-token": "\n<|endoftext|>\n", "file": "\n"}[separator]
    content = end.join(["short", "x" * 5000, "y " * 300, ("z" * 400 + "\n") * 5, "last"]) + end
    texts, reasons = read(tmp_path / "x.txt", content, ReadOptions(document_separator=separator))
    assert len(reasons) == 1 or (separator != "file" and len(reasons) == 2)
    assert all("longer than" in reason for reason in reasons)
    if separator != "file":
        assert texts[0] == "short" and texts[-1] == "last" and "y " * 300 in texts


def test_a_json_line_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MOST_CHARACTERS", 1000)
    content = "\n".join(json.dumps({"text": text}) for text in ("a", "b" * 3000, "c"))
    texts, (reason,) = read(tmp_path / "x.jsonl", content)
    assert texts == ["a", "c"] and "longer than" in reason


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(
        st.sampled_from(["", " ", "word", "한국어 글", "<|endoftext|>", "a <|endoftext|>", '{"text": "x"}', '{"no": 1}',
                         "bad \udcff", "\r", "e\r", "long " * 20]),
        max_size=60,
    ),
    end=st.sampled_from(["\n", "\r\n"]),
    size=st.integers(1, 200),
    name=st.sampled_from(["x.txt", "x.jsonl"]),
    separator=st.sampled_from(["auto", "line", "blank-line", "special-token"]),
    encoding=st.sampled_from(["utf-8", "cp949"]),
)  # fmt: skip
def test_pieces_one_after_another_are_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[str],
    end: str,
    size: int,
    name: str,
    separator: str,
    encoding: str,
) -> None:
    path = tmp_path_factory.mktemp("pieces") / name
    path.write_bytes(end.join(lines).encode(encoding, "surrogateescape"))
    source, options = Source(path, name), ReadOptions(document_separator=separator, encoding=encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitting, "PIECE_BYTES", size)
        patch.setattr(splitting, "WINDOW_BYTES", max(1, size // 3))
        reading = decide_reading(source, options)
        pieces = pieces_of(source, reading, options.delimiters)
    whole = list(read_source(source, options, reading))
    if pieces[0].is_whole:
        return
    assert pieces[0].begin == 0 and pieces[-1].end == path.stat().st_size
    found: list[Document | Reject] = []
    for piece in pieces:
        found += read_stream(piece.open(), source, options, reading)
    assert [kept(item) for item in found] == [kept(item) for item in whole]


def kept(item: Document | Reject) -> str:
    return f"document {item.text}" if isinstance(item, Document) else f"reject {item.reason.split(',')[0]}"


@pytest.mark.parametrize(
    ("content", "is_said"),
    [
        ("\n".join(json.dumps(row) for row in ROWS), True),
        (json.dumps(ROWS, indent=2), True),
        (json.dumps(TEXTS), True),
        ("[1] First note\n[2] Second note\n", False),
        ("{citation needed}\nand text\n", False),
        ("[]\n", False),
    ],
)
def test_json_that_is_named_as_text_is_said(tmp_path: Path, content: str, is_said: bool) -> None:
    path = tmp_path / "a.txt"
    path.write_text(content)
    said = decide_reading(Source(path, path.name), ReadOptions()).said
    assert said.startswith("looks like JSON and is read as text") == is_said
