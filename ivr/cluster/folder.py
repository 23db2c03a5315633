"""Whether a shared folder still answers.

Where the server of a mounted file system is gone, whoever touches a file there hangs, deaf to Ctrl-C and mostly to
`kill -9` too. So a child touches it first, and its parent waits for it no longer than it likes.
"""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import NoReturn

from ivr.console import LOG
from ivr.errors import ClusterError

PATIENCE_SECONDS = 60.0
SECONDS_WITHOUT_FOLDER = 600.0


class SharedFolder:
    """A folder that may hang. One child at a time asks, so that a dead server does not gather them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._child = 0

    def answers(self, seconds: float) -> bool:
        """Whether a file can be written here, or is refused, within so long. A refusal is an answer, too."""
        if not self._child:
            self._child = os.fork()
            if not self._child:
                _touch(self.path / f".answers-{os.getpid()}")
        end, pause = time.monotonic() + seconds, 0.005
        while not os.waitpid(self._child, os.WNOHANG)[0]:
            if time.monotonic() >= end:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 0.5)
        self._child = 0
        return True

    def must_answer(self, what_hangs: str) -> None:
        """Return once it answers. Raises ClusterError when it has not for SECONDS_WITHOUT_FOLDER."""
        begun = time.monotonic()
        if self.answers(PATIENCE_SECONDS):
            return
        LOG.warning("submit: %s has not answered for %.0f s; asking again", self.path, PATIENCE_SECONDS)
        if not self.answers(SECONDS_WITHOUT_FOLDER - PATIENCE_SECONDS):
            self._give_up(SECONDS_WITHOUT_FOLDER, what_hangs)
        LOG.info("submit: %s answers again, after %.0f s", self.path, time.monotonic() - begun)

    def must_answer_now(self, what_hangs: str) -> None:
        """The same before anything was begun, where there is nothing to wait on for: PATIENCE_SECONDS."""
        if not self.answers(PATIENCE_SECONDS):
            self._give_up(PATIENCE_SECONDS, what_hangs)

    def _give_up(self, seconds: float, what_hangs: str) -> NoReturn:
        os.kill(self._child, signal.SIGKILL)  # heard when the folder is back, if not before
        raise ClusterError(f"{self.path} has not answered for {seconds:.0f} s: is its file server up? {what_hangs}")


def _touch(path: Path) -> None:
    """The child: write a file, remove it, and end without any of what the parent would do at its end."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            os.write(descriptor, b"?")
            os.close(descriptor)
            path.unlink()
    finally:
        os._exit(0)
