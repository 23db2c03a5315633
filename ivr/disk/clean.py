"""What `make clean CONFIRM=yes` does: remove what a run wrote, and nothing else.

python -m ivr.disk.clean artifacts
"""

import contextlib
import os
import re
import sys
from pathlib import Path

from ivr.artifacts import CONTROL_ARMS, ArtifactPaths
from ivr.console import LOG, set_up_logging
from ivr.disk.digest import sha256_file
from ivr.disk.leftovers import WRITTEN, WRITTEN_CORPORA, remove_leftovers
from ivr.disk.ownership import RECORD, adopt, remove_written
from ivr.errors import CorruptInputError, IvrError
from ivr.manifest import EVERY_STAGE, FileRecord, Manifest
from ivr.stage import artifacts_lock

CRASH_REPORT = re.compile(r"[a-z-]+-\d{8}-\d{6}-\d+\.txt")


def clean(root: Path) -> None:
    """Remove every output that a record or a manifest below `root` names; what was altered or brought stays."""
    paths = ArtifactPaths(root)
    if not root.is_dir():
        LOG.info("%s is not there", root)
        return
    with artifacts_lock(paths.lock, "clean"):
        remove_leftovers(root)
        outputs = {stage: _outputs(paths.manifest(stage)) for stage in EVERY_STAGE}
        rows = [row for recorded in outputs.values() for row in recorded or ()]
        _adopt(paths, rows)
        for folder in _recorded_folders(root):
            remove_written(folder)
        for row in rows:
            path = root / row.path
            if path.is_file() and sha256_file(path) == row.sha256:
                path.unlink()
            elif path.is_file():
                LOG.warning("%s stays: it was altered since it was written", path)
        for stage, recorded in outputs.items():
            if recorded is None:
                continue
            paths.manifest(stage).unlink(missing_ok=True)
            paths.manifest(stage).with_suffix(".jobs.json").unlink(missing_ok=True)
            paths.manifest(stage).with_name(f".{stage}.unfinished").unlink(missing_ok=True)
        _remove_machinery(paths)
        _remove_empty(root)
    _say_what_stays(root)


def _outputs(manifest: Path) -> list[FileRecord] | None:
    """What a manifest records; None where it is no manifest."""
    try:
        read = Manifest.read(manifest)
    except CorruptInputError as error:
        LOG.warning("%s; what it recorded stays where no directory has a record of its own", error)
        return None
    return read.outputs if read is not None else []


def _adopt(paths: ArtifactPaths, rows: list[FileRecord]) -> None:
    """Runs of before directories carried records: their manifests say what lies there."""
    replaced = (
        paths.cleaned_corpora, paths.heldout_corpora, paths.general_cleaned, paths.general_heldout, paths.base_model,
        paths.original_tokenizer, paths.distilled_tokenizer, paths.remapped_tokenizer, paths.aligned_model,
        paths.final_model,
    )  # fmt: skip
    for folder in replaced:
        below = {row.path: row for row in rows if (paths.root / row.path).is_relative_to(folder)}
        adopt(folder, {str((paths.root / path).relative_to(folder)): row.entry() for path, row in below.items()})


def _recorded_folders(root: Path) -> list[Path]:
    """The directories below `root` that carry a record of what was written into them."""
    found = []
    for top in WRITTEN:
        for folder, folders, names in os.walk(root / top):
            if top == "corpora" and Path(folder) in (root / "corpora", root / "corpora" / "general"):
                folders[:] = [name for name in folders if name in WRITTEN_CORPORA]
            if RECORD in names:
                found.append(Path(folder))
                folders.clear()
    return found


def _remove_machinery(paths: ArtifactPaths) -> None:
    """Stamps of make, locks, and the log and notes of training, which are of our names only."""
    controls = [paths.control(arm) for arm in CONTROL_ARMS]
    for training in (paths.training, *(control.training for control in controls)):
        begun = training / "checkpoints" / "unfinished.json"
        if begun.is_file():  # a training that did not finish
            begun.unlink()
            (training / "metrics.jsonl").unlink(missing_ok=True)
    for control in controls:
        control.manifest("train").with_name(".train.unfinished").unlink(missing_ok=True)
        control.lock.unlink(missing_ok=True)
    for report in paths.crash.glob("*-*-*.txt"):
        if CRASH_REPORT.fullmatch(report.name):
            report.unlink()
    for stamp in (paths.root / ".make").glob("*-[0-9]*.args"):
        stamp.unlink()
    for lock in (paths.root / "analysis" / "shards").glob(".part-*-of-*.lock"):
        lock.unlink()


def _remove_empty(root: Path) -> None:
    for top in (*WRITTEN, ".make", "crash"):
        for folder, _, _ in os.walk(root / top, topdown=False):
            if Path(folder) != root / "corpora" / "raw":
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()


def _say_what_stays(root: Path) -> None:
    staying = [path for path in sorted(root.iterdir()) if not path.name.startswith(".")]
    LOG.info("%s: what the run wrote is removed; %s", root, "nothing stays" if not staying else "what stays:")
    for path in staying:
        LOG.info("  %s", path)


def main() -> int:
    """The command line: one artifacts directory."""
    set_up_logging()
    try:
        clean(Path(sys.argv[1] if len(sys.argv) > 1 else "artifacts"))
    except IvrError as error:
        LOG.error("clean: %s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
