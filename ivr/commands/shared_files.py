"""Giving a run the finished stages of another one: its files are linked, not copied, and its records with them.

Every file of a run is replaced whole and never written into, so that two runs can hold one file: the one that changes
it puts another in its place.
"""

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ivr.artifacts import ArtifactPaths
from ivr.errors import StaleInputError
from ivr.manifest import Manifest


def link_shared(source: Path, target: Path, stages: Sequence[str]) -> None:
    """Make these stages of `target` those of `source`, with the notes that lie in their folders.

    Files of theirs that `target` has from an earlier state of `source` go. Where the file system has no links, files
    are copied. Raises StaleInputError where a stage of `source` is not done.
    """
    for stage in stages:
        here, there = ArtifactPaths(source), ArtifactPaths(target)
        made = Manifest.read(here.manifest(stage))
        if made is None:
            raise StaleInputError(f"{source} has no finished `ivr {stage}`; run it first")
        new = {path for path in _files(source, made) if (source / path).is_file()}
        earlier = Manifest.read(there.manifest(stage))
        if earlier is not None:
            for path in _files(target, earlier) - new:
                (target / path).unlink(missing_ok=True)
        for path in sorted(new):
            _link(source / path, target / path)
        _link(here.manifest(stage), there.manifest(stage))  # last: it says that the others are there


def _files(root: Path, manifest: Manifest) -> set[str]:
    """Paths below the run of what a stage wrote, and of the hidden notes beside it."""
    own = {row.path for row in manifest.outputs if not Path(row.path).is_absolute()}
    folders = {parent for path in own for parent in Path(path).parents if parent != Path()}
    notes = {str(path.relative_to(root)) for folder in folders for path in (root / folder).glob(".*") if path.is_file()}
    return own | notes


def _link(source: Path, target: Path) -> None:
    """One file in two places; `target` is replaced where it is another."""
    with contextlib.suppress(OSError):
        if target.samefile(source):
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.linked")
    beside.unlink(missing_ok=True)
    try:
        os.link(source, beside)
    except OSError:
        shutil.copy2(source, beside)
    beside.replace(target)
