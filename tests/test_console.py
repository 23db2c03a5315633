"""Log lines go to standard error, and say how far a stage is."""

import pytest

from ivr import console
from ivr.console import LOG, Progress, set_up_logging, track


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
