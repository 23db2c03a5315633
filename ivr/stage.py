"""What every stage does before and after its own work: lock, input hashes, is it current, manifest.

    def run(config: Config) -> Manifest:
        paths = ArtifactPaths(config.artifacts_dir)
        with open_stage("analyze", config, inputs=[Input(paths.cleaned_corpora, made_by="init")]) as stage:
            if stage.current:
                return stage.manifest
            ...                                     # the work; files through ivr.disk.writer only
            stage.replaces(paths.token_frequency)   # refuses where a person's file would be lost
            stage.results["tokens"] = 12            # figures for `ivr report` and `ivr status`
            return stage.finish([paths.token_frequency])

A config is a frozen dataclass derived from ivr.options.declared.StageConfig. An option that cannot change the result (a
number of processes) is declared with `identity=False` and does not make the stage stale; one that came later, with
`since`, has a value that stands for what was done before.
"""

import contextlib
import dataclasses
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

from ivr.artifacts import ArtifactPaths
from ivr.console import LOG, redact
from ivr.disk.digest import sha256_file, sha256_json
from ivr.disk.leftovers import remove_leftovers
from ivr.disk.ownership import adopt, check_replaceable, keep_aside
from ivr.disk.writer import write_json
from ivr.errors import ConfigError, CorruptInputError, StaleInputError
from ivr.inputs import Input as Input  # part of this module's interface
from ivr.inputs import absolute, check_recorded, describe, describe_file, relative
from ivr.inputs import check_present as check_present
from ivr.machine.locks import directory_lock
from ivr.manifest import FileRecord, git_commit, package_versions
from ivr.manifest import Manifest as Manifest  # part of this module's interface
from ivr.manifest import peak_memory_bytes as peak_memory_bytes
from ivr.schema import read_record
from ivr.versions import package_remark, stage_version, why_outdated


class Stage:
    """One run of one stage; made by `open_stage`."""

    def __init__(self, name: str, config: Any, manifest_path: Path, root: Path) -> None:
        self.name, self.config, self.root = name, config, root
        self.manifest_path = manifest_path
        self._unfinished = manifest_path.with_name(f".{name}.unfinished")
        self._unfinished_targets = _read_targets(self._unfinished)
        self._kept_aside: list[tuple[Path, Path]] = []  # an output, and what stood at its place before
        self.results: dict[str, Any] = {}
        self.inputs: list[FileRecord] = []
        self.previous, self._damaged = _read_previous(name, manifest_path)
        self._started = time.monotonic()
        self._started_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    @property
    def identity(self) -> str:
        return sha256_json(config_identity(self.config))

    @property
    def manifest(self) -> Manifest:
        assert self.previous is not None
        return self.previous

    @property
    def current(self) -> bool:
        """True when a finished run of this version had the same config and inputs, and its outputs are what it wrote.

        Says so, and touches the manifest so that make, which sees only times, agrees.
        """
        previous = self.previous
        if previous is None or self.config.force:
            return False
        here = package_versions()
        if outdated := why_outdated(self.name, previous.version, previous.versions, here):
            LOG.info("%s: %s, running again", self.name, outdated)
            return False
        if previous.identity != self.identity:
            LOG.info("%s: options changed, running again", self.name)
            return False
        if previous.inputs != self.inputs:
            LOG.info("%s: inputs changed, running again", self.name)
            return False
        for output in previous.outputs:
            path = absolute(output.path, self.root)
            if not path.is_file():
                LOG.info("%s: %s is gone, running again", self.name, path)
                return False
            if not output.editable and (path.stat().st_size != output.bytes or sha256_file(path) != output.sha256):
                LOG.info("%s: %s was altered, running again", self.name, path)
                return False
        if remark := package_remark(self.name, previous.versions, here):
            LOG.warning("%s: %s; kept as it is (--force runs it again)", self.name, remark)
        LOG.info("%s: current, nothing to do (--force runs it again)", self.name)
        os.utime(self.manifest_path)
        # of a run that was killed when its manifest was written: what is edited from now on is a person's
        self._unfinished.unlink(missing_ok=True)
        return True

    def replaces(self, *targets: Path) -> None:
        """Before any work: see to it that nothing at the places of the outputs is lost that this stage did not write.

        Refuses (ConfigError) what a person put there. An output that was altered since is kept beside it as
        NAME.edited. Where a run was killed between this and `finish`, what stands at these places is its own.
        """
        for target in targets:
            rows = self._recorded_below(target)
            if target.is_dir():
                adopt(target, {name: {"bytes": row.bytes, "sha256": row.sha256} for name, row in rows.items()})
                check_replaceable(target)
            elif target.exists() and self._relative(target) not in self._unfinished_targets:
                row = rows.get(".")
                if row is None and not self._damaged:
                    raise ConfigError(
                        f"{target} is there, `ivr {self.name}` did not write it, and would replace it; "
                        "move it elsewhere"
                    )
                if row is None or sha256_file(target) != row.sha256:
                    self._keep_aside(target)
        self._begin(targets)

    def protect_edits(self, path: Path) -> None:
        """Before an editable output is replaced: refuse when a person changed it, or keep it with --force.

        Where a run was killed between this and `finish`, the file may be its own: it is kept aside, not refused. So
        it is where the manifest is damaged and nobody knows what was written.
        """
        row = self._recorded_below(path).get(".")
        if not path.is_file() or (row is not None and sha256_file(path) == row.sha256):
            self._begin([path])
            return
        unknown = self._damaged or self._relative(path) in self._unfinished_targets
        if not self.config.force and not unknown:
            what = "was edited since" if row else "is not what"
            raise StaleInputError(
                f"{path} {what} `ivr {self.name}` wrote{' it' if row else ''}, and would be replaced; "
                f"`ivr {self.name} --force` replaces it and keeps the edited one as {path.name}.edited"
            )
        self._begin([path])
        self._keep_aside(path)

    def _keep_aside(self, path: Path) -> None:
        if (kept := keep_aside(path)) is not None:
            self._kept_aside.append((path, kept))
            LOG.warning("%s: %s is not what was recorded; kept as %s", self.name, path, kept.name)

    def _drop_equal_copies(self) -> None:
        """Of what this run kept aside, remove what its own outputs equal: a run before this was killed after it had
        written them, and nothing is lost.
        """
        for path, kept in self._kept_aside:
            if path.is_file() and sha256_file(path) == sha256_file(kept):
                kept.unlink()
                LOG.info("%s: %s is gone again: %s is the same", self.name, kept.name, path.name)

    def _relative(self, path: Path) -> str:
        return relative(path, self.root)

    def _recorded_below(self, target: Path) -> dict[str, FileRecord]:
        """The recorded outputs at (`.`) or below `target`, by their paths below it."""
        recorded = self.previous.outputs if self.previous else []
        place = PurePath(self._relative(target))
        rows = ((PurePath(row.path), row) for row in recorded)
        return {str(path.relative_to(place)): row for path, row in rows if path.is_relative_to(place)}

    def _begin(self, targets: Sequence[Path]) -> None:
        """Note on disk that from now on what stands at `targets` is of this stage."""
        self._unfinished_targets |= {self._relative(target) for target in targets}
        write_json(self._unfinished, sorted(self._unfinished_targets))

    def finish(self, outputs: Sequence[Path], editable: Sequence[Path] = ()) -> Manifest:
        """Write the manifest, last of all. Directories among `outputs` are recorded file by file.

        `editable`: files that a person may change; they may lie in a directory of `outputs`.
        """
        changeable = [dataclasses.replace(row, editable=True) for row in describe(editable, self.root)]
        names = {row.path for row in changeable}
        manifest = Manifest(
            stage=self.name,
            argv=redact(shlex.join(["ivr", *sys.argv[1:]])),
            config={key: _without_secrets(_plain(value)) for key, value in dataclasses.asdict(self.config).items()},
            identity=self.identity,
            inputs=self.inputs,
            outputs=[row for row in describe(outputs, self.root) if row.path not in names] + changeable,
            results=self.results,
            versions=package_versions(),
            git_commit=git_commit(),
            host=socket.gethostname(),
            slurm={key: value for key, value in sorted(os.environ.items()) if key.startswith("SLURM_JOB")},
            started_at=self._started_at,
            wall_seconds=round(time.monotonic() - self._started, 3),
            peak_memory_bytes=peak_memory_bytes(),
            version=stage_version(self.name),
        )
        self._drop_equal_copies()
        manifest.write(self.manifest_path)
        self._unfinished.unlink(missing_ok=True)
        LOG.info(
            "%s: done in %.1f s, peak memory %.2f GiB",
            self.name,
            manifest.wall_seconds,
            manifest.peak_memory_bytes / 2**30,
        )
        return manifest


