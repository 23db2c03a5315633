"""How jobs stand: from slurmctld while it knows them, then from the accounting, then from what the script left.

`scontrol` knows a job until some minutes after its end (MinJobAge), `sacct` for months where there is a slurmdbd.
"""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ivr.cluster.intents import SUBMITTING, settled
from ivr.cluster.records import Job
from ivr.cluster.slurm_command import said, slurm
from ivr.errors import ClusterError

_FIELD = re.compile(r"(?<!\S)(JobId|ArrayJobId|ArrayTaskId|JobState|Reason|ExitCode|Restarts|NodeList|Comment)=(\S*)")


@dataclass(frozen=True)
class _Seen:
    state: str
    reason: str = ""
    exit_code: int | None = None
    node: str = ""
    restarts: int | None = None


def look_up(jobs: Sequence[Job], root: Path) -> list[Job]:
    """The same jobs as they stand now. Ended ones are not asked for. Raises ClusterError when Slurm does not answer."""
    seen: dict[str, _Seen] = {}
    jobs = settled(jobs, root)
    waiting = [job for job in jobs if not job.ended and job.state != SUBMITTING]
    for array_id in sorted({job.array_id for job in waiting}):
        comment = Path(next(job.folder for job in waiting if job.array_id == array_id)).name
        seen |= _from_controller(array_id, comment)
    missing = [job for job in waiting if job.job_id not in seen]
    if missing:
        seen = _from_accounting(missing) | seen
    asked = set(waiting)
    return [_updated(job, seen.get(job.job_id), root) if job in asked else job for job in jobs]


def _updated(job: Job, seen: _Seen | None, root: Path) -> Job:
    left = _exit_file(root / job.folder / f"{job.job_id}.exit")
    if seen is None:  # Slurm has forgotten it, or it never was this cluster's
        state = "LOST" if left is None else "COMPLETED" if left == 0 else "FAILED"
        return dataclasses.replace(job, state=state, reason="", exit_code=left)
    return dataclasses.replace(
        job,
        state=seen.state,
        reason="" if seen.reason in ("None", "") else seen.reason,
        exit_code=seen.exit_code if seen.state not in ("PENDING", "RUNNING") else None,
        node=seen.node or job.node,
        restarts=job.restarts if seen.restarts is None else seen.restarts,
    )


def _exit_file(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _from_controller(array_id: str, comment: str) -> dict[str, _Seen]:
    """`scontrol show job`, one line a job or a group of waiting tasks of an array."""
    done = slurm(["scontrol", "--oneliner", "show", "job", array_id])
    if done.returncode != 0:
        if "Invalid job id" in done.stderr + done.stdout:
            return {}
        raise ClusterError(f"Slurm does not answer: {said(done)}")
    return parse_scontrol(done.stdout, comment)


def parse_scontrol(text: str, comment: str) -> dict[str, _Seen]:
    """Job id -> how it stands, of the jobs that carry our comment."""
    found: dict[str, _Seen] = {}
    for line in text.splitlines():
        row = dict(_FIELD.findall(line))
        if row.get("Comment") != comment:
            continue
        seen = _Seen(
            row.get("JobState", "UNKNOWN"),
            row.get("Reason", ""),
            _exit_code(row.get("ExitCode", "")),
            "" if row.get("NodeList") in (None, "(null)") else row["NodeList"],
            int(row.get("Restarts", "0")),
        )
        for job_id in _job_ids(row):
            found[job_id] = seen
    return found


def _job_ids(row: dict[str, str]) -> list[str]:
    if "ArrayTaskId" not in row:
        return [row["JobId"]]
    tasks: list[str] = []
    for part in row["ArrayTaskId"].partition("%")[0].split(","):  # 3, or 2-5,7%4 while they wait
        first, _, last = part.partition("-")
        tasks += [str(number) for number in range(int(first), int(last or first) + 1)]
    return [f"{row['ArrayJobId']}_{task}" for task in tasks]


def _from_accounting(jobs: Sequence[Job]) -> dict[str, _Seen]:
    """`sacct`, where there is accounting; nothing where there is none."""
    since = min(job.submitted_at for job in jobs).removesuffix("Z")
    ids = ",".join(sorted({job.array_id for job in jobs}))
    command = ["sacct", "--parsable2", "--noheader", "--allocations", f"--starttime={since}", f"--jobs={ids}"]
    try:
        done = slurm([*command, "--format=JobID,State,ExitCode,NodeList"], {"TZ": "UTC"})
    except ClusterError:
        return {}
    return parse_sacct(done.stdout) if done.returncode == 0 else {}


def parse_sacct(text: str) -> dict[str, _Seen]:
    found: dict[str, _Seen] = {}
    for line in text.splitlines():
        job_id, state, exit_code, node = line.split("|")[:4]
        if "[" not in job_id:
            node = "" if node == "None assigned" else node
            found[job_id] = _Seen(state.split()[0], "", _exit_code(exit_code), node)  # "CANCELLED by 0"
    return found


def _exit_code(text: str) -> int | None:
    """Slurm writes code:signal."""
    code, _, number = text.partition(":")
    if not code.isdigit():
        return None
    return 128 + int(number) if number.isdigit() and int(number) > 0 else int(code)
