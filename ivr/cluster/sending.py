"""One submission: its folder, its rows, sbatch, in an order in which nothing that ends it leaves a job unknown."""

import secrets
import shlex
import shutil
import time
from collections.abc import Sequence
from typing import Any

from ivr.artifacts import ArtifactPaths
from ivr.cluster.environment import clean_environment
from ivr.cluster.intents import SUBMITTING, UNKNOWN, find_id, uninterrupted, with_id
from ivr.cluster.profile import Profile
from ivr.cluster.records import Job, add_jobs, forget_jobs, update_jobs
from ivr.console import LOG, redact
from ivr.errors import ClusterError


def send(
    profile: Profile, stage: str, lines: tuple[tuple[str, ...], ...], paths: ArtifactPaths, after: tuple[str, ...]
) -> list[Job]:
    """One sbatch. The rows are written down before it, and get their ids after it."""
    from ivr.cluster.executor import make_executor, plan_work, script_of, set_by_script

    work = plan_work(profile, stage, lines)
    # a folder of its own: a wiped cluster counts from 1 again, and submitit would find old results by their numbers
    folder = paths.root / "jobs" / f"{stage}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True)
    executor = make_executor(profile, work, folder, paths.root, after)
    options = set_by_script(script_of(executor, work))
    name = str(folder.relative_to(paths.root))
    intents = [
        Job(
            job_id=f"{UNKNOWN}_{task}" if work.is_array else UNKNOWN,
            stage=stage,
            command=redact(shlex.join(["ivr", *line])),
            profile=profile.name,
            folder=name,
            log=f"{name}/{UNKNOWN}{f'_{task}' if work.is_array else ''}_0_log.out",
            submitted_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            after=after,
            state=SUBMITTING,
        )
        for task, line in enumerate(lines)
    ]
    add_jobs(paths, intents)
    with uninterrupted():
        job_id = _ask_sbatch(executor, lines, options, intents, paths, profile)
        jobs = [with_id(job, job_id) for job in intents]
        update_jobs(paths, jobs)
    what = f"array {jobs[0].array_id} of {len(jobs)}" if work.is_array else f"job {jobs[0].job_id}"
    waits = f", after {', '.join(after)}" if after else ""
    LOG.info("submit: `ivr %s` is %s%s; logs in %s", stage, what, waits, folder)
    return jobs


def _ask_sbatch(
    executor: Any,
    lines: tuple[tuple[str, ...], ...],
    options: frozenset[str],
    intents: Sequence[Job],
    paths: ArtifactPaths,
    profile: Profile,
) -> str:
    """The id that Slurm gives. Raises ClusterError where it gives none; then nothing of the submission is left."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    from ivr.cluster.job import run_stage

    folder = paths.root / intents[0].folder
    try:
        with clean_environment(options):
            sent = executor.map_array(run_stage, [list(line) for line in lines])
        job_id = str(sent[0].job_id).partition("_")[0]
    except Exception as error:
        job_id = find_id(folder)  # it may have been taken all the same: an answer nobody could read, a full disk since
        if not job_id:
            forget_jobs(paths, intents)
            shutil.rmtree(folder)
            if not isinstance(error, FailedJobError | FailedSubmissionError):
                raise
            said = "; ".join(line for line in str(error).splitlines() if line.strip())
            raise ClusterError(f"sbatch refused (profile {profile.name!r}): {said}") from None
        LOG.warning("submit: job %s was taken, though %s", job_id, error)
    for link in folder.glob(".submission_file_*"):
        link.unlink()
    return job_id