def _read_previous(name: str, path: Path) -> tuple[Manifest | None, bool]:
    """(the stage's own last manifest, whether one is there that cannot be read: then the stage runs again)."""
    try:
        return Manifest.read(path), False
    except CorruptInputError as error:
        LOG.warning("%s: %s", name, error)
        return None, True


@contextlib.contextmanager
def open_stage(name: str, config: Any, inputs: Sequence[Input]) -> Iterator[Stage]:
    """Lock the artifacts directory, check and hash the inputs, yield the stage.

    Raises StaleInputError for an input that is missing or not what its stage recorded, TryAgainError when another
    process holds the lock.
    """
    root = Path(config.artifacts_dir)
    paths = ArtifactPaths(root)
    if not root.exists():
        check_present(name, inputs)  # before a directory is made for nothing
    with artifacts_lock(paths.lock, name):
        remove_leftovers(root)
        if paths.manifest(name).is_dir():
            raise ConfigError(f"{paths.manifest(name)} is a directory, and a file is to be written there; move it away")
        stage = Stage(name, config, paths.manifest(name), root)
        present = check_present(name, inputs)
        stage.inputs = [describe_file(path, root) for item in present for path in item.files()]
        check_recorded(paths, present, stage.inputs)
        yield stage


def _read_targets(path: Path) -> set[str]:
    """What an unfinished run noted that it would replace."""
    try:
        return set(read_record(path, list[str], ""))
    except (FileNotFoundError, CorruptInputError):
        return set()


def artifacts_lock(path: Path, name: str, shared: bool = False) -> contextlib.AbstractContextManager[None]:
    """Hold the one lock of an artifacts directory. Raises TryAgainError, naming the holder, when it is taken.

    It goes with the process, however that ends. `shared`: beside others that share it, too.
    """
    return directory_lock(path, name, shared)


def config_identity(config: Any) -> dict[str, Any]:
    """The options that can change the result."""
    return {
        item.name: _plain(getattr(config, item.name))
        for item in dataclasses.fields(config)
        if is_identity(config, item)
    }


def is_identity(config: Any, item: "dataclasses.Field[Any]") -> bool:
    """Whether this option's value can change the result, and is not what was done before there was the option."""
    is_as_before = "since" in item.metadata and getattr(config, item.name) == item.metadata["since"]
    return item.metadata.get("identity", True) and not is_as_before


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    return redact(value) if isinstance(value, str) else value
