"""The only code that writes an artifact.

A file is written beside its target, synced and renamed; a directory is staged whole and exchanged. `kill -9` at
any moment leaves the old artifact or the new one, never a part. Temporary names are `.NAME.ivr-PID`. A log alone grows
in place, line by line.
"""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ivr.disk.exchange import exchange
from ivr.disk.ownership import RECORD, carry_over, check_replaceable, write_record


def files_below(path: Path) -> list[Path]:
    """The regular files at or below `path`, sorted, names that start with a dot left out."""
    if path.is_file():
        return [path]
    found = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(found)


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.ivr-{os.getpid()}")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_file(target: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a new file that takes `target`'s place when the block ends without an exception.

    Text is UTF-8 with LF line ends on every platform.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target)
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with temporary.open(mode, **text) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
        _sync_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Replace `target` by `text`, whole or not at all."""
    with atomic_file(target) as stream:
        stream.write(text)


def write_json(target: Path, value: Any) -> None:
    """Replace `target` by readable JSON, whole or not at all."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def append_text(target: Path, text: str) -> None:
    """Add whole lines to a log that may be read while it grows. One write: a kill cuts at most the last line short."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_directory(target: Path, contents: bool = True) -> Iterator[Path]:
    """Yield an empty directory that takes `target`'s place, whole, when the block ends without an exception.

    Raises ConfigError, before the block, where `target` holds what this program did not write. `contents`: the files
    are such as a person may edit, so that an edited one is kept when the directory is replaced (`ivr.disk.ownership`).
    A link to a directory stays a link.
    """
    target = target.resolve() if target.is_symlink() else target
    check_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = _temporary(target)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        yield staging
        write_record(staging, contents)
        for path in [*files_below(staging), staging / RECORD]:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        _put_in_place(staging, target)
        _sync_directory(target.parent)
    finally:
        # after the exchange the staging name holds what stood at the target before
        shutil.rmtree(staging, ignore_errors=True)


def _put_in_place(staging: Path, target: Path) -> None:
    if not target.exists():
        staging.rename(target)
        return
    check_replaceable(target)  # again: hours may have passed
    carry_over(target, staging)
    try:
        exchange(staging, target)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
            raise
        # a file system without an exchange (some NFS): two renames, each whole
        aside = target.with_name(f".{target.name}.ivr-old-{os.getpid()}")
        target.rename(aside)
        staging.rename(target)
        shutil.rmtree(aside)
