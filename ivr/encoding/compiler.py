"""numba's compiler with a cache that knows all sources and works in a read-only image, or with none."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ivr.encoding.code_cache import cache_directory

F = TypeVar("F", bound=Callable[..., object])

_CACHE = cache_directory(Path(__file__).parent.parent)
if _CACHE:
    os.environ["NUMBA_CACHE_DIR"] = str(_CACHE)  # numba reads it when it is imported

import numba  # noqa: E402


def compiled(function: F) -> F:
    """Compile to machine code on first use, without the interpreter lock."""
    result: F = numba.njit(nogil=True, cache=_CACHE is not None)(function)
    return result
