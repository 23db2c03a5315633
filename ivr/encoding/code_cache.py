"""Where numba keeps machine code: a directory for each state of all that is compiled, so that none runs another's.

numba asks whether the file of a function has changed, and not those of the functions and constants it calls: after an
update it would go on running what was compiled with the old ones. Here a digest of all these sources, and of the
packages that turn them into machine code, is in the directory's name.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

COMPILES = b"import compiled"  # how a module that compiles something begins
# what a compiled function reads is bound where its module is loaded: imports within functions do not count
IMPORT = re.compile(rb"^(?:from|import) +(ivr[\w.]*)(?: +import +([\w, ]+))?", re.MULTILINE)
PACKAGES = ("numba", "llvmlite", "numpy")
OURS = re.compile(r"ivr-[0-9a-f]{16}(-\d+)?")
MARKER = "last-used"  # its time; also says that the directory is one of these
DAY = 24 * 3600
STALE_DAYS = 30


def cache_directory(package: Path) -> Path | None:
    """The directory for `package` as it is now, made where it is missing; None where none can be written.

    In NUMBA_CACHE_DIR, or else in the user's cache directory. One that another user made is not used: what is read from
    it would be run. When a new one is made, those go that nobody has used for a month.
    """
    given = os.environ.get("NUMBA_CACHE_DIR")
    try:
        base = Path(given) if given else _user_cache()
    except RuntimeError:
        return None
    if OURS.fullmatch(base.name):  # set by a process that started this one
        base = base.parent
    name = f"ivr-{digest(read_sources(package))}"
    for place in (base / name, base / f"{name}-{os.getuid()}"):
        with contextlib.suppress(OSError):
            is_new = not place.exists()
            place.mkdir(parents=True, exist_ok=True)
            if place.stat().st_uid != os.getuid():
                continue
            with tempfile.TemporaryFile(dir=place):
                pass
            _mark(place)
            if is_new:
                remove_stale(base, keep=place)
            return place
    return None


def read_sources(package: Path) -> dict[str, bytes]:
    """Dotted name -> source of every module that compiles something, and of all that these import of `package`."""
    sources = {_dotted(path, package): path.read_bytes() for path in package.rglob("*.py")}
    waiting = [name for name, source in sources.items() if COMPILES in source]
    wanted: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in wanted:
            continue
        wanted.add(name)
        for match in IMPORT.finditer(sources[name]):
            module, names = match[1].decode(), (match[2] or b"").decode().split(",")
            waiting += [
                found for found in (module, *(f"{module}.{part.strip()}" for part in names)) if found in sources
            ]
    return {name: sources[name] for name in sorted(wanted)}


def digest(sources: Mapping[str, bytes]) -> str:
    """16 hexadecimal digits for these sources under this Python and these packages."""
    total = hashlib.sha256(sys.version.encode())
    for package in PACKAGES:
        total.update(f"{package} {importlib.metadata.version(package)}\n".encode())
    for name, source in sources.items():
        total.update(f"{name} {len(source)}\n".encode() + source)
    return total.hexdigest()[:16]


def remove_stale(base: Path, keep: Path) -> None:
    """Remove this user's cache directories below `base` that no process has begun to use for STALE_DAYS.

    One that goes while a process still runs from it costs that process nothing: numba compiles what it does not find.
    """
    with contextlib.suppress(OSError):
        for place in base.iterdir():
            marker = place / MARKER
            with contextlib.suppress(OSError):
                if not OURS.fullmatch(place.name) or place == keep or place.is_symlink():
                    continue
                if marker.stat().st_uid == os.getuid() and time.time() - marker.stat().st_mtime > STALE_DAYS * DAY:
                    shutil.rmtree(place, ignore_errors=True)


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "gpt2-ivr" / "numba"


def _mark(place: Path) -> None:
    marker = place / MARKER
    if not marker.exists() or time.time() - marker.stat().st_mtime > DAY:
        marker.touch()


def _dotted(path: Path, package: Path) -> str:
    return ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
