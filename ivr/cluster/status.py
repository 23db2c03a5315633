"""Stage `status`: the stages of a run and their Slurm jobs in one table."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from ivr.artifacts import ArtifactPaths, check_there
from ivr.cluster.folder import SharedFolder
from ivr.cluster.records import Job, latest_submission, read_jobs, replaced, update_jobs
from ivr.console import LOG, say
from ivr.errors import ClusterError
from ivr.options.declared import CommandConfig, option
from ivr.report.status import StageStatus, read_manifests, stage_statuses, status_table

DESCRIPTION = """\
Show which stages are done, missing or stale, when they ran, how long, and how large their outputs are; and, where
`ivr submit` sent one to Slurm, how its newest job stands, with the end of its log when it failed.

A stage is stale when an input is no longer what an earlier stage wrote last, when an output is gone, or when a
stage it rests on is stale itself. Sizes are compared, contents are not: `ivr check` reads every byte.
"""
EPILOG = """\
examples:
  ivr status
  ivr status --json --artifacts-dir runs/korean
"""


@dataclass(frozen=True)
class Config(CommandConfig):
    """Options of `ivr status`."""

    json: bool = option(
        False,
        "print a JSON list, one object a stage with a list of its jobs (default: print a table)",
        group="output",
    )


def run(config: Config) -> None:
    """Print on standard output. Takes no lock of the stages and may run beside one; writes only how jobs ended."""
    paths = ArtifactPaths(config.artifacts_dir)
    SharedFolder(paths.root).must_answer_now("`squeue --me` shows jobs without it")
    check_there(paths.root)
    rows = stage_statuses(config.artifacts_dir, read_manifests(paths))
    jobs = current_jobs(paths, [row.stage for row in rows])
    if config.json:
        both = [{**asdict(row), "jobs": [asdict(job) for job in jobs[row.stage]]} for row in rows]
        say(json.dumps(both, indent=2))
        return
    say(table(rows, jobs))
    LOG.info("status: sizes were compared, contents were not; `ivr check` reads every byte")
    for stage in jobs:
        newest = latest_submission(jobs[stage]) if jobs[stage] else []
        failed = [job for job in newest if job.ended and not job.succeeded]
        if failed:
            from ivr.cluster.watch import describe_failure

            say(f"\n{describe_failure(failed[0], paths.root)}")


def current_jobs(paths: ArtifactPaths, stages: Sequence[str]) -> dict[str, list[Job]]:
    """Stage -> its jobs, oldest first, as Slurm sees them now; as they were seen last where it does not answer."""
    jobs = {stage: read_jobs(paths, stage) for stage in stages}
    waiting = [job for rows in jobs.values() for job in rows if not job.ended]
    if not waiting:
        return jobs
    from ivr.cluster.states import look_up

    try:
        seen = look_up(waiting, paths.root)
    except ClusterError as error:
        LOG.warning("status: jobs are shown as they were seen last: %s", error)
        return jobs
    update_jobs(paths, seen)
    return {stage: replaced(rows, seen) for stage, rows in jobs.items()}


def table(rows: Sequence[StageStatus], jobs: Mapping[str, Sequence[Job]]) -> str:
    """The table of stages; with columns for the newest job of each where anything was ever submitted."""
    if not any(jobs.values()):
        return status_table(rows)
    cells = {stage: _cells(latest_submission(found)) for stage, found in jobs.items() if found}
    return status_table(rows, ("job", "job state", "turns", "exit"), cells)


def _cells(newest: Sequence[Job]) -> tuple[str, ...]:
    """job, job state, turns, exit."""
    states = Counter(job.state for job in newest)
    worst = [job for job in newest if job.ended and not job.succeeded]
    code = worst[0].exit_code if worst else newest[0].exit_code
    if len(newest) > 1:
        state = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        return f"{newest[0].array_id}[{len(newest)}]", state, "", "" if code is None else str(code)
    job = newest[0]
    reason = f" ({job.reason})" if job.reason and job.state == "PENDING" else ""
    where = f" on {job.node}" if job.node and not job.ended else ""
    return job.job_id, job.state + where + reason, str(job.restarts + 1), "" if code is None else str(code)
