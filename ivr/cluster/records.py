"""What was submitted for a stage and what became of it: `manifests/<stage>.jobs.json`, newest last.

One row a job; the tasks of an array are rows of their own. The file carries a checksum of its own text. Written by
`ivr submit` and by `ivr status` when it learns of an end, both under a lock of their own: a stage may be at work in the
same artifacts directory.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ivr.artifacts import ArtifactPaths
from ivr.console import LOG
from ivr.errors import CorruptInputError
from ivr.machine.locks import directory_lock
from ivr.manifest import PIPELINE
from ivr.schema import read_record, write_sealed

PATIENCE_SECONDS = 60.0  # for another `ivr submit` or `ivr status`, which holds the list for moments

ENDED = frozenset(
    {
        *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"),
        *("PREEMPTED", "REVOKED", "LOST"),
    }
)


@dataclass(frozen=True)
class Job:
    """One row. `job_id` is 123, or 123_4 for a task of an array."""

    job_id: str
    stage: str
    command: str
    profile: str
    folder: str  # relative to the artifacts directory: script, logs, exit code
    log: str
    submitted_at: str
    after: tuple[str, ...] = ()
    state: str = "PENDING"
    reason: str = ""
    exit_code: int | None = None
    node: str = ""
    restarts: int = 0

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def succeeded(self) -> bool:
        return self.state == "COMPLETED"

    @property
    def array_id(self) -> str:
        return self.job_id.partition("_")[0]


@dataclass(frozen=True)
class _Jobs:
    """The file. checksum: of its text, see ivr.schema."""

    jobs: tuple[Job, ...]
    checksum: str


def jobs_path(paths: ArtifactPaths, stage: str) -> Path:
    return paths.manifest(stage).with_name(f"{stage}.jobs.json")


def read_jobs(paths: ArtifactPaths, stage: str) -> list[Job]:
    """The rows of a stage; none where nothing was submitted."""
    path = jobs_path(paths, stage)
    try:
        jobs = list(read_record(path, _Jobs, "delete it to forget these jobs").jobs)
    except FileNotFoundError:
        return []
    for name in [name for job in jobs for name in (job.folder, job.log)]:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise CorruptInputError(f"{path}: {name!r} lies outside of the run; delete it to forget these jobs")
    return jobs


def latest_submission(jobs: Sequence[Job]) -> list[Job]:
    """The rows of the newest job or array."""
    return [job for job in jobs if job.array_id == jobs[-1].array_id and job.folder == jobs[-1].folder]


def unfinished(paths: ArtifactPaths, stages: Sequence[str] = PIPELINE) -> list[Job]:
    return [job for stage in stages for job in read_jobs(paths, stage) if not job.ended]


def add_jobs(paths: ArtifactPaths, new: Sequence[Job]) -> None:
    with _lock(paths):
        _write(paths, new[0].stage, [*read_jobs(paths, new[0].stage), *new])


def replaced(rows: Sequence[Job], changed: Sequence[Job]) -> list[Job]:
    """The rows, those among them that have changed as they are now. One that had no id yet is known by folder and task.

    >>> row = Job("?_3", "train", "", "", "jobs/a", "", "", state="SUBMITTING")
    >>> [job.job_id for job in replaced([row], [dataclasses.replace(row, job_id="17_3")])]
    ['17_3']
    """
    by_id = {(job.folder, job.job_id): job for job in changed}
    by_task = {(job.folder, job.job_id.partition("_")[2]): job for job in changed}
    return [
        by_id.get((job.folder, job.job_id))
        or (by_task.get((job.folder, job.job_id.partition("_")[2])) if job.job_id.startswith("?") else None)
        or job
        for job in rows
    ]


def forget_jobs(paths: ArtifactPaths, gone: Sequence[Job]) -> None:
    """Take out rows of a submission that never was."""
    with _lock(paths):
        stay = [job for job in read_jobs(paths, gone[0].stage) if job not in gone]
        if stay:
            _write(paths, gone[0].stage, stay)
        else:
            jobs_path(paths, gone[0].stage).unlink(missing_ok=True)


def update_jobs(paths: ArtifactPaths, changed: Sequence[Job]) -> None:
    """Replace the rows with these ids and folders; nothing is written when nothing differs.

    Where it cannot be written (a full disk) it is said, and what was learnt is still shown.
    """
    try:
        with _lock(paths):
            for stage in sorted({job.stage for job in changed}):
                before = read_jobs(paths, stage)
                after = replaced(before, changed)
                if after != before:
                    _write(paths, stage, after)
    except OSError as error:
        LOG.warning("how the jobs stand cannot be written down: %s", error)


def _write(paths: ArtifactPaths, stage: str, jobs: Sequence[Job]) -> None:
    write_sealed(jobs_path(paths, stage), {"jobs": [dataclasses.asdict(job) for job in jobs]})


def _lock(paths: ArtifactPaths) -> contextlib.AbstractContextManager[None]:
    return directory_lock(paths.root / "jobs" / ".lock", "submit", patience=PATIENCE_SECONDS)
