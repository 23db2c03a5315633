"""A corpus cleaned by several processes has the bytes of one cleaned by one; what a person must know is said."""

import contextlib
import io
import json
import logging
import lzma
import os
import signal
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import pytest

from ivr.corpus import cleaners
from ivr.corpus.cleaners import clean_corpus
from ivr.corpus.cleaning import CleaningOptions, SourceCount, total
from ivr.corpus.documents import read_documents
from ivr.corpus.readers import DELIMITERS, ReadOptions
from ivr.corpus.reading import splitting

OPTIONS = CleaningOptions("domain", ReadOptions(), 0.1, 0, special_tokens=DELIMITERS)


def clean(
    tmp_path: Path, name: str, options: CleaningOptions = OPTIONS, processes: int = 1
) -> tuple[dict[str, bytes], str, list[SourceCount]]:
    """Clean tmp_path/raw; every file of both directories, the rejects, the figures."""
    folders = [tmp_path / name / kind for kind in ("train", "heldout")]
    for folder in folders:
        folder.mkdir(parents=True)
    rejects = io.StringIO()
    counts = clean_corpus(tmp_path / "raw", options, *folders, rejects, processes)
    files = {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*.txt")}
    assert {path.name for folder in folders for path in folder.iterdir()} == {Path(file).name for file in files}
    return files, rejects.getvalue(), counts


def write_raw(raw: Path) -> None:
    raw.mkdir()
    lines = [f"line {number} of many, 한국어 {number * number}" for number in range(3000)]
    (raw / "lines.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (raw / "blocks.txt").write_text("\n\n".join("\n".join(lines[n : n + 3]) for n in range(0, 3000, 3)), "utf-8")
    (raw / "crlf.txt").write_bytes("\r\n".join(lines).encode())
    (raw / "bad.txt").write_bytes(b"".join(b"good %d\nbad \xff %d\n\n" % (n, n) for n in range(1000)))
    tokens = "".join(f"<|startoftext|>\n{line}\n\nand more\n<|endoftext|>\n" for line in lines[:800])
    (raw / "tokens.txt").write_text(tokens, encoding="utf-8")
    rows = [{"text": line} if number % 7 else {"body": line} for number, line in enumerate(lines)]
    (raw / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (raw / "list.json").write_text(json.dumps([{"text": line} for line in lines]))
    (raw / "packed.txt.xz").write_bytes(lzma.compress("\n".join(lines).encode()))
    (raw / "wide.txt").write_bytes("\n".join(lines).encode("utf-16"))
    (raw / "empty.txt").write_bytes(b"")
    (raw / "data.csv").write_text("a,b\n")


@pytest.mark.slow
def test_any_number_of_processes_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_raw(tmp_path / "raw")
    monkeypatch.setattr(cleaners, "INLINE_BYTES", 0)
    uncut = clean(tmp_path, "uncut")
    monkeypatch.setattr(splitting, "PIECE_BYTES", 20_000)
    results = [clean(tmp_path, f"by {processes}", processes=processes) for processes in (1, 2, 3)]
    assert results[0] == results[1] == results[2]
    assert results[0][0] == uncut[0], "and cutting changes nothing"
    assert sorted(uncut[1].splitlines()) == sorted(results[0][1].splitlines()), "line numbers neither"
    figures = total(results[0][2])
    assert figures["documents"] + figures["heldout_documents"] == 3000 * 4 + 1000 + 3000 - 429 + 3000 + 800


def alive_in_group(group: int) -> list[str]:
    """The processes of a group that have not ended (one that nobody waits for has)."""
    states = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, member = path.read_text().rpartition(")")[2].split()[:3]
            if int(member) == group and state != "Z":
                states.append(path.parent.name)
    return states


@pytest.mark.slow
def test_interrupted_it_leaves_no_process_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    line = '{"text": "' + "word " * 200 + '"}\n'
    (tmp_path / "raw" / "big.jsonl").write_text(line * 60_000)
    program = """
import io, sys
from pathlib import Path
from ivr.corpus.cleaners import clean_corpus
from ivr.corpus.cleaning import CleaningOptions
from ivr.corpus.readers import ReadOptions
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name in ("train", "heldout"):
        (folder / name).mkdir()
    print("begun", flush=True)
    try:
        clean_corpus(folder / "raw", CleaningOptions("domain", ReadOptions(), 0.1, 0), folder / "train",
                     folder / "heldout", io.StringIO(), 2)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
    script = tmp_path / "program.py"
    script.write_text(program)
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(1.5)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
        assert process.stdout.read() in ("interrupted\n", ""), "or it was done before"
        process.wait(60)
    end = time.monotonic() + 30
    while alive_in_group(process.pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert alive_in_group(process.pid) == []


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    logging.getLogger("ivr").propagate = True
    caplog.set_level(logging.INFO, "ivr")
    return caplog


def test_literal_special_tokens_are_counted_and_said(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "x.jsonl").write_text('{"text": "a <|endoftext|> b <|endoftext|>"}\n{"text": "<pad> <pad>"}\n')
    options = CleaningOptions("domain", ReadOptions(), 0.0, 0, special_tokens=(*DELIMITERS, "<pad>"))
    _, _, (count,) = clean(tmp_path, "out", options)
    assert count.special_tokens == {"<|endoftext|>": 2, "<pad>": 2}
    assert list(read_documents(tmp_path / "out" / "train")) == ["a <|endoftext|> b <|endoftext|>", "<pad> <pad>"]
    assert "special token <|endoftext|> stands 2 times as text" in said.text
    assert "special token <pad> stands 2 times as text" in said.text
    assert "--document-separator" not in said.text  # which acts on .txt alone
    (tmp_path / "raw" / "y.txt").write_text("a <|endoftext|> b\n")
    clean(tmp_path, "again", options)
    assert "--document-separator special-token" in said.text


@pytest.mark.parametrize("normalize", ["none", "NFC"])
def test_decomposed_text_is_counted_and_composed_where_asked(
    tmp_path: Path, said: pytest.LogCaptureFixture, normalize: str
) -> None:
    text = "한글과 é"
    decomposed = unicodedata.normalize("NFD", text)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "mac.txt").write_text(f"{decomposed}\n{text}\nplain\n", encoding="utf-8")
    options = CleaningOptions("domain", ReadOptions(document_separator="line"), 0.0, 0, normalize)
    _, _, (count,) = clean(tmp_path, "out", options)
    assert count.decomposed_documents == 1
    assert count.decomposed_characters == len(decomposed) - len(text)
    kept = list(read_documents(tmp_path / "out" / "train"))
    assert kept == [text if normalize == "NFC" else decomposed, text, "plain"]
    assert ("--normalize NFC composes them" in said.text) == (normalize == "none")
    assert ("1 documents were brought into NFC" in said.text) == (normalize == "NFC")


def test_the_summary_says_the_rate_and_names_keys_and_files(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a\x1b[31m\nb.jsonl").write_text('{"content": "text", "title": "t"}\n')
    (tmp_path / "raw" / "mixed.txt").write_text("가나다라 마바사\n" * 3, encoding="utf-8")
    clean(tmp_path, "out", CleaningOptions("domain", ReadOptions(encoding="cp949"), 0.0, 0))
    assert "MB/s, processes: 1)" in said.text
    assert "the most with --text-key content" in said.text
    assert "mixed.txt is UTF-8 and is read as such, not as cp949" in said.text
    assert "\x1b" not in said.text and "a\\x1b[31m\\nb.jsonl" in said.text
