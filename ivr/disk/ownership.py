"""What this program wrote into a directory, so that nothing else is ever removed or replaced with it.

A directory that is replaced whole carries a record, `.ivr.json`: the files that were written into it, with their sizes
and hashes. Before the directory is replaced or removed, everything in it is one of these:

* a file as it was written: it goes;
* a file that was written and altered since: a copy stays, in `NAME.edited/` beside the directory;
* an entry whose name starts with a dot (`.git`, `.DS_Store`): it goes over into the new directory;
* anything else was brought by a person: refused, before any work.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Required

from typing_extensions import TypedDict

from ivr.console import LOG
from ivr.disk.digest import sha256_file
from ivr.errors import ConfigError, CorruptInputError

RECORD = ".ivr.json"


class Written(TypedDict, total=False):
    """A file as it was written. path, editable: where a manifest told so (`adopt`)."""

    bytes: int
    sha256: str
    path: str
    editable: bool


class RecordFile(TypedDict, total=False):
    """`.ivr.json`; those of earlier versions have no checksum."""

    files: Required[dict[str, Written]]
    checksum: str


Record = dict[str, Written]  # path below the directory -> what was written there


def write_record(folder: Path, contents: bool = True) -> None:
    """Record every file below `folder`. `contents`: with its hash, so that an edit of a person is noticed later."""
    record: Record = {}
    for name in _files(folder):
        path = folder / name
        record[name] = {"bytes": path.stat().st_size}
        if contents:
            record[name]["sha256"] = sha256_file(path)
    _write(folder / RECORD, record)


def record_file(folder: Path, name: str, data: bytes) -> None:
    """Before a file of a recorded directory is replaced by `data`: let the record say so. It says nothing of others.

    Where the process is killed before the file is written, that looks like one that a person altered, and is kept.
    """
    record = read_record(folder)
    if record is None or name not in record:
        return
    row = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    _replace(folder, {**record, name: row})


def adopt(folder: Path, record: Mapping[str, Mapping[str, Any]]) -> None:
    """Give a directory that has no record the one that a manifest keeps of it (runs of before there were records)."""
    if folder.is_dir() and record and read_record(folder) is None:
        _replace(folder, record)


def _replace(folder: Path, record: Mapping[str, Mapping[str, Any]]) -> None:
    temporary = folder / f"{RECORD}.ivr-{os.getpid()}"
    _write(temporary, record)
    temporary.replace(folder / RECORD)


def _write(path: Path, record: Mapping[str, Mapping[str, Any]]) -> None:
    from ivr.schema import sealed  # it writes by way of this module

    path.write_text(sealed({"files": dict(record)}), encoding="utf-8")


def read_record(folder: Path) -> Record | None:
    """The files that were written into `folder`; None where there is no record that can be read."""
    from ivr.schema import read_record as read  # it writes by way of this module

    try:
        return read(folder / RECORD, RecordFile, "")["files"]
    except (OSError, CorruptInputError):
        return None


def foreign_entries(folder: Path) -> list[str]:
    """What lies below `folder` that this program did not write, entries with a dot in front left out; sorted."""
    record = read_record(folder) or {}
    return [name for name in _files(folder) if name not in record]


def check_replaceable(folder: Path) -> None:
    """Raises ConfigError, naming it, for something in `folder` (or at its place) that this program did not write."""
    if folder.is_dir():
        foreign = foreign_entries(folder)
        if foreign:
            more = f" and {len(foreign) - 1:,} more" if len(foreign) > 1 else ""
            raise ConfigError(
                f"{folder} holds {_shown(foreign[0])}{more}, which `ivr` did not write, and would be replaced whole; "
                "move that elsewhere, or let the stage write to an empty or new directory"
            )
    elif folder.exists():
        raise ConfigError(f"{folder} is a file and a directory is to be written there; move it elsewhere")


def carry_over(old: Path, new: Path) -> None:
    """Before `new` takes `old`'s place: what is a person's in `old` gets a second name outside it. Loses nothing
    when the process is killed here."""
    for entry in sorted(old.iterdir()):
        if entry.name.startswith(".") and not entry.name.startswith(RECORD) and not (new / entry.name).exists():
            _link(entry, new / entry.name)
    keep_altered(old)


def keep_altered(folder: Path) -> None:
    """Give a second name, in `NAME.edited/` beside the directory, to every recorded file that was altered since."""
    record = read_record(folder) or {}
    for name in _recorded(folder, record):
        path = folder / name
        if path.is_file() and not path.is_symlink() and _is_altered(path, record[name]):
            kept = _free_name(folder.with_name(folder.name + ".edited") / name, path)
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                _link(path, kept)
                LOG.warning("%s was altered since it was written; kept as %s", path, kept)


def remove_written(folder: Path, contents: bool = True) -> None:
    """Remove what this program wrote into `folder`, and `folder` where nothing else is in it; the rest stays.

    `contents`: an altered file of ours is kept, as `keep_altered` does.
    """
    record = read_record(folder)
    if record is None:
        if folder.is_dir() and any(folder.iterdir()):
            LOG.warning("%s stays: nothing says that `ivr` wrote it", folder)
        elif folder.is_dir():
            folder.rmdir()
        return
    if contents:
        keep_altered(folder)
    foreign = [name for name in _everything(folder) if name not in record and name != RECORD]
    if not foreign:
        shutil.rmtree(folder)
        return
    for name in _recorded(folder, record):
        (folder / name).unlink()
        for parent in (folder / name).parents:
            if parent == folder:
                break
            with contextlib.suppress(OSError):
                parent.rmdir()
    (folder / RECORD).unlink()
    LOG.warning("%s stays: it holds %s, which `ivr` did not write", folder, _shown(foreign[0]))


def _recorded(folder: Path, record: Record) -> list[str]:
    """The entries below `folder` that its record names; a name that leads elsewhere is no entry."""
    return sorted(name for name in _everything(folder) if name in record)


def keep_aside(path: Path) -> Path | None:
    """Give a file a second name, `NAME.edited`, before something takes its place; None where that copy exists."""
    kept = _free_name(path.with_name(path.name + ".edited"), path)
    if kept is not None:
        _link(path, kept)
    return kept


def _is_altered(path: Path, row: Written) -> bool:
    if path.stat().st_size != row.get("bytes"):
        return True
    return "sha256" in row and sha256_file(path) != row["sha256"]


def _free_name(wanted: Path, path: Path) -> Path | None:
    """`wanted`, or with a number behind it; None where one of these holds the same bytes already."""
    number, name = 1, wanted
    while name.exists() or name.is_symlink():
        if name.is_file() and name.stat().st_size == path.stat().st_size and sha256_file(name) == sha256_file(path):
            return None
        number += 1
        name = wanted.with_name(f"{wanted.name}-{number}")
    return name


def _link(source: Path, target: Path) -> None:
    """A second name for a file or for all below a directory; a copy where the file system has no second names."""
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, copy_function=_link_file)
    else:
        _link_file(str(source), str(target))


def _link_file(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
    return target


def _everything(folder: Path) -> Iterator[str]:
    """Every entry below `folder` but directories, links to directories included."""
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        for name in [*names, *links]:
            yield str(Path(place, name).relative_to(folder))


def _files(folder: Path) -> list[str]:
    """`_everything` without what lies at or below a name that starts with a dot, sorted."""
    return sorted(name for name in _everything(folder) if not any(part.startswith(".") for part in Path(name).parts))


def _shown(name: str) -> str:
    """A name as a terminal can show it."""
    return name if name.isprintable() else repr(name)
