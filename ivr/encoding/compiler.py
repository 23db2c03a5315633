"""numba's compiler with a cache that works in a read-only image: in the user's cache directory, or none."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])


def _cache_directory() -> str | None:
    """A directory of this user's that can be written, or None."""
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "gpt2-ivr" / "numba"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return str(place)
    except (OSError, RuntimeError):
        return None


_CACHE = os.environ.get("NUMBA_CACHE_DIR") or _cache_directory()
if _CACHE:
    os.environ["NUMBA_CACHE_DIR"] = _CACHE  # numba reads it when it is imported

import numba  # noqa: E402


def compiled(function: F) -> F:
    """Compile to machine code on first use, without the interpreter lock."""
    result: F = numba.njit(nogil=True, cache=_CACHE is not None)(function)
    return result
