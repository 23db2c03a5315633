"""What killed runs left half-written, found and deleted where stages write, and nowhere else."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

# below an artifacts directory, where stages write
WRITTEN = (
    "corpora", "models", "tokenizers", "analysis", "embeddings", "training", "control", "evaluation", "verification",
    "report", "export", "manifests",
)  # fmt: skip
WRITTEN_CORPORA = frozenset({"cleaned", "heldout", "general", "sample"})
LEFTOVER = re.compile(r"\.(?P<target>.+)\.ivr-(?P<old>old-)?\d+")


def remove_leftovers(root: Path) -> None:
    """Delete what killed runs left half-written where stages write below `root`. Call it under the lock."""
    for folder in _written_folders(root):
        for path in folder.iterdir():
            leftover = LEFTOVER.fullmatch(path.name)
            # `ivr submit` and `ivr status` write .jobs.json beside a running stage
            if leftover is None or leftover["target"].endswith(".jobs.json"):
                continue
            whole = path.with_name(leftover["target"])
            if leftover["old"] and not whole.exists():
                path.rename(whole)  # killed between two renames: the old artifact is the whole one
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _written_folders(root: Path) -> Iterator[Path]:
    """The directories that stages write into: of the contract's names only, and nothing that a person brought."""
    if root.is_dir():
        yield root
    for top in WRITTEN:
        for folder, folders, _ in os.walk(root / top):
            folders[:] = [name for name in folders if not LEFTOVER.fullmatch(name)]
            if top == "corpora" and Path(folder) in (root / "corpora", root / "corpora" / "general"):
                folders[:] = [name for name in folders if name in WRITTEN_CORPORA]
            yield Path(folder)
