"""What a person sees while a stage works: log lines on stderr, a progress bar on a terminal.

Standard output is left to results (summaries, `--json`), so that it can be piped. No output ever ends the work: a
reader that has gone, a terminal that was closed and an encoding that lacks a character are all lived with.
"""

import contextlib
import errno
import io
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

LOG = logging.getLogger("ivr")
SECONDS_BETWEEN_LOG_LINES = 10.0


# what a terminal obeys, or shows elsewhere than it stands: control characters, lone surrogates, changes of direction
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


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


def printable(text: str) -> str:
    r"""The text without what a terminal would obey; blanks and line ends stay.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class _Output:
    """Standard output, of which there is one."""

    failed: OSError | None = None


def say(text: str = "") -> None:
    """Print a result on standard output. What cannot be printed does not end the work; `finish_output` tells of it."""
    try:
        sys.stdout.write(printable(text) + "\n")
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
        sys.stderr.write("\r".join(map(printable, text.split("\r"))))
        sys.stderr.flush()


class _Lines(logging.StreamHandler[Any]):
    """Log lines, of which nothing can steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))

    def handleError(self, record: logging.LogRecord) -> None:
        """A line that cannot be written is no reason to stop, nor to say so where nobody reads."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def set_up_logging(verbosity: int = 0) -> None:
    """Log to stderr: -1 warnings only, 0 progress, 1 details."""
    handler = _Lines(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    LOG.handlers[:] = [handler]
    LOG.propagate = False
    LOG.setLevel({-1: logging.WARNING, 0: logging.INFO}.get(verbosity, logging.DEBUG))


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
        if sys.stderr.isatty() and LOG.isEnabledFor(logging.INFO):
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
            LOG.info("%s", self._line(now))

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
