"""Log lines go to standard error, and say how far a stage is."""

import json
import os
import shlex
import subprocess
import sys
import unicodedata
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr import console
from ivr.console import LOG, Progress, printable, redact, say, set_up_logging, track


@pytest.mark.parametrize(
    ("verbosity", "heard"), [(-1, ["warning"]), (0, ["warning", "info"]), (1, ["warning", "info", "debug"])]
)
def test_verbosity(capsys: pytest.CaptureFixture[str], verbosity: int, heard: list[str]) -> None:
    set_up_logging(verbosity)
    set_up_logging(verbosity)  # twice does not say everything twice
    LOG.warning("warning")
    LOG.info("info")
    LOG.debug("debug")
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.split()[-1] for line in said.err.splitlines()] == heard


def test_progress_where_there_is_no_terminal_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 4.0, 11.0, 12.0, 30.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    set_up_logging()
    with Progress("count", total=4000, unit="B") as bar:
        for _ in range(4):
            bar.update(1000, note="round 2")
    assert [line.split(maxsplit=1)[1] for line in capsys.readouterr().err.splitlines()] == [
        "count: 2,000 of 4,000 (50 %) B, 182/s round 2",
        "count: 4,000 of 4,000 (100 %) B, 133/s round 2",
    ]


def test_the_log_as_json_is_one_object_a_line_with_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret-value-of-mine")
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LOG_LINES", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)  # a bar would be no JSON
    set_up_logging(as_json=True)
    LOG.warning("two\nlines \x1b[2J and %s", "secret-value-of-mine")
    with Progress("count", total=4, unit="B") as bar:
        bar.update(1)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["level"] == "warning" and first["message"] == "two\nlines \x1b[2J and <MY_TOKEN>"
    assert datetime.fromisoformat(first["time"]).tzinfo is not None
    assert second["progress"] == {"what": "count", "done": 1, "total": 4, "unit": "B", "note": ""}
    set_up_logging()
    assert not console.logs_json()


def test_progress_of_nothing_and_of_unknown_length() -> None:
    for total in (None, 0):
        with Progress("count", total=total) as bar:
            bar.update(3)
            assert bar._line(bar._start + 1) == "count: 3 it, 3/s"


def test_track_yields_everything() -> None:
    assert list(track("abc", "letters", total=3)) == ["a", "b", "c"]


ATTACK = "\x1b]0;title\x07 \x1b[2J \x9b31m \u202egnirts \ud800 \u2028 tab\tfine 🙂\u200d🙂"


def test_what_a_terminal_would_obey_is_spelt_out(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    LOG.info("token %s", ATTACK)
    say(ATTACK)
    said = capsys.readouterr()
    for text in (said.err, said.out):
        assert not any(bad in text for bad in "\x1b\x07\x9b\u202e\ud800\u2028")
        assert r"\x1b[2J \x9b31m \u202egnirts \ud800 \u2028" in text
        assert "tab\tfine 🙂\u200d🙂" in text


def test_no_text_can_pass_for_a_log_entry_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    LOG.error("file %s is bad", "x\n12:00:00 train: done in 3 s\rtrain: all well")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("file x")
    assert second == r"         12:00:00 train: done in 3 s\x0dtrain: all well is bad"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("token is abcdefgh12 and abcdefgh", "token is <AWS_SECRET_ACCESS_KEY> and <HF_TOKEN>"),
        ("hf_ZYXWVUTSRQPONMLKJIHG refused", "<secret> refused"),
        ("Illegal header value b'Bearer something'", "Illegal header value b'Bearer <secret>'"),
        ("https://me:pass@proxy:3128/x", "https://<secret>@proxy:3128/x"),
        ("AKIAABCDEFGHIJKLMNOP", "<secret>"),
        ("see /home/me/key.pem", "see /home/me/key.pem"),
        ("true tokenizers hf_hub", "true tokenizers hf_hub"),
    ],
)
def test_secrets_are_never_said(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "abcdefgh")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abcdefgh12")
    monkeypatch.setenv("SHORT_TOKEN", "true")
    monkeypatch.setenv("SSH_KEY", "/home/me/key.pem")
    assert redact(text) == expected
    set_up_logging()
    LOG.warning("%s", text)
    assert capsys.readouterr().err.endswith(f"{expected}\n")


# whatever the streams are ------------------------------------------------------------------------------------------

SPEAK = """
import sys
from ivr.console import LOG, Progress, finish_output, prepare_streams, say, set_up_logging
prepare_streams()
set_up_logging()
say("한글 \\x1b[2J \\udc80 \\u202e end")
LOG.info("%s", "로그 \\x1b[31m")
with Progress("세기", total=2) as bar:
    bar.update(2, note="둘")
finish_output()
with open(sys.argv[1], "w") as stream:
    assert stream.fileno() > 2, stream.fileno()
    stream.write("work done")
"""


def speak(tmp_path: Path, redirect: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    script = tmp_path / "speak.py"
    script.write_text(SPEAK.replace("\\\\", "\\"), encoding="utf-8")
    words = shlex.join([sys.executable, str(script), str(tmp_path / "done")])
    return subprocess.run(["bash", "-c", f"{words} {redirect}"], env=os.environ | environment, capture_output=True)


@pytest.mark.parametrize("encoding", ["euc-kr", "ascii", "latin-1", "ascii:strict", "utf-8", "cp949:strict"])
def test_any_encoding_of_the_terminal_will_do(tmp_path: Path, encoding: str) -> None:
    done = speak(tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    codec = encoding.partition(":")[0]
    wanted = "한글 \\x1b[2J \\udc80 \\u202e end\n".encode(codec, "backslashreplace")
    assert done.stdout == wanted
    assert "로그 \\x1b[31m".encode(codec, "backslashreplace") in done.stderr


@pytest.mark.parametrize(
    "redirect", [">&-", "2>&-", "<&-", "<&- >&- 2>&-", "| head -c 1", "2> /dev/full", "2>&1 | true"]
)
def test_work_is_done_whatever_became_of_the_streams(tmp_path: Path, redirect: str) -> None:
    """Closed, full or without a reader; and no file of ours ever gets the number of a standard stream."""
    done = speak(tmp_path, redirect)
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr, done.stderr
    assert (tmp_path / "done").read_text() == "work done"


def test_a_result_that_could_not_be_printed_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m ivr status --artifacts-dir {tmp_path} > /dev/full"], capture_output=True
    )
    assert done.returncode == 73 and b"standard output: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_bar_on_a_terminal_that_was_closed_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

        def flush(self) -> None:
            self.write("")

    set_up_logging()
    monkeypatch.setattr(sys, "stderr", Gone())
    with Progress("count", total=3) as bar:
        for _ in range(3):
            bar.update()
    assert bar.done == 3


@settings(deadline=None)
@given(st.text())
def test_what_is_printable_stays_and_nothing_steers_a_terminal(text: str) -> None:
    shown = printable(text)
    assert not any(unicodedata.category(letter) == "Cc" and letter not in "\n\t" for letter in shown)
    if text.isprintable():
        assert shown == text
    shown.encode("utf-8")
