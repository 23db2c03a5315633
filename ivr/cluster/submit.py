"""Stage `submit`: send another stage to Slurm, wait for it or not."""

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.artifacts import ArtifactPaths, check_there
from ivr.cluster.folder import SharedFolder
from ivr.cluster.intents import GRACE_SECONDS, SUBMITTING
from ivr.cluster.profile import Profile, read_profile
from ivr.cluster.records import Job, latest_submission, read_jobs, unfinished, update_jobs
from ivr.cluster.sending import send
from ivr.console import LOG, say
from ivr.errors import ConfigError, TryAgainError
from ivr.manifest import BESIDE, PIPELINE
from ivr.options.declared import StageConfig, option

DESCRIPTION = """\
Run a stage as a Slurm job, with that stage's own options, and wait for it; Ctrl-C ends the waiting, not the job.
A stage waits in Slurm (afterok) for the unfinished jobs of the stages before it: a whole pipeline can be queued."""
EPILOG = """\
examples:
  ivr submit train --max-steps 2000 --profile slurm/profiles/gpu-node.toml
  ivr submit analyze --shards 16 --profile slurm/profiles/cpu-node.toml --detach
  ivr submit train --profile slurm/profiles/two-nodes.toml --dry-run
  ivr submit --attach 1234
"""
USAGE = "ivr submit STAGE [options of STAGE] --profile FILE [options]"
SENDABLE = (*PIPELINE, *BESIDE.values())


@dataclass(frozen=True)
class Config(StageConfig):
    """Options of `ivr submit`; those of the stage that is sent come after its name and are checked by itself."""

    sent: str | None = option(
        None,
        f"what to run: {', '.join(SENDABLE)}; its own options may follow (default: none, with --attach)",
        metavar="STAGE",
        choices=SENDABLE,
        positional=True,
    )
    profile: Path | None = option(
        None,
        "facts of the site: partition, GPUs, image; see slurm/profiles/ (default: none, it must be given)",
        group="where",
        metavar="FILE",
    )
    dry_run: bool = option(False, "print what sbatch would get, and submit nothing", group="how")
    detach: bool = option(False, "do not wait for the job")
    after: tuple[str, ...] = option(
        (), "wait in Slurm for these jobs, too (default: the unfinished jobs of earlier stages)", metavar="JOB"
    )
    attach: str | None = option(None, "wait for a job submitted earlier (default: none)", metavar="JOB")
    arguments: tuple[str, ...] = ()  # the words of the sent stage's options, and what they make
    sent_config: Any = None


def run(config: Config) -> None:
    """Submit, then wait; raises ClusterError when the job fails."""
    paths = ArtifactPaths(config.artifacts_dir.absolute())
    if config.attach:
        check_there(paths.root)
        return _attach(config.attach, paths)
    if config.sent is None or config.profile is None:
        raise ConfigError("name a stage and a profile: `ivr submit train --profile slurm/profiles/cpu-node.toml`")
    profile = read_profile(config.profile)
    parts = command_lines(config, paths)
    if config.dry_run:
        after: tuple[str, ...] = config.after
        for index, lines in enumerate(parts):
            if index:
                after = ("<the job above>",)
            _print_script(profile, config.sent, lines, paths, after)
        return None
    if shutil.which("sbatch") is None:
        raise ConfigError("there is no sbatch here: submit from a machine of the cluster, or look with --dry-run")
    if config.sent != "init":
        check_there(paths.root)
    _check_image(profile)
    _check_reachable(paths)
    _refuse_a_second(config.sent, paths)
    after = tuple(dict.fromkeys((*config.after, *_jobs_before(config.sent, paths))))
    jobs: list[Job] = []
    for lines in parts:
        jobs = send(profile, config.sent, lines, paths, after)
        after = (jobs[0].array_id,)
    if config.detach:
        from ivr.cluster.watch import how_to_come_back

        LOG.info("submit: not waiting; %s", how_to_come_back(jobs, paths))
        say(jobs[0].array_id)
        return None
    return _wait(jobs, paths)


def command_lines(config: Config, paths: ArtifactPaths) -> list[tuple[tuple[str, ...], ...]]:
    """The submissions that make up a stage, each a job (one command line) or an array (several).

    `analyze --shards N` is an array of N parts, then the stage itself, which joins them.
    """
    assert config.sent is not None
    whole = (config.sent, *config.arguments, "--artifacts-dir", str(paths.root))
    whole += ("--force",) if config.force else ()
    shards = getattr(config.sent_config, "shards", 0)
    if config.sent != "analyze" or shards < 2 or getattr(config.sent_config, "part", None) is not None:
        return [(whole,)]
    return [tuple((*whole, "--part", str(part)) for part in range(shards)), (whole,)]


def _print_script(
    profile: Profile, stage: str, lines: tuple[tuple[str, ...], ...], paths: ArtifactPaths, after: tuple[str, ...]
) -> None:
    from ivr.cluster.executor import make_executor, plan_work, script_of

    work = plan_work(profile, stage, lines)
    folder = paths.root / "jobs" / f"{stage}-DATE"
    say(script_of(make_executor(profile, work, folder, paths.root, after, dry_run=True), work))
    for line in lines:
        command = shlex.join(line).replace("\n", "\\n")  # all of it a comment
        say(f"# a task runs: ivr {command}")
    say()


