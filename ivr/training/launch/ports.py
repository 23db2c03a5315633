"""The port at which the processes of one run meet: below those that the system hands out to whoever connects.

A rank that is ready before rank 0 tries to connect again and again, each time from a port that the system picks. Were
the port it calls among those (32768 to 60999 on Linux), it would sooner or later call from that very port, be connected
to itself, and rank 0 would find the address in use.
"""

import contextlib
import random
import socket
import zlib

LOWEST, HIGHEST = 20_000, 32_767


def agreed_port(run: str) -> int:
    """The port of the run of this name: every process of it, on any node, finds the same one without asking.

    >>> agreed_port("job 7 turn 0") == agreed_port("job 7 turn 0") != agreed_port("job 7 turn 1")
    True
    """
    return LOWEST + zlib.crc32(run.encode()) % (HIGHEST - LOWEST + 1)


def free_port() -> int:
    """A port of this machine that nobody listens at now. Raises OSError where every one is taken."""
    ports = random.SystemRandom().sample(range(LOWEST, HIGHEST + 1), 100)
    for port in ports[:-1]:
        with contextlib.suppress(OSError):
            return _bound(port)
    return _bound(ports[-1])


def _bound(port: int) -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", port))
        return port
