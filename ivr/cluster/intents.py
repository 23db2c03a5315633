"""Jobs that were about to be submitted when something ended the submission: found again by their comment.

`ivr submit` writes down what it is about to send, asks sbatch, and puts the ids in. Killed in between, or on a disk
that is full then, it leaves rows without an id. The comment of a job is the name of its folder, so Slurm can be asked
whether there is one.
"""

import contextlib
import dataclasses
import os
import signal
import time
from calendar import timegm
from collections.abc import Iterator, Sequence
from pathlib import Path

from ivr.cluster.records import Job
from ivr.cluster.slurm_command import slurm
from ivr.errors import ClusterError

UNKNOWN = "?"  # in the place of an id
SUBMITTING = "SUBMITTING"
GRACE_SECONDS = 120.0  # a submission that Slurm knows nothing of for so long never reached it
LATER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def with_id(job: Job, job_id: str) -> Job:
    """The row of an intent, once Slurm has given it an id."""
    return dataclasses.replace(
        job, job_id=job.job_id.replace(UNKNOWN, job_id), log=job.log.replace(UNKNOWN, job_id), state="PENDING"
    )


def settled(jobs: Sequence[Job], root: Path) -> list[Job]:
    """The same rows; those without an id have one where Slurm knows them, or are LOST after GRACE_SECONDS."""
    known: dict[str, str] = {}
    for folder in sorted({job.folder for job in jobs if job.state == SUBMITTING}):
        known[folder] = find_id(root / folder)
    return [_settled(job, known[job.folder]) if job.state == SUBMITTING else job for job in jobs]


def find_id(folder: Path) -> str:
    """The id of the job whose comment is this folder's name; empty where neither the folder nor Slurm knows one."""
    for name in ("*_submission.sh", "*_log.out", "*.exit"):  # what submitit, the job and its script leave in it
        ids = sorted(path.name.partition("_")[0].partition(".")[0] for path in folder.glob(name))
        ids = [job_id for job_id in ids if job_id.isdigit()]
        if ids:
            return ids[0]
    mine = f"--user={os.getuid()}"
    for command in (
        ["squeue", "--noheader", "--states=all", mine, "--format=%F|%k"],
        ["sacct", "--noheader", "--parsable2", "--allocations", f"--uid={os.getuid()}", "--format=JobID,Comment"],
    ):
        with contextlib.suppress(ClusterError):
            for line in slurm(command).stdout.splitlines():
                job_id, _, comment = line.strip().partition("|")
                if comment == folder.name:
                    return job_id.partition("_")[0]
    return ""


def _settled(job: Job, job_id: str) -> Job:
    if job_id:
        return with_id(job, job_id)
    age = time.time() - timegm(time.strptime(job.submitted_at, "%Y-%m-%dT%H:%M:%SZ"))
    if age < GRACE_SECONDS:
        return job
    return dataclasses.replace(job, state="LOST", reason="never reached Slurm")


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and the like come after the block, for this process and for what it starts in it.

    sbatch is done within seconds; a Ctrl-C that ended it half-way would leave a job that nobody has written down.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, LATER)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