def _wait(jobs: Sequence[Job], paths: ArtifactPaths) -> None:
    """Wait for these jobs, and first for those they wait for: a job that failed says more than one that it stopped.

    When one fails, what waited for it is waited for too: how it ended is written down before this raises. Ctrl-C ends
    the waiting only.
    """
    from ivr.cluster.watch import JobFailedError, LeftRunningError, how_to_come_back, wait_for, wait_until_stopped

    try:
        chain = _chain(jobs, paths)
        for array_id, rows in chain.items():
            try:
                wait_for(rows, paths)
            except JobFailedError as failure:
                stopped, left = wait_until_stopped(_waiting_for(array_id, chain), paths)
                said = [str(failure)]
                for some, what in ((stopped, "never started"), (left, "Slurm has not cancelled yet; `scancel` does")):
                    if some:
                        ids = ", ".join(dict.fromkeys(f"{job.array_id} (`ivr {job.stage}`)" for job in some))
                        said.append(f"waited for it: {ids}: {what}")
                raise JobFailedError("\n".join(said)) from None
    except KeyboardInterrupt:
        raise LeftRunningError(f"no longer waiting; {how_to_come_back(jobs, paths)}") from None


def _chain(jobs: Sequence[Job], paths: ArtifactPaths) -> dict[str, list[Job]]:
    """Array id -> its rows, of these jobs and all they wait for, in the order of the pipeline."""
    known: dict[str, list[Job]] = {}
    for stage in SENDABLE:
        for job in read_jobs(paths, stage):
            known.setdefault(job.array_id, []).append(job)
    wanted, found = [jobs[0].array_id], set[str]()
    while wanted:
        found.add(array_id := wanted.pop())
        wanted += [other for other in known[array_id][-1].after if other in known and other not in found]
    return {array_id: latest_submission(rows) for array_id, rows in known.items() if array_id in found}


def _waiting_for(array_id: str, chain: Mapping[str, Sequence[Job]]) -> list[Job]:
    """The rows that can only start after `array_id`, directly or by way of others."""
    found, before = {array_id}, 0
    while before < len(found):
        before = len(found)
        found |= {other for other, rows in chain.items() if found.intersection(rows[-1].after)}
    return [job for other, rows in chain.items() if other in found and other != array_id for job in rows]


def _attach(job_id: str, paths: ArtifactPaths) -> None:
    SharedFolder(paths.root / "jobs").must_answer(
        f"job {job_id} hangs where it writes there, until the folder is back or the time limit. Then attach: "
        f"`ivr submit --attach {job_id} --artifacts-dir {paths.root}`; or `scancel {job_id}`"
    )
    known = [job for stage in SENDABLE for job in read_jobs(paths, stage)]
    jobs = latest_submission([job for job in known if job.array_id == job_id.partition("_")[0]])
    if not jobs:
        ids = ", ".join(dict.fromkeys(job.array_id for job in known)) or "none"
        raise ConfigError(f"--attach {job_id}: no such job was submitted for {paths.root}; known: {ids}")
    _wait(jobs, paths)


def _refuse_a_second(stage: str, paths: ArtifactPaths) -> None:
    """One submission of a stage at a time."""
    from ivr.cluster.states import look_up
    from ivr.cluster.watch import summary

    open_jobs = look_up(unfinished(paths, [stage]), paths.root)
    update_jobs(paths, open_jobs)
    still = [job for job in open_jobs if not job.ended]
    _refuse_unsettled(still)
    if still:
        raise TryAgainError(
            f"`ivr {stage}` was submitted for {paths.root} already: {summary(still)}. Attach: `ivr submit --attach "
            f"{still[0].array_id} --artifacts-dir {paths.root}`; cancel: `scancel {still[0].array_id}`"
        )


def _jobs_before(stage: str, paths: ArtifactPaths) -> list[str]:
    """Ids of the unfinished jobs of earlier stages."""
    from ivr.cluster.states import look_up

    order = PIPELINE.index(stage) if stage in PIPELINE else PIPELINE.index("distill-tokenizer") + 1
    jobs = look_up(unfinished(paths, PIPELINE[:order]), paths.root)
    update_jobs(paths, jobs)
    _refuse_unsettled(jobs)
    return list(dict.fromkeys(job.array_id for job in jobs if not job.ended))


def _refuse_unsettled(jobs: Sequence[Job]) -> None:
    """A submission that is just under way, or was killed a moment ago: soon Slurm knows of it, or never will."""
    for job in jobs:
        if job.state == SUBMITTING:
            raise TryAgainError(
                f"`ivr {job.stage}` is being submitted, or was killed while it was ({job.folder}): in "
                f"{GRACE_SECONDS:.0f} s it is known what became of it; try again then"
            )


def _check_image(profile: Profile) -> None:
    if profile.image.startswith("/") and not Path(profile.image).exists():
        raise ConfigError(
            f"profile {profile.name!r}: there is no image {profile.image}; `make sif` or `make sqsh` makes one "
            "(it must lie where all nodes see it)"
        )


def _check_reachable(paths: ArtifactPaths) -> None:
    SharedFolder(paths.root).must_answer_now("Nothing was submitted")
    (paths.root / "jobs").mkdir(parents=True, exist_ok=True)
