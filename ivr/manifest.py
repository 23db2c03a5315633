"""The record a finished stage leaves: what ran, on what, with what, and what came of it."""

import contextlib
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ivr
from ivr.errors import CorruptInputError

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
WITH_VERIFY = tuple(  # ... and one that stands beside them, whose manifest may be there
    name for stage in PIPELINE for name in ((stage, "verify") if stage == "distill-tokenizer" else (stage,))
)
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


@dataclass
class Manifest:
    """The record of one finished stage; `manifests/<stage>.json`."""

    stage: str
    argv: str
    config: dict[str, Any]
    identity: str  # sha256 of the part of the config that can change the result
    inputs: list[dict[str, Any]]  # {path, sha256, bytes}
    outputs: list[dict[str, Any]]
    results: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    git_commit: str = ""
    host: str = ""
    slurm: dict[str, str] = field(default_factory=dict)
    started_at: str = ""
    wall_seconds: float = 0.0
    peak_memory_bytes: int = 0
    version: int = 1  # of the stage, see ivr/versions.py; 1 also where none was recorded

    @classmethod
    def read(cls, path: Path) -> "Manifest | None":
        """The manifest at `path`, or None where there is none."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise CorruptInputError(f"{path} is not a manifest ({error}); delete it to run the stage again") from None


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
