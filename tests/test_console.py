"""Log lines go to standard error, and say how far a stage is."""

import pytest

from ivr import console
from ivr.console import LOG, Progress, redact, say, set_up_logging, track


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
        ("token is abcdefgh12 and abcdefgh", "token is [secret] and [secret]"),
        ("hf_ZYXWVUTSRQPONMLKJIHG refused", "[secret] refused"),
        ("Illegal header value b'Bearer something'", "Illegal header value b'Bearer [secret]'"),
        ("https://me:pass@proxy:3128/x", "https://[secret]@proxy:3128/x"),
        ("AKIAABCDEFGHIJKLMNOP", "[secret]"),
        ("true tokenizers hf_hub", "true tokenizers hf_hub"),
    ],
)
def test_secrets_are_never_said(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "abcdefgh")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abcdefgh12")
    monkeypatch.setenv("SHORT_TOKEN", "true")
    assert redact(text) == expected
    set_up_logging()
    LOG.warning("%s", text)
    assert capsys.readouterr().err.endswith(f"{expected}\n")
