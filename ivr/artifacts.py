"""Where every artifact lies, and the only code that writes one.

A file is written beside its target, synced and renamed; a directory is staged whole and exchanged. `kill -9` at
any moment leaves the old artifact or the new one, never a part. Temporary names are `.NAME.ivr-PID`. A log alone grows
in place, line by line.
"""

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ivr.disk.digest import HASH_CHUNK_BYTES as HASH_CHUNK_BYTES
from ivr.disk.digest import sha256_file as sha256_file  # part of this module's interface
from ivr.disk.digest import sha256_json as sha256_json
from ivr.disk.exchange import exchange
from ivr.disk.written import RECORD, carry_over, check_replaceable, write_record
from ivr.errors import StaleInputError

# below an artifacts directory, where stages write
WRITTEN = (
    "corpora", "models", "tokenizers", "analysis", "embeddings", "training", "evaluation", "verification", "report",
    "manifests",
)  # fmt: skip
WRITTEN_CORPORA = frozenset({"cleaned", "heldout", "general", "sample"})
LEFTOVER = re.compile(r"\.(?P<target>.+)\.ivr-(?P<old>old-)?\d+")


@dataclass(frozen=True)
class ArtifactPaths:
    """The contract of names below one artifacts directory."""

    root: Path

    def manifest(self, stage: str) -> Path:
        return self.root / "manifests" / f"{stage}.json"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    # corpora ------------------------------------------------------------------------------------------------
    @property
    def raw_corpora(self) -> Path:
        return self.root / "corpora" / "raw"

    @property
    def sample_corpora(self) -> Path:
        """Text of the built-in sample: general/ and domain/, .jsonl."""
        return self.root / "corpora" / "sample"

    @property
    def cleaned_corpora(self) -> Path:
        """One .txt per source: UTF-8, LF, documents separated by a line `<|endoftext|>`."""
        return self.root / "corpora" / "cleaned"

    @property
    def heldout_corpora(self) -> Path:
        """The documents of the same sources that no stage learns from; same format."""
        return self.root / "corpora" / "heldout"

    @property
    def general_cleaned(self) -> Path:
        """General text to protect (may be absent); same format."""
        return self.root / "corpora" / "general" / "cleaned"

    @property
    def general_heldout(self) -> Path:
        return self.root / "corpora" / "general" / "heldout"

    @property
    def rejects(self) -> Path:
        """JSONL: every document or line left out, with file, line and reason."""
        return self.root / "corpora" / "rejects.jsonl"

    # model --------------------------------------------------------------------------------------------------
    @property
    def base_model(self) -> Path:
        """The pinned base model: config, weights and tokenizer, as `from_pretrained` takes it."""
        return self.root / "models" / "base"

    @property
    def aligned_model(self) -> Path:
        return self.root / "models" / "aligned"

    # analysis -----------------------------------------------------------------------------------------------
    @property
    def reports(self) -> Path:
        return self.root / "analysis" / "reports"

    @property
    def token_frequency(self) -> Path:
        return self.reports / "token_frequency.parquet"

    @property
    def pretoken_frequency(self) -> Path:
        return self.reports / "pretoken_frequency.parquet"

    @property
    def general_pretoken_frequency(self) -> Path:
        """The same table for the general text; absent when there is none."""
        return self.reports / "general_pretoken_frequency.parquet"

    @property
    def token_id_sequences(self) -> Path:
        return self.reports / "bpe_token_id_sequences.txt"

    @property
    def replacement_candidates(self) -> Path:
        return self.reports / "replacement_candidates.csv"

    @property
    def selection_log(self) -> Path:
        return self.reports / "selection_log.md"

    # tokenizers ---------------------------------------------------------------------------------------------
    @property
    def original_tokenizer(self) -> Path:
        return self.root / "tokenizers" / "original"

    @property
    def distilled_tokenizer(self) -> Path:
        return self.root / "tokenizers" / "distilled_unigram"

    @property
    def certificate(self) -> Path:
        return self.distilled_tokenizer / "certificate.json"

    @property
    def remapped_tokenizer(self) -> Path:
        return self.root / "tokenizers" / "remapped"

    @property
    def remap_rules(self) -> Path:
        return self.remapped_tokenizer / "remap_rules.yaml"

    # weights ------------------------------------------------------------------------------------------------
    @property
    def embeddings(self) -> Path:
        return self.root / "embeddings"

    @property
    def training(self) -> Path:
        return self.root / "training"

    @property
    def final_model(self) -> Path:
        return self.training / "final"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation" / "evaluation.json"

    @property
    def evaluated_documents(self) -> Path:
        """One row a held-out document and model: bytes, tokens, bits."""
        return self.root / "evaluation" / "documents.parquet"

    @property
    def report(self) -> Path:
        return self.root / "report"

    @property
    def crash(self) -> Path:
        """Tracebacks of faults of this program, for whoever can mend it; no stage reads them."""
        return self.root / "crash"


def check_there(root: Path) -> None:
    """For commands that only read: raises StaleInputError where there is no run to look at, and makes nothing."""
    if not root.is_dir():
        raise StaleInputError(f"there is no {root}; `ivr init --artifacts-dir {root}` begins a run there")


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
    are such as a person may edit, so that an edited one is kept when the directory is replaced (see ivr.disk.written).
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
