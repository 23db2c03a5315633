"""What a person sees while a stage works: log lines on stderr, a progress bar on a terminal.

Standard output is left to results (summaries, `--json`), so that it can be piped.
"""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

LOG = logging.getLogger("ivr")
SECONDS_BETWEEN_LOG_LINES = 10.0


def set_up_logging(verbosity: int = 0) -> None:
    """Log to stderr: -1 warnings only, 0 progress, 1 details."""
    handler = logging.StreamHandler(sys.stderr)
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
        self._bar = None
        if sys.stderr.isatty() and LOG.isEnabledFor(logging.INFO):
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=what, unit=unit, unit_scale=unit == "B", leave=False, dynamic_ncols=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, amount: int = 1, note: str = "") -> None:
        """`amount` more units are done; `note` (a loss, a round) is shown beside them."""
        self.done += amount
        self.note = note or self.note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(amount)
            return
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LOG_LINES:
            self._last_line = now
            LOG.info("%s", self._line(now))

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
