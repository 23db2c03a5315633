"""What was submitted for a stage and what became of it: `manifests/<stage>.jobs.json`, newest last.

One row a job; the tasks of an array are rows of their own. Written by `ivr submit` and by `ivr status` when it learns
of an end, both under a lock of their own: a stage may be at work in the same artifacts directory.
"""

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ivr.artifacts import ArtifactPaths, write_json
from ivr.console import LOG
from ivr.errors import CorruptInputError
from ivr.machine.locks import directory_lock
from ivr.manifest import PIPELINE

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


def jobs_path(paths: ArtifactPaths, stage: str) -> Path:
    return paths.manifest(stage).with_name(f"{stage}.jobs.json")


def read_jobs(paths: ArtifactPaths, stage: str) -> list[Job]:
    """The rows of a stage; none where nothing was submitted."""
    path = jobs_path(paths, stage)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Job(**{**row, "after": tuple(row["after"])}) for row in rows]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptInputError(f"{path} is no list of jobs ({error!r}); delete it to forget them") from None


def latest_submission(jobs: Sequence[Job]) -> list[Job]:
    """The rows of the newest job or array."""
    return [job for job in jobs if job.array_id == jobs[-1].array_id and job.folder == jobs[-1].folder]


def unfinished(paths: ArtifactPaths, stages: Sequence[str] = PIPELINE) -> list[Job]:
    return [job for stage in stages for job in read_jobs(paths, stage) if not job.ended]


def add_jobs(paths: ArtifactPaths, new: Sequence[Job]) -> None:
    with _lock(paths):
        _write(paths, new[0].stage, [*read_jobs(paths, new[0].stage), *new])


def update_jobs(paths: ArtifactPaths, changed: Sequence[Job]) -> None:
    """Replace the rows with these ids and folders; nothing is written when nothing differs.

    Where it cannot be written (a full disk) it is said, and what was learnt is still shown.
    """
    try:
        with _lock(paths):
            for stage in sorted({job.stage for job in changed}):
                new = {(job.folder, job.job_id): job for job in changed if job.stage == stage}
                before = read_jobs(paths, stage)
                after = [new.get((job.folder, job.job_id), job) for job in before]
                if after != before:
                    _write(paths, stage, after)
    except OSError as error:
        LOG.warning("how the jobs stand cannot be written down: %s", error)


def _write(paths: ArtifactPaths, stage: str, jobs: Sequence[Job]) -> None:
    write_json(jobs_path(paths, stage), [dataclasses.asdict(job) for job in jobs])


def _lock(paths: ArtifactPaths) -> contextlib.AbstractContextManager[None]:
    return directory_lock(paths.root / "jobs" / ".lock", "submit", patience=PATIENCE_SECONDS)
