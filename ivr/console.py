"""What a person sees while a stage works: log lines on stderr, a progress bar on a terminal.

Standard output is left to results (summaries, `--json`), so that it can be piped. No output ever ends the work: a
reader that has gone, a terminal that was closed and an encoding that lacks a character are all lived with.

Text of corpora, tokens, file names and messages of libraries passes `printable` on its way to either: a terminal obeys
what it is sent. No secret passes `redact`.
"""

import contextlib
import errno
import io
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

T = TypeVar("T")

LOG = logging.getLogger("ivr")
SECONDS_BETWEEN_LOG_LINES = 10.0
# what a terminal obeys or hides: control characters but tab and line feed, line and paragraph separators, what turns
# the direction of writing; and halves of characters, which no stream can encode
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
SECRET_NAME = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|KEY(_ID)?)$", re.IGNORECASE)
SECRET_LOOK = re.compile(
    r"\bhf_[A-Za-z0-9]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|(?<=Bearer )[^\s'\"]+|(?<=://)[^/\s@]+(?=@)"
)
SHORTEST_SECRET = 8


def prepare_streams() -> None:
    """Make the three standard streams usable, however this process was started.

    One that was closed is /dev/null: else the next file that is opened would take its number, and what a library prints
    would land in it. A character that the terminal's encoding (EUC-KR, ASCII) lacks is written as \\u1234.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Output:
    """Standard output, of which there is one."""

    failed: OSError | None = None


def say(text: str = "") -> None:
    """Print a result on standard output. What cannot be printed does not end the work; `finish_output` tells of it."""
    try:
        sys.stdout.write(printable(redact(text)) + "\n")  # the only print of results
        sys.stdout.flush()
    except OSError as error:
        _give_up_output(error)


def finish_output() -> None:
    """Write out what is left. Raises OSError where a result could not be printed, but not where its reader has gone."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _give_up_output(error)
    failed, _Output.failed = _Output.failed, None
    if failed is not None and failed.errno != errno.EPIPE:
        raise OSError(failed.errno, failed.strerror, "standard output") from failed


def _give_up_output(error: OSError) -> None:
    """From now on what is printed goes nowhere, and what is still in the buffer too."""
    _Output.failed = _Output.failed or error
    with contextlib.suppress(OSError, ValueError):
        if sys.stdout.fileno() == 1:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.close(null)


def show_log(text: str) -> None:
    """Pass a piece of another process's log on to standard error; nothing there may steer the terminal."""
    with contextlib.suppress(OSError):
        sys.stderr.write("\r".join(printable(redact(part)) for part in text.split("\r")))
        sys.stderr.flush()


class _Lines(logging.StreamHandler[Any]):
    """Log lines on a standard error that may be gone."""

    def handleError(self, record: logging.LogRecord) -> None:
        """A line that cannot be written is no reason to stop, nor to say so where nobody reads."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def set_up_logging(verbosity: int = 0, as_json: bool = False) -> None:
    """Log to stderr: -1 warnings only, 0 progress, 1 details. `as_json`: one JSON object a line, and no bars."""
    handler = _Lines(sys.stderr)
    handler.setFormatter(_JsonEntry() if as_json else _Entry("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    LOG.handlers[:] = [handler]
    LOG.propagate = False
    LOG.setLevel({-1: logging.WARNING, 0: logging.INFO}.get(verbosity, logging.DEBUG))


class _Entry(logging.Formatter):
    """A log entry: harmless, and with its further lines set in, so that no text can pass for an entry of its own."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(redact(super().format(record))).replace("\n", "\n         ")


class _JsonEntry(logging.Formatter):
    """A log entry for programs: {"time": ..., "level": ..., "message": ...}, with "progress" and "traceback" if any."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {"time": when, "level": record.levelname.lower(), "message": redact(record.getMessage())}
        if (progress := getattr(record, "progress", None)) is not None:
            entry["progress"] = progress
        if record.exc_info:
            entry["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry)  # pure ASCII: nothing in it steers a terminal


def logs_json() -> bool:
    """Whether the log is read by a program."""
    return any(isinstance(handler.formatter, _JsonEntry) for handler in LOG.handlers)


def printable(text: str) -> str:
    r"""Spell out what a terminal would obey or could not show; tabs and line feeds stay.

    >>> printable("a token \x1b[2J of a corpus\n")
    'a token \\x1b[2J of a corpus\n'
    """
    return OBEYED.sub(_spelt_out, text)


def _spelt_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def redact(text: str) -> str:
    """Replace every secret: the value of HF_TOKEN and the like by its name, what looks like a key, names in URLs.

    >>> redact("https://me:pass@proxy:3128 refuses")
    'https://<secret>@proxy:3128 refuses'
    """
    secrets = {value: name for name, value in os.environ.items() if _is_secret(name, value)}
    for value in sorted(secrets, key=len, reverse=True):  # one may begin with another
        text = text.replace(value, f"<{secrets[value]}>")
    return SECRET_LOOK.sub("<secret>", text)


def is_secret_name(variable: str) -> bool:
    """Whether a variable of this name holds a secret.

    >>> is_secret_name("HF_TOKEN"), is_secret_name("TOKENIZERS_PARALLELISM")
    (True, False)
    """
    return SECRET_NAME.search(variable) is not None


def _is_secret(name: str, value: str) -> bool:
    """A short value may be an ordinary word, and one that begins with / is a place."""
    return len(value) >= SHORTEST_SECRET and value[0] != "/" and is_secret_name(name)


class Progress:
    """A bar on a terminal, a log line every ten seconds elsewhere. Use as a context manager.

    with Progress("count", total=num_bytes, unit="B") as bar:
        bar.update(4096)
    """

    def __init__(self, what: str, total: int | None = None, unit: str = "it") -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self.note = ""
        self._start = self._last_line = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty() and LOG.isEnabledFor(logging.INFO) and not logs_json():
            from tqdm import tqdm

            scaled = unit == "B"
            with contextlib.suppress(OSError):
                self._bar = tqdm(total=total, desc=what, unit=unit, unit_scale=scaled, leave=False, dynamic_ncols=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exc: object) -> None:
        self._draw(lambda bar: bar.close())

    def update(self, amount: int = 1, note: str = "") -> None:
        """`amount` more units are done; `note` (a loss, a round) is shown beside them."""
        self.done += amount
        self.note = note or self.note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(printable(note), refresh=False)
            self._draw(lambda bar: bar.update(amount))
            return
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LOG_LINES:
            self._last_line = now
            progress = {"what": self.what, "done": self.done, "total": self.total, "unit": self.unit, "note": self.note}
            LOG.info("%s", self._line(now), extra={"progress": progress})

    def _draw(self, change: Callable[[Any], object]) -> None:
        """Change the bar; without it from the moment that the terminal is gone (a session that was left)."""
        try:
            if self._bar is not None:
                change(self._bar)
        except OSError:
            self._bar = None

    def _line(self, now: float) -> str:
        share = f" of {self.total:,} ({100 * self.done / self.total:.0f} %)" if self.total else ""
        rate = self.done / max(now - self._start, 1e-9)
        return f"{self.what}: {self.done:,}{share} {self.unit}, {rate:,.0f}/s {self.note}".rstrip()


def track(items: Iterable[T], what: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Yield `items` while showing progress."""
    with Progress(what, total, unit) as bar:
        for item in items:
            yield item
            bar.update()
