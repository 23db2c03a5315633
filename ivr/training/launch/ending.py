"""How a process that was in a process group ends: with its own exit code, and without the interpreter's teardown.

Gloo's worker threads outlive `destroy_process_group` where DeepSpeed holds groups of its own, and may still hold a
tensor. One that lets go of it while the interpreter is being torn down asks for the GIL, and CPython (before 3.14) ends
such a thread in the midst of C++: "terminate called without an active exception", SIGABRT, for a rank whose work is
done and saved. So the last of the exit handlers ends the process itself.
"""

import atexit
import os
import sys

from ivr.errors import FAULT


class _Process:
    """Of this process; there is only one."""

    armed = False
    was_in_a_group = False
    code: int | None = None


def arm() -> None:
    """To be called before torch is imported: exit handlers that are registered first run last."""
    if not _Process.armed:
        _Process.armed = True
        atexit.register(_end)


def was_in_a_group() -> None:
    """There may be threads that do not survive the interpreter's teardown."""
    _Process.was_in_a_group = True


def ends_with(code: int) -> None:
    """This process is about to end with `code`; after an exception that nobody caught, with FAULT."""
    _Process.code = code


def _end() -> None:
    if _Process.was_in_a_group and _Process.code is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(FAULT if hasattr(sys, "last_value") else _Process.code)
