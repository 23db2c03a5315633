"""Every file of a run against what was recorded of it: what is damaged, missing, edited, or recorded by nobody.

Manifests and the notes of checkpoints, tokenised text and parts carry a checksum of their own text; all other files
have their hash in one of them. What a person brought (raw text, a model, a table that may be edited) is named apart:
a change there is no damage.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.artifacts import CONTROL_ARMS, ArtifactPaths
from ivr.disk.digest import HASH_CHUNK_BYTES
from ivr.disk.leftovers import LEFTOVER
from ivr.disk.ownership import RECORD, RecordFile
from ivr.errors import CorruptInputError
from ivr.manifest import EVERY_STAGE, FileFacts, Manifest
from ivr.schema import read_record

DAMAGED, MISSING = "damaged", "missing"  # these are damage; the others are said
EDITED, CHANGED, FOREIGN, UNSEALED = "edited", "changed", "foreign", "unsealed"
# what lies at or below these names is made by this stage
MAKERS = (
    ("corpora/cleaned", "init"),
    ("corpora/heldout", "init"),
    ("corpora/general/cleaned", "init"),
    ("corpora/general/heldout", "init"),
    ("corpora/sample", "init"),
    ("corpora/rejects.jsonl", "init"),
    ("models/base", "init"),
    ("tokenizers/original", "init"),
    ("tokenizers/distilled_unigram", "distill-tokenizer"),
    ("tokenizers/remapped", "remap"),
    ("analysis/reports/replacement_candidates.csv", "select"),
    ("analysis/reports/selection_log.md", "select"),
    ("analysis", "analyze"),
    ("models/aligned", "align"),
    ("embeddings", "align"),
    ("training", "train"),
    ("control", "control"),
    ("evaluation", "evaluate"),
    ("verification", "verify"),
    ("report", "report"),
)
# ours, but recorded by nobody: evidence of a divergence, what a person edited and a stage put aside
UNRECORDED = ("training/diverged/", *(f"control/{arm}/training/diverged/" for arm in CONTROL_ARMS))
FOLDERS = tuple(dict.fromkeys(name.partition("/")[0] for name, _ in MAKERS))


@dataclass(frozen=True)
class Expected:
    """A file as it should be. path: relative inside the artifacts directory, absolute outside."""

    path: str
    sha256: str
    bytes: int
    stage: str  # that recorded it
    mend: str
    otherwise: str = DAMAGED  # what it is when it differs: damaged, edited or changed


@dataclass(frozen=True)
class Finding:
    """One thing to say of one file."""

    path: str
    state: str
    reason: str
    mend: str
    stage: str = ""  # whose command mends it; empty where no command does

    @property
    def is_damage(self) -> bool:
        return self.state in (DAMAGED, MISSING)


@dataclass(frozen=True)
class Checked:
    """What came of a check: how much was read, and the findings, those of early stages first."""

    files: int
    bytes: int
    findings: list[Finding]

    @property
    def damage(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.is_damage]

    @property
    def stages(self) -> list[str]:
        """The stages to run again, in order."""
        return [stage for stage in EVERY_STAGE if any(finding.stage == stage for finding in self.damage)]


@dataclass(frozen=True)
class _JobList:
    """manifests/<stage>.jobs.json; what its rows say is a matter of `ivr.cluster`."""

    jobs: list[dict[str, Any]]
    checksum: str


def expected_files(paths: ArtifactPaths) -> tuple[list[Expected], list[Finding]]:
    """All files that records name, each once, and the records that are themselves damaged."""
    findings: list[Finding] = []
    manifests = dict(_read_manifests(paths, findings))
    files: dict[str, Expected] = {}
    for stage, manifest in manifests.items():
        mend = f"run `ivr {stage}` again"
        for row in manifest.outputs:
            edited = (EDITED, "yours to edit") if row.editable else (DAMAGED, mend)
            files[row.path] = Expected(row.path, row.sha256, row.bytes, stage, edited[1], edited[0])
    for stage, manifest in manifests.items():
        for row in manifest.inputs:
            if row.path in files or row.path.startswith("manifests/"):
                continue
            maker = maker_of(row.path)
            if not maker:  # a raw corpus, a model of elsewhere
                mend = f"`ivr {stage}` takes it as it is now"
                files[row.path] = Expected(row.path, row.sha256, row.bytes, stage, mend, CHANGED)
            elif maker in manifests:
                files[row.path] = Expected(row.path, row.sha256, row.bytes, maker, f"run `ivr {maker}` again")
    findings += _damaged_notes(paths)
    for file in _files_of_notes(paths, findings):
        files.setdefault(file.path, file)
    return list(files.values()), findings


def check(paths: ArtifactPaths, threads: int, on_bytes: Callable[[int], None]) -> Checked:
    """Read every file of the run; `on_bytes` is told how many were read."""
    files, findings = expected_files(paths)
    lock = threading.Lock()

    def tell(num_bytes: int) -> None:
        with lock:
            on_bytes(num_bytes)

    with ThreadPoolExecutor(threads) as pool:
        compared = pool.map(lambda file: _compare(paths.root, file, tell), files)
        findings += [finding for finding in compared if finding is not None]
    findings += _foreign(paths, {file.path for file in files})
    findings.sort(key=lambda one: (not one.is_damage, [*EVERY_STAGE, ""].index(one.stage), one.path))
    return Checked(len(files), sum(file.bytes for file in files), findings)


def maker_of(path: str) -> str:
    """The stage that makes what lies at this path of a run; empty for what a person brings.

    >>> maker_of("models/base/config.json"), maker_of("corpora/raw/a.txt"), maker_of("/data/a.txt")
    ('init', '', '')
    """
    return next((stage for name, stage in MAKERS if f"{path}/".startswith(f"{name}/")), "")


def _read_manifests(paths: ArtifactPaths, findings: list[Finding]) -> Iterator[tuple[str, Manifest]]:
    for stage in EVERY_STAGE:
        path = paths.manifest(stage)
        mend = f"run `ivr {stage}` again"
        name = str(path.relative_to(paths.root))
        try:
            manifest = Manifest.read(path)
        except (CorruptInputError, OSError) as error:
            findings.append(Finding(name, DAMAGED, str(error), mend, stage))
            continue
        if manifest is None:
            continue
        if manifest.stage != stage:
            findings.append(Finding(name, DAMAGED, f"it is the manifest of {manifest.stage!r}", mend, stage))
            continue
        if not manifest.checksum:
            reason = "an earlier version wrote it, without a checksum: a flipped bit in it would not be seen"
            findings.append(Finding(name, UNSEALED, reason, f"`ivr {stage} --force` writes one"))
        yield stage, manifest


def _damaged_notes(paths: ArtifactPaths) -> Iterator[Finding]:
    """Lists of Slurm jobs, and of what was written into a directory, whose text is not that of their checksum."""
    jobs = (paths.manifest(stage).with_suffix(".jobs.json") for stage in EVERY_STAGE)
    notes: list[tuple[Path, Any, str]] = [(path, _JobList, "delete it to forget these jobs") for path in jobs]
    for path in sorted(path for folder in FOLDERS for path in (paths.root / folder).rglob(RECORD)):
        notes.append((path, RecordFile, "delete it: the manifest lists these files, too"))
    for path, schema, mend in notes:
        try:
            if path.exists():
                read_record(path, schema, mend)
        except CorruptInputError as error:
            yield Finding(_name(path, paths.root), DAMAGED, str(error), mend)


def _files_of_notes(paths: ArtifactPaths, findings: list[Finding]) -> Iterator[Expected]:
    """What the notes of checkpoints, tokenised text and parts of `analyze` say of the files beside them."""
    from ivr.analysis.shards import FACTS, read_part_facts
    from ivr.corpus.packing import FACTS_FILE, read_facts
    from ivr.training.checkpoints import MARKER, UNFINISHED, read_marker, read_note

    def named(folder: Path, note: str, read: Callable[[Path], Iterable[tuple[str, str, int]]]) -> Iterator[Expected]:
        stage = maker_of(str(folder.relative_to(paths.root)))
        mend = f"delete {folder}: `ivr {stage}` does without it or makes it again"
        try:
            rows = list(read(folder))
        except FileNotFoundError:
            findings.append(Finding(_name(folder / note, paths.root), MISSING, "it is gone", mend))
        except (CorruptInputError, OSError) as error:
            findings.append(Finding(_name(folder / note, paths.root), DAMAGED, str(error), mend))
        else:
            for name, sha256, size in rows:
                yield Expected(_name(folder / name, paths.root), sha256, size, "", mend)

    for training in (paths.training, *(paths.control(arm).training for arm in CONTROL_ARMS)):
        checkpoints = training / "checkpoints"
        for folder in sorted(checkpoints.glob("*/step-*")):
            yield from named(folder, MARKER, lambda at: _rows(read_marker(at).files))
        if (checkpoints / UNFINISHED).exists():
            try:
                read_note(checkpoints)
            except CorruptInputError as error:
                mend = f"delete {checkpoints / UNFINISHED}"
                findings.append(Finding(_name(checkpoints / UNFINISHED, paths.root), DAMAGED, str(error), mend))
        for folder in sorted((training / "data").glob("*")):
            yield from named(folder, FACTS_FILE, lambda at: read_facts(at).rows())
    for folder in sorted((paths.root / "analysis" / "shards").glob("part-*")):
        yield from named(folder, FACTS, lambda at: _rows(read_part_facts(at).files))


def _rows(files: Mapping[str, FileFacts]) -> list[tuple[str, str, int]]:
    return [(name, facts.sha256, facts.bytes) for name, facts in files.items()]


def _name(path: Path, root: Path) -> str:
    return str(path.relative_to(root))


def _compare(root: Path, file: Expected, on_bytes: Callable[[int], None]) -> Finding | None:
    path = root / file.path
    stage = file.stage if file.otherwise == DAMAGED else ""
    try:
        size = path.stat().st_size
        if size != file.bytes:
            reason = f"{size:,} bytes, recorded {file.bytes:,}"
            return Finding(file.path, file.otherwise, reason, file.mend, stage)
        found = _sha256(path, on_bytes)
    except FileNotFoundError:
        if file.otherwise == CHANGED:
            return Finding(file.path, CHANGED, "it is no longer there", file.mend)
        mend = file.mend if file.otherwise == DAMAGED else f"run `ivr {file.stage}` again"
        return Finding(file.path, MISSING, "it is gone", mend, file.stage)
    except OSError as error:
        return Finding(file.path, DAMAGED, f"it cannot be read: {error.strerror}", file.mend, file.stage)
    if found == file.sha256:
        return None
    return Finding(file.path, file.otherwise, f"sha256 {found[:16]}, recorded {file.sha256[:16]}", file.mend, stage)


def _sha256(path: Path, on_bytes: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
            on_bytes(len(chunk))
    return digest.hexdigest()


def _foreign(paths: ArtifactPaths, recorded: set[str]) -> list[Finding]:
    """Files in the folders of a run that no record names."""
    notes = {"complete.json", "unfinished.json", "tokens.json", "part.json"}
    found = []
    for folder in FOLDERS:
        for path in _files(paths.root / folder, skipped=paths.raw_corpora):
            name = _name(path, paths.root)
            is_note = path.name in notes and maker_of(name) in ("train", "control", "analyze")
            if name in recorded or is_note or name.startswith(UNRECORDED) or path.name.endswith(".edited"):
                continue
            maker = maker_of(name)
            if maker and not paths.manifest(maker).exists():
                mend = f"`ivr {maker}` has not finished here; run it"
            else:
                mend = "no stage wrote it; move it elsewhere if it is yours"
            found.append(Finding(name, FOREIGN, "recorded by nobody", mend))
    return found


def _files(folder: Path, skipped: Path) -> Iterator[Path]:
    """Files below `folder`; of what begins with a dot only what a killed stage left half-written."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != "." and Path(parent, name) != skipped)
        yield from (Path(parent, name) for name in sorted(names) if name[0] != ".")


def leftovers(root: Path) -> Sequence[Path]:
    """What killed stages left half-written; the next stage removes it."""
    found = []
    for parent, folders, names in os.walk(root):
        found += [Path(parent, name) for name in [*folders, *names] if LEFTOVER.fullmatch(name)]
        folders[:] = [name for name in folders if not LEFTOVER.fullmatch(name)]
    return sorted(found)
