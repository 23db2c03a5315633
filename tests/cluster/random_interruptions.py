"""One training run, interrupted again and again at random moments on a real Slurm; the weights must be the same.

    eval "$(slurm/testbed/testbed.sh env)"      # after: make testbed-up
    python tests/cluster/random_interruptions.py --count 20 --seed 1

Each turn is ended by one of: `scontrol requeue`, preemption by a job of a higher partition, the warning signal of a
time limit, `scancel` and another submission, `kill -9` of the process and another submission. One in four comes at a
random moment from the start of the job on, the others at one from its first step on. When all are spent the run is
left to end, and its weights and log are compared with those of a run that nobody disturbed.

Exit code 0: the same; 1: not.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does

from builders import make_world
from slurm_site import TRAINING, Site, last_step, products, rank_process, until

from ivr.artifacts import ArtifactPaths
from ivr.embedding import align

WAYS = ("requeue", "preempt", "warn", "cancel", "kill")


def drill(folder: Path, count: int, seed: int, steps: int, longest: float) -> bool:
    """True when the interrupted run and the straight one made the same."""
    with contextlib.closing(Site(folder)) as site:
        return _drill(site, folder, count, seed, steps, longest)


def _drill(site: Site, folder: Path, count: int, seed: int, steps: int, longest: float) -> bool:
    draw = random.Random(seed)
    straight = make_world(folder / "straight")
    align.run(align.Config(straight.root))
    shutil.copytree(straight.root, folder / "artifacts")
    world = ArtifactPaths(folder / "artifacts")
    options = [*TRAINING, f"--max-steps={steps}"]
    undisturbed = site.start("train", *options, "--artifacts-dir", straight.root)
    profile = site.profile()
    job = site.submit(world, profile, "train", *options)
    for number in range(count):
        state = until(600, "running", lambda job=job: _running_or_ended(site, job))
        if state != "RUNNING":
            raise SystemExit(f"job {job} ended as {state} after {number} interruptions: give it more --steps")
        way, pause, begun = draw.choice(WAYS), draw.uniform(0, longest), last_step(world)
        if draw.random() < 0.75:
            until(
                600,
                "a step",
                lambda job=job, begun=begun: last_step(world) > begun or _running_or_ended(site, job) != "RUNNING",
            )
        # so long, but on a fast machine no longer than leaves steps for the interruptions to come
        most, end = begun + (steps - begun) // (count - number + 1), time.monotonic() + pause
        until(600, "the moment", lambda most=most, end=end: time.monotonic() >= end or last_step(world) >= most)
        turn, step = int(site.field(job, "Restarts")), last_step(world)
        if site.field(job, "JobState") != "RUNNING":
            raise SystemExit(f"job {job} ended after {number} interruptions: give it more --steps")
        print(f"{number + 1:3}: {way} after {pause:4.1f} s, at step {step}", flush=True)
        interrupt(site, world, job, way)
        if way in ("cancel", "kill"):
            site.wait(world, job, check=False)
            assert site.job(world)["state"] in ("CANCELLED", "FAILED"), site.job(world)
            job = site.submit(world, profile, "train", *options)
        else:
            until(300, "another turn", lambda job=job, turn=turn: int(site.field(job, "Restarts")) > turn)
    site.wait(world, job)
    assert undisturbed.wait() == 0
    same = products(world) == products(straight)
    print(json.dumps({"interruptions": count, "seed": seed, "steps": steps, "the same weights and log": same}))
    return same


def interrupt(site: Site, world: ArtifactPaths, job: str, way: str) -> None:
    if way == "requeue":
        site.slurm("scontrol", "requeue", job)
    elif way == "preempt":
        site.occupy()
    elif way == "warn":
        site.slurm("scancel", "--signal=USR2", job)
    elif way == "cancel":
        site.slurm("scancel", job)
    else:
        try:
            os.kill(rank_process(job, 0), signal.SIGKILL)
        except AssertionError:  # not started yet
            site.slurm("scancel", job)


def _running_or_ended(site: Site, job: str) -> str:
    state = site.field(job, "JobState")
    return "" if state in ("PENDING", "COMPLETING", "REQUEUED", "PREEMPTED", "CONFIGURING") else state


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--longest", type=float, default=8.0, metavar="SECONDS", help="longest pause")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return 0 if drill(Path(folder), arguments.count, arguments.seed, arguments.steps, arguments.longest) else 1


if __name__ == "__main__":
    sys.exit(main())
