"""The files a stage reads: there, and what the stage that made them recorded."""

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ivr.artifacts import ArtifactPaths
from ivr.disk.digest import sha256_file
from ivr.disk.writer import files_below
from ivr.errors import ConfigError, StaleInputError
from ivr.manifest import FileRecord, Manifest


@dataclass(frozen=True)
class Input:
    """A file or directory a stage reads. `made_by` names the command that makes it.

    `editable`: a person may change it, so its hash need not be the recorded one. `optional`: may be absent.
    `without`: names of files in it that the stage does not read, and that may change without making it stale.
    `check`: called with the path where it is there; raises IvrError for what the stage could not read.
    """

    path: Path
    made_by: str = ""
    editable: bool = False
    optional: bool = False
    without: tuple[str, ...] = ()
    check: Callable[[Path], None] | None = None

    def files(self) -> list[Path]:
        """Those that the stage reads."""
        return [path for path in files_below(self.path) if path.name not in self.without]


def check_present(name: str, inputs: Sequence[Input]) -> list[Input]:
    """Those that are there; raises StaleInputError or ConfigError for one that must be and is not."""
    return [item for item in inputs if _is_present(name, item)]


def _is_present(name: str, item: Input) -> bool:
    if item.path.exists():
        if item.check:
            item.check(item.path)
        return True
    if item.optional:
        return False
    if item.made_by:
        raise StaleInputError(f"`ivr {name}` needs {item.path}, which is not there; run `ivr {item.made_by}` first")
    raise ConfigError(f"{item.path}: no such file or directory")


def check_recorded(paths: ArtifactPaths, inputs: Sequence[Input], rows: Sequence[FileRecord]) -> None:
    """Refuse an input that differs from what the stage that made it recorded."""
    for made_by in sorted({item.made_by for item in inputs if item.made_by and not item.editable}):
        manifest = Manifest.read(paths.manifest(made_by))
        if manifest is None:
            raise StaleInputError(f"`ivr {made_by}` did not finish (no {paths.manifest(made_by)}); run it again")
        recorded = {row.path: row.sha256 for row in manifest.outputs if not row.editable}
        for row in rows:
            expected = recorded.get(row.path)
            if expected is not None and expected != row.sha256:
                raise StaleInputError(
                    f"{absolute(row.path, paths.root)} is not what `ivr {made_by}` wrote: sha256 "
                    f"{row.sha256[:16]}, recorded {expected[:16]}; run `ivr {made_by}` again"
                )
        read = {row.path for row in rows}
        for item in inputs:
            if item.made_by != made_by or item.editable:
                continue
            place = PurePath(relative(item.path, paths.root))
            below = [path for path in recorded if PurePath(path).is_relative_to(place)]
            ours = {path for path in below if PurePath(path).name not in item.without}
            if (gone := min(ours - read, default=None)) is not None:
                raise StaleInputError(f"{absolute(gone, paths.root)} is gone; run `ivr {made_by}` again")
            # a directory outside that the stage knows nothing of was named by the person, who answers for all of it
            brought = {path for path in read - ours if PurePath(path).is_relative_to(place)}
            if brought and (ours or not place.is_absolute()):
                raise StaleInputError(
                    f"{absolute(min(brought), paths.root)} lies where `ivr {made_by}` writes, and is none of it; "
                    "move it elsewhere"
                )


def relative(path: Path, root: Path) -> str:
    """Relative inside the artifacts directory, so that it can be moved; absolute outside.

    Raises ConfigError for a name that no record can hold, before any work.
    """
    place = path.absolute()
    try:
        str(place).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(place).decode("utf-8", "backslashreplace")
        raise ConfigError(f"{shown}: the file's name is not UTF-8; rename it") from None
    try:
        return str(place.relative_to(root.absolute()))
    except ValueError:
        return str(place)


def absolute(path: str, root: Path) -> Path:
    """Where a recorded path lies.

    >>> absolute("manifests/init.json", Path("run")), absolute("/data/text", Path("run"))
    (PosixPath('run/manifests/init.json'), PosixPath('/data/text'))
    """
    return root / path  # an absolute path replaces root


def describe(targets: Sequence[Path], root: Path) -> list[FileRecord]:
    """Path, sha256 and size of every file at or below the targets, in their order.

    Raises ConfigError for a pipe, a socket or a device among them, from which one would read for ever.
    """
    found: list[FileRecord] = []
    for target in targets:
        is_one = target.exists() and not target.is_dir()  # `files_below` would pass over a pipe
        found += [describe_file(path, root) for path in ([target] if is_one else files_below(target))]
    return found


def describe_file(path: Path, root: Path) -> FileRecord:
    """The same for one file."""
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise ConfigError(f"{path} is no regular file, but a pipe, a socket or a device; take it out of the directory")
    try:
        return FileRecord(relative(path, root), sha256_file(path), facts.st_size)
    except OSError as error:
        error.filename = error.filename or str(path)  # of a read that fails the system names no file
        raise
