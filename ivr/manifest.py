"""The record a finished stage leaves: what ran, on what, with what, and what came of it."""

import contextlib
import importlib.metadata
import os
import platform
import resource
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ivr
from ivr.disk.digest import sha256_file
from ivr.disk.writer import files_below
from ivr.schema import check_value, read_record, write_sealed

PIPELINE = (  # the stages that leave a manifest, in order
    "init",
    "analyze",
    "distill-tokenizer",
    "select",
    "remap",
    "align",
    "train",
    "evaluate",
    "report",
)
BESIDE = {"distill-tokenizer": "verify", "train": "control"}  # stages a run may have, and after which they come
EVERY_STAGE = tuple(name for stage in PIPELINE for name in (stage, BESIDE.get(stage, "")) if name)
RECORDED_PACKAGES = (
    "accelerate",
    "deepspeed",
    "numpy",
    "pyarrow",
    "regex",
    "tokenizers",
    "torch",
    "transformers",
)


@dataclass(frozen=True)
class FileFacts:
    """A file in the note of the folder it lies in: of a checkpoint, of a part of `analyze`."""

    bytes: int
    sha256: str


def facts_below(folder: Path) -> dict[str, FileFacts]:
    """Name below `folder` -> facts, of every file there."""
    return {
        str(path.relative_to(folder)): FileFacts(path.stat().st_size, sha256_file(path)) for path in files_below(folder)
    }


@dataclass(frozen=True)
class FileRecord:
    """One file as a stage read or wrote it; `path` is relative inside the artifacts directory, absolute outside.

    `editable`: a person may change it, so that another hash is no damage.
    """

    path: str
    sha256: str
    bytes: int
    editable: bool = False

    def entry(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        facts = {"path": self.path, "sha256": self.sha256, "bytes": self.bytes}
        return {**facts, "editable": True} if self.editable else facts


@dataclass
class Manifest:
    """The record of one finished stage; `manifests/<stage>.json`."""

    stage: str
    argv: str
    config: dict[str, Any]
    identity: str  # sha256 of the part of the config that can change the result
    inputs: list[FileRecord]
    outputs: list[FileRecord]
    results: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    git_commit: str = ""
    host: str = ""
    slurm: dict[str, str] = field(default_factory=dict)
    started_at: str = ""
    wall_seconds: float = 0.0
    peak_memory_bytes: int = 0
    version: int = 1  # of the stage, see ivr/versions.py; 1 also where none was recorded
    checksum: str = field(default="", compare=False)  # of the file; empty: an earlier version wrote it

    @classmethod
    def read(cls, path: Path) -> "Manifest | None":
        """The manifest at `path`, or None where there is none. Raises CorruptInputError naming file and field."""
        from ivr.results import SCHEMAS

        mend = f"run `ivr {path.stem}` again"
        try:
            manifest = read_record(path, cls, mend)
        except FileNotFoundError:
            return None
        if path.stem in SCHEMAS:
            check_value(manifest.results, SCHEMAS[path.stem], f"{path}, results", mend)
        return manifest

    def write(self, path: Path) -> None:
        """Write it with a checksum of its own text."""
        rows = {name: [row.entry() for row in getattr(self, name)] for name in ("inputs", "outputs")}
        write_sealed(path, {**asdict(self), **rows})


def peak_memory_bytes() -> int:
    """Largest resident set of this process or of any child that has ended, in bytes (Linux counts in KiB)."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return unit * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def package_versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "gpt2-ivr": ivr.__version__}
    for package in RECORDED_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def git_commit() -> str:
    """The commit of the checkout this package runs from; empty when installed elsewhere."""
    command = ["git", "-C", str(Path(ivr.__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603 - no shell
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("IVR_GIT_COMMIT", "")
