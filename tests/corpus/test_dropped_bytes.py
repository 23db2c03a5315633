"""Init says which bytes have no id, and how often the text holds them."""

from pathlib import Path

import pytest

from ivr.corpus.documents import write_document
from ivr.corpus.dropped_bytes import count_bytes, say_dropped


def test_bytes_are_counted_over_all_files(tmp_path: Path) -> None:
    for name, text in (("a.txt", "x\x04y\x04"), ("b.txt", "é\x13")):
        with (tmp_path / name).open("w", encoding="utf-8", newline="\n") as stream:
            write_document(stream, text)
    assert count_bytes(tmp_path, [0x13, 0x04, 0xC3, 0xF1]) == {0x04: 2, 0x13: 1, 0xC3: 1, 0xF1: 0}


@pytest.mark.parametrize(("text", "said"), [("a\x04b", "the text holds 0x04, 1 times"), ("ab", "holds none of them")])
def test_they_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, said: str) -> None:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    counts = say_dropped([0xF1, 0x04], tmp_path)
    assert counts == {"0x04": text.count("\x04"), "0xF1": 0}
    assert "no id for the bytes 0x04, 0xF1" in caplog.text and said in caplog.text
