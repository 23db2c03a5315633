"""Whether a file that a person brings is there: no broken link, no folder, no pointer to what lies elsewhere."""

import codecs
from pathlib import Path

from ivr.errors import ConfigError, CorruptInputError

LARGEST_POINTER_BYTES = 1024  # Git LFS's own limit


def check_whole(path: Path, origin: str) -> None:
    """Raises CorruptInputError or ConfigError, naming `origin`, unless `path` is a readable file that is not empty."""
    if path.is_symlink() and not path.exists():
        raise CorruptInputError(
            f"{origin} is a link to {path.readlink()}, which is not there; fetch the model again, or copy it with its "
            "links followed (cp -rL)"
        )
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "no regular file"
        raise ConfigError(f"{origin} is {kind}; a model's file is expected there")
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(LARGEST_POINTER_BYTES)
    except PermissionError:
        raise ConfigError(f"{origin} cannot be read (permission denied); make it readable: chmod u+r") from None
    if not size:
        raise CorruptInputError(f"{origin} is empty; fetch it again")
    if start.startswith(codecs.BOM_UTF8) and origin.endswith(".json"):
        raise CorruptInputError(
            f"{origin} begins with a byte order mark, which transformers does not read; take it out"
        )
    if size <= LARGEST_POINTER_BYTES and start.startswith(b"version ") and b"\noid sha256:" in start:
        raise CorruptInputError(
            f"{origin} is a Git LFS pointer and not the file itself; run `git lfs pull` where it was cloned"
        )
