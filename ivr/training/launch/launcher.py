"""`ivr train --processes N`: N processes on this machine, and one exit code for all of them.

torchrun and `accelerate launch` end with 1 whatever a rank ended with, so that a batch system cannot tell "stopped,
saved, start me again" (75) from a failure. Here the code of the rank that failed first is the code of the whole.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from types import FrameType

from ivr.console import LOG, logs_json
from ivr.errors import FAULT, INTERRUPTED, ConfigError, IvrError, TryAgainError
from ivr.options.parser import command_line
from ivr.training.launch.ports import free_port
from ivr.training.options import Config

MOST_RANKS = 16  # on a machine with fewer cores: that many GPUs it may still have
PATIENCE_SECONDS = 60.0  # for the others, once a rank has failed
FORWARDED = (signal.SIGTERM, signal.SIGUSR2)


def launch(config: Config) -> None:
    """Start the ranks and wait. Raises what a rank failed with, KeyboardInterrupt after Ctrl-C."""
    most = max(MOST_RANKS, os.cpu_count() or 1)
    if config.processes > most:
        raise ConfigError(f"--processes {config.processes}: this machine has {os.cpu_count()} cores, {most} at most")
    LOG.info("train: starting %d processes", config.processes)
    code = run_ranks([sys.executable, "-m", "ivr", "train", *command_line(config), *_verbosity()], config.processes)
    if code == TryAgainError.exit_code:
        raise TryAgainError("the processes were stopped; the same command goes on from what is saved")
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        error = IvrError(f"a process of {config.processes} ended with {code}; its reason stands above")
        # 1 is what Python itself ends with, before a line of ours has run
        error.exit_code = FAULT if code == 1 else code if code > 0 else 128 - code
        raise error


def run_ranks(command: Sequence[str], count: int) -> int:
    """Run `command` as `count` ranks of one team and pass stop signals on; the exit code, negative for a signal's."""
    common = {"WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    ranks: list[subprocess.Popen[bytes]] = []
    with _forwarded_to(ranks):
        try:
            for rank in range(count):
                own = {**common, "RANK": rank, "LOCAL_RANK": rank}
                environment = os.environ | {key: str(value) for key, value in own.items()}
                ranks.append(subprocess.Popen(command, env=environment))  # noqa: S603 - no shell; our own argv
            return _wait(ranks)
        finally:
            for process in ranks:
                if process.poll() is None:
                    process.kill()
                    process.wait()


def _verbosity() -> list[str]:
    level = {logging.WARNING: ["-q"], logging.DEBUG: ["-v"]}.get(LOG.getEffectiveLevel(), [])
    return [*level, *(["--log-json"] if logs_json() else [])]


@contextlib.contextmanager
def _forwarded_to(ranks: Sequence["subprocess.Popen[bytes]"]) -> Iterator[None]:
    """Ctrl-C reaches the ranks by itself, from the terminal; the other stop signals come to this process alone."""

    def forward(number: int, frame: FrameType | None) -> None:
        for process in ranks:
            if process.poll() is None:
                process.send_signal(number)

    def wait_for_ranks(number: int, frame: FrameType | None) -> None:
        pass

    handlers = {**dict.fromkeys(FORWARDED, forward), signal.SIGINT: wait_for_ranks}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _wait(ranks: Sequence["subprocess.Popen[bytes]"]) -> int:
    """0 when all ended well, else the code of the first that did not; the others are given time to end too."""
    code, deadline = 0, float("inf")
    while None in (codes := [process.poll() for process in ranks]) and time.monotonic() < deadline:
        if not code and (failed := [found for found in codes if found]):
            code, deadline = failed[0], time.monotonic() + PATIENCE_SECONDS
        time.sleep(0.05)
    return code or next((found for found in codes if found), 0)
