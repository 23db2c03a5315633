"""A request to stop, heard at any time and answered where nothing is lost: before the work, or at the end of a step."""

import signal
from types import FrameType, TracebackType
from typing import Any

from ivr.errors import TryAgainError

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
_heard: list[int] = []  # of this process, in order; only where someone listens from the start
_listening = False


def listen_early() -> None:
    """From now on SIGTERM and SIGUSR2 are noted instead of ending the process; the first StopRequest hears them.

    For a job of a batch system: the warning may come while the model is still being loaded.
    """
    global _listening
    _listening = True
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, lambda number, frame: _heard.append(number))


def heard() -> bool:
    """Whether any stop signal came since `listen_early`, here or at another rank."""
    return bool(_heard)


def note(number: int) -> None:
    """Another rank has heard this one."""
    if _listening:
        _heard.append(number)


class StopRequest:
    """Context manager: notes the first stop signal in `.signal` (0: none). A second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in STOP_SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        if _heard:
            self.signal = self.signal or _heard[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def check(self) -> None:
        """Before training has begun: end at once when asked to.

        SIGUSR2 is a warning that leaves time: it is answered after the first step, so that no turn is without one.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal == signal.SIGTERM:
            name = signal.Signals(self.signal).name
            raise TryAgainError(f"stopped by {name} before the first step; the same command begins again")

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        if _listening:
            _heard.append(number)
        self.signal = self.signal or number
