"""Training on a real Slurm that is stopped again and again, and ends with the weights of a run that was not."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from random_interruptions import drill
from slurm_site import ROOT, TESTBED, TRAINING, Site, last_step, log_of, products, rank_process, until

from ivr.artifacts import ArtifactPaths
from ivr.training.checkpoints import newest_whole

pytestmark = [pytest.mark.needs_testbed, pytest.mark.slow]
START_SECONDS = 240  # a busy machine imports slowly
DEEPSPEED = ROOT / "slurm" / "deepspeed"
World = ArtifactPaths


def ran_to_step(site: Site, world: World, job: str, step: int, turn: int) -> None:
    """Wait until the job is in this turn (from 0) and beyond this step."""
    until(
        START_SECONDS,
        f"turn {turn} of job {job} at step {step}",
        lambda: int(site.field(job, "Restarts")) == turn and last_step(world) >= step,
    )


def test_zero_2_requeued_and_preempted(site: Site, another_world: Callable[[str], World]) -> None:
    world, straight = another_world("artifacts"), another_world("straight")
    options = [*TRAINING, "--max-steps=400", "--deepspeed", str(DEEPSPEED / "zero2.json")]
    undisturbed = site.start("train", *options, "--processes=2", "--artifacts-dir", straight.root)
    job = site.submit(world, site.profile(processes_per_node=2), "train", *options)
    ran_to_step(site, world, job, 20, turn=0)
    site.slurm("scontrol", "requeue", job)
    ran_to_step(site, world, job, 100, turn=1)
    occupied = site.occupy()
    until(60, "preempted", lambda: site.field(occupied, "JobState") in ("RUNNING", "COMPLETING", "COMPLETED"))
    site.wait(world, job)
    row = site.job(world)
    assert (row["state"], row["exit_code"], row["restarts"]) == ("COMPLETED", 0, 2)
    log = log_of(world, row)
    assert log.count("going on after step") == 2 and "DEEPSPEED ZeRO-2" in log
    assert undisturbed.wait() == 0
    assert products(world) == products(straight)


def test_zero_3_on_two_nodes_one_of_which_dies(site: Site, another_world: Callable[[str], World]) -> None:
    world, straight = another_world("artifacts"), another_world("straight")
    options = [*TRAINING, "--max-steps=200", "--save-every=50", "--deepspeed", str(DEEPSPEED / "zero3.json")]
    # two nodes that are one host: they have no names of their own
    profile = site.profile(nodes=2, environment={"MASTER_ADDR": "127.0.0.1"})
    job = site.submit(world, profile, "train", *options)
    ran_to_step(site, world, job, 60, turn=0)
    subprocess.run([TESTBED, "node-kill", "n2"], check=True)
    try:
        until(120, "requeued", lambda: site.field(job, "Restarts") == "1")
        site.slurm("scontrol", "hold", job)
    finally:
        subprocess.run([TESTBED, "node-start", "n2"], check=True)
    # a node is rarely back so soon: for a minute slurmctld still sends the order to kill what this job had there
    back = time.monotonic()
    site.ivr("train", *options, "--processes=2", "--artifacts-dir", straight.root)
    time.sleep(max(0, 65 - (time.monotonic() - back)))
    site.slurm("scontrol", "release", job)
    site.wait(world, job)
    row = site.job(world)
    assert (row["state"], row["restarts"]) == ("COMPLETED", 1)
    log = log_of(world, row)
    assert "2 process(es) on cpu, DEEPSPEED ZeRO-3" in log and "going on after step" in log
    assert products(world) == products(straight)


def test_the_time_limit_then_scancel(site: Site, another_world: Callable[[str], World]) -> None:
    world, straight = another_world("artifacts"), another_world("straight")
    options = [*TRAINING, "--max-steps=3000"]
    undisturbed = site.start("train", *options, "--artifacts-dir", straight.root)
    # Slurm looks every 30 s and may warn so much too early: with these figures within half a minute
    profile = site.profile(time="2", warning_seconds=100)
    job = site.submit(world, profile, "train", *options)
    until(START_SECONDS, "warned and requeued", lambda: int(site.field(job, "Restarts")) >= 1)
    ran_to_step(site, world, job, 1, turn=int(site.field(job, "Restarts")))
    step = last_step(world)
    until(START_SECONDS, "some steps more", lambda: last_step(world) > step + 5 or site.field(job, "Restarts") != "1")
    site.slurm("scancel", job)
    done = site.wait(world, job, check=False)
    assert done.returncode == 5 and f"job {job} (`ivr train`) ended as CANCELLED" in done.stderr
    row = site.job(world)
    assert row["state"] == "CANCELLED" and row["restarts"] >= 1
    assert f"ivr: job {job} is queued again" in log_of(world, row)
    for folder in (world.training / "checkpoints").glob("*/step-*"):
        assert newest_whole(folder.parent) is not None, "a checkpoint is whole or not there"
    assert not world.manifest("train").exists()
    # submitted again it goes on, with the checkpoint that the warning or the cancelling left
    again = site.submit(world, site.profile(), "train", *options)
    site.wait(world, again)
    assert "going on after step" in log_of(world, site.job(world))
    assert undisturbed.wait() == 0
    assert products(world) == products(straight)


def test_a_killed_rank_and_a_second_submission(site: Site, world: World) -> None:
    options = [*TRAINING, "--max-steps=100000", "--save-every=20"]
    profile = site.profile(processes_per_node=2)
    job = site.submit(world, profile, "train", *options)
    ran_to_step(site, world, job, 30, turn=0)

    second = site.ivr("submit", "train", "--profile", profile, "--artifacts-dir", world.root, check=False)
    assert second.returncode == 75 and f"job {job} RUNNING on n" in second.stderr
    assert f"scancel {job}" in second.stderr
    (world.root / "manifests" / "train.jobs.json").rename(world.root / "manifests" / "aside")
    elsewhere = site.ivr(
        "submit", "train", *options, "--profile", site.profile(), "--artifacts-dir", world.root, check=False
    )
    assert elsewhere.returncode == 5 and "exit code 75" in elsewhere.stderr
    assert "is in use by `ivr train`, process" in elsewhere.stderr and f"Slurm job {job}, since" in elsewhere.stderr
    (world.root / "manifests" / "aside").rename(world.root / "manifests" / "train.jobs.json")

    os.kill(rank_process(job, 1), signal.SIGKILL)
    done = site.wait(world, job, check=False)
    assert done.returncode == 5 and f"job {job} (`ivr train`) ended as FAILED" in done.stderr
    checkpoint = newest_whole(next((world.training / "checkpoints").glob("*/")))
    assert checkpoint is not None and checkpoint.step >= 20
    assert not world.manifest("train").exists() and not world.final_model.exists()


def test_random_interruptions(tmp_path: Path) -> None:
    """A few; `python tests/cluster/random_interruptions.py --count 20` takes as many as one likes."""
    assert drill(tmp_path, count=3, seed=20, steps=1500, longest=2.0)
