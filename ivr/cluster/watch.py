"""Waiting for jobs: their log as it grows, their states, and what to say of one that failed."""

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ivr.artifacts import ArtifactPaths
from ivr.cluster.folder import SharedFolder
from ivr.cluster.intents import SUBMITTING
from ivr.cluster.records import Job, read_jobs, update_jobs
from ivr.cluster.states import look_up
from ivr.console import LOG, show_log
from ivr.errors import ClusterError

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 15.0
LAST_LINES = 20
FULL_BYTES = 1 << 20  # so little that a log or a record finds no room either
SECONDS_WITHOUT_SLURM = 600
SECONDS_TO_STOP = (
    180  # Slurm looks at dependencies in its scheduling cycle, every minute unless the site says otherwise
)
HINTS = {
    "TIMEOUT": "the time limit of the profile was too short, or warning_seconds for a whole step and a checkpoint; "
    "`ivr train` goes on from its last checkpoint when it is submitted again",
    "OUT_OF_MEMORY": "give it more `memory` in the profile",
    "NODE_FAIL": "its node died, and Slurm did not requeue it",
    "CANCELLED": "someone cancelled it, or a job it waited for failed",
    "LOST": "Slurm knows nothing of it any more, and it left no exit code",
}


class LeftRunningError(ClusterError):
    """Nobody waits any more; the jobs go on."""

    exit_code = 130


class JobFailedError(ClusterError):
    """A job has ended, and not well: Slurm's last word, not a lack of one."""


def wait_for(jobs: Sequence[Job], paths: ArtifactPaths) -> list[Job]:
    """Wait until all have ended, showing the first one's log.

    Raises JobFailedError when one failed, ClusterError when Slurm or the folder is silent for too long.
    """
    folder = SharedFolder(paths.root / "jobs")
    log = LogTail(paths.root / jobs[0].log)
    pause, answered, said = FIRST_PAUSE_SECONDS, time.monotonic(), ""
    while True:
        folder.must_answer(_what_hangs(jobs, paths))
        try:
            jobs = look_up(jobs, paths.root)
            answered = time.monotonic()
        except ClusterError as error:
            if time.monotonic() - answered > SECONDS_WITHOUT_SLURM:
                raise
            LOG.warning("submit: %s; asking again", error)
        update_jobs(paths, jobs)
        now = summary(jobs)
        if now != said:
            LOG.info("submit: %s", now)
            said, pause = now, FIRST_PAUSE_SECONDS
        log.show()
        if all(job.ended for job in jobs):
            break
        _rest(pause, folder, log, jobs, paths)
        pause = min(pause * 1.2, LONGEST_PAUSE_SECONDS)
    failed = [job for job in jobs if not job.succeeded]
    if failed:
        # the log of the first one stands above already
        raise JobFailedError(
            "\n".join(describe_failure(job, paths.root, shown=job.log == jobs[0].log) for job in failed[:3])
        )
    return list(jobs)


def wait_until_stopped(
    jobs: Sequence[Job], paths: ArtifactPaths, seconds: float = SECONDS_TO_STOP
) -> tuple[list[Job], list[Job]]:
    """Wait, not longer than `seconds`, until Slurm has cancelled what cannot start any more, and write it down.

    Slurm knows that a job failed before it looks at those that wait for it: until then they are PENDING. Returns
    (those that have ended, those that have not).
    """
    end, pause = time.monotonic() + seconds, FIRST_PAUSE_SECONDS
    while True:
        with contextlib.suppress(ClusterError):
            jobs = look_up(jobs, paths.root)
            update_jobs(paths, jobs)
        if all(job.ended for job in jobs) or time.monotonic() >= end:
            break
        time.sleep(pause)
        pause = min(pause * 1.2, LONGEST_PAUSE_SECONDS)
    return [job for job in jobs if job.ended], [job for job in jobs if not job.ended]


def _rest(seconds: float, folder: SharedFolder, log: "LogTail", jobs: Sequence[Job], paths: ArtifactPaths) -> None:
    """Leave Slurm in peace for a while; less long when the scripts of all jobs have left their exit codes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(seconds, 1.0))
        folder.must_answer(_what_hangs(jobs, paths))
        log.show()
        if all(job.ended or (paths.root / job.folder / f"{job.job_id}.exit").exists() for job in jobs):
            return


def _what_hangs(jobs: Sequence[Job], paths: ArtifactPaths) -> str:
    """Said without a look at the folder."""
    ids = " ".join(dict.fromkeys(job.array_id for job in jobs if not job.ended)) or jobs[0].array_id
    return (
        f"{summary(jobs)} when it did last; what writes there hangs with it, until the folder is back or the time "
        f"limit. Then attach: `ivr submit --attach {jobs[0].array_id} --artifacts-dir {paths.root}`; or `scancel {ids}`"
    )


def summary(jobs: Sequence[Job]) -> str:
    """`job 12 RUNNING on n1`, or for an array `job 12: 3 COMPLETED, 1 RUNNING`."""
    if len(jobs) > 1:
        counts = Counter(job.state for job in jobs)
        return f"job {jobs[0].array_id}: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    job = jobs[0]
    where = f" on {job.node}" if job.node and job.state != "PENDING" else ""
    why = f" ({job.reason})" if job.reason and job.state == "PENDING" else ""
    turns = f", turn {job.restarts + 1}" if job.restarts else ""
    return f"job {job.job_id} {job.state}{where}{why}{turns}"


def how_to_come_back(jobs: Sequence[Job], paths: ArtifactPaths) -> str:
    """What to type later; to cancel, all unfinished jobs of the stage: an array and the one that joins its parts."""
    last = jobs[-1].array_id
    open_ids = dict.fromkeys(
        job.array_id for job in read_jobs(paths, jobs[-1].stage) if not job.ended and job.state != SUBMITTING
    )
    ids = " ".join(open_ids) or last
    return (
        f"job {ids} goes on. Attach: `ivr submit --attach {last} --artifacts-dir {paths.root}`; "
        f"look: `ivr status --artifacts-dir {paths.root}`; cancel: `scancel {ids}`"
    )


def describe_failure(job: Job, root: Path, shown: bool = False) -> str:
    """One message: which job, how it ended, what that means, and the last lines of its log unless they are `shown`."""
    code = "" if job.exit_code in (None, 0) else f", exit code {job.exit_code}"
    where = f" on {job.node}" if job.node else ""
    hint = f": {HINTS[job.state]}" if job.state in HINTS else ""
    text = f"job {job.job_id} (`ivr {job.stage}`) ended as {job.state}{code}{where}{hint}"
    if shutil.disk_usage(root).free < FULL_BYTES:
        text += f" (No space left on device: the file system of {root} is full; make room and submit it again)"
    lines = last_lines(root / job.log)
    if lines and shown:
        return f"{text}; its log is {root / job.log}"
    if lines:
        return "\n  ".join([f"{text}; the end of {root / job.log}:", *lines])
    if job.node:
        return f"{text}; it wrote no {root / job.log}: is that folder there on {job.node}, and may it be written?"
    return f"{text}; it never started"


def last_lines(path: Path, count: int = LAST_LINES) -> list[str]:
    """The end of a log; nothing where there is none."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - 200 * count))
            return stream.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


class LogTail:
    """Prints on stderr what was appended to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = 0

    def show(self) -> None:
        try:
            with self.path.open("rb") as stream:
                stream.seek(self._seen)
                text = stream.read()
        except FileNotFoundError:
            return
        self._seen += len(text)
        show_log(text.decode(errors="replace"))
