"""Training on a real Slurm that is stopped again and again, and ends with the weights of a run that was not."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from random_interruptions import drill
from slurm_site import (
    ROOT,
    TESTBED,
    TRAINING,
    Site,
    log_of,
    products,
    ran_to_step,
    rank_process,
    until,
)

from ivr.artifacts import ArtifactPaths
from ivr.cluster.records import ENDED
from ivr.training.checkpoints import newest_whole

pytestmark = [pytest.mark.needs_testbed, pytest.mark.slow]
DEEPSPEED = ROOT / "slurm" / "deepspeed"
World = ArtifactPaths


def test_zero_2_requeued_and_preempted(site: Site, another_world: Callable[[str], World]) -> None:
    world, straight = another_world("artifacts"), another_world("straight")
    options = [*TRAINING, "--max-steps=400", "--deepspeed", str(DEEPSPEED / "zero2.json")]
    undisturbed = site.start("train", *options, "--processes=2", "--artifacts-dir", straight.root)
    job = site.submit(world, site.profile(processes_per_node=2), "train", *options)
    ran_to_step(site, world, job, 20, turn=0)
    site.slurm("scontrol", "requeue", job)
    ran_to_step(site, world, job, 100, turn=1)
    occupied = site.occupy()
    until(300, "preempted", lambda: site.field(occupied, "JobState") in ("RUNNING", "COMPLETING", "COMPLETED"))
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
    undisturbed = site.start("train", *options, "--processes=2", "--artifacts-dir", straight.root)
    # two nodes that are one host: they have no names of their own
    profile = site.profile(nodes=2, environment={"MASTER_ADDR": "127.0.0.1"})
    job = site.submit(world, profile, "train", *options)
    ran_to_step(site, world, job, 60, turn=0)
    subprocess.run([TESTBED, "node-kill", "n2"], check=True)
    try:
        until(300, "requeued", lambda: site.field(job, "Restarts") == "1")
        # the spare is taken. Were n2 back within a minute, slurmctld's order to kill the old turn could hit the new one
        until(300, "elsewhere", lambda: site.field(job, "NodeList") == "n[1,3]" or site.field(job, "JobState") in ENDED)
    finally:
        subprocess.run([TESTBED, "node-start", "n2"], check=True)
    site.wait(world, job)
    row = site.job(world)
    assert (row["state"], row["restarts"], row["node"]) == ("COMPLETED", 1, "n[1,3]")
    log = log_of(world, row)
    assert "2 process(es) on cpu, DEEPSPEED ZeRO-3" in log and "going on after step" in log
    assert undisturbed.wait() == 0
    assert products(world) == products(straight)


def stop(rank: int) -> None:
    """SIGSTOP, and wait until it stands."""
    os.kill(rank, signal.SIGSTOP)
    until(60, "stopped", lambda: "T (stopped)" in Path(f"/proc/{rank}/status").read_text())


def stopped_while_saving(world: World, job: str) -> tuple[int, Path]:
    """Stop rank 0 in the middle of a checkpoint; gives its step and the folder it is written to."""

    def caught() -> tuple[int, Path] | None:
        try:
            rank = rank_process(job, 0)
            for _ in range(2000):
                if staged := next((world.training / "checkpoints").glob("*/.step-*.ivr-*"), None):
                    stop(rank)
                    if staged.is_dir():
                        return int(staged.name.split("-")[1].removesuffix(".ivr")), staged
                    os.kill(rank, signal.SIGCONT)
                time.sleep(0.0005)
        except (AssertionError, ProcessLookupError, FileNotFoundError):  # between two turns
            pass
        return None

    return until(300, "in a checkpoint", caught)


def wait_for_the_warning(site: Site, job: str) -> None:
    """Stop the rank until Slurm has sent it USR2, which may be soon or in a minute: the steps last until then."""

    def warned() -> bool:
        pending = Path(f"/proc/{rank}/status").read_text().split("ShdPnd:")[1].split()[0]
        return bool(int(pending, 16) >> (signal.SIGUSR2 - 1) & 1)

    with contextlib.suppress(AssertionError, ProcessLookupError, FileNotFoundError):  # warned before it was stopped
        rank = rank_process(job, 0)
        stop(rank)
        until(300, "the warning", warned)
        os.kill(rank, signal.SIGCONT)
    until(300, "requeued", lambda: int(site.field(job, "Restarts")) >= 1)


def test_the_time_limit_then_scancel_in_the_middle_of_a_checkpoint(
    site: Site, another_world: Callable[[str], World]
) -> None:
    world, straight = another_world("artifacts"), another_world("straight")
    options = [*TRAINING, "--max-steps=600", "--save-every=10"]
    undisturbed = site.start("train", *options, "--artifacts-dir", straight.root)
    # Slurm looks every 30 s and may warn so much too early: with these figures 20 to 50 s after the start
    profile = site.profile(time="2", warning_seconds=70)
    job = site.submit(world, profile, "train", *options)
    ran_to_step(site, world, job, 1)
    wait_for_the_warning(site, job)
    step, _ = stopped_while_saving(world, job)
    site.slurm("scancel", job)  # it also wakes what is stopped
    done = site.wait(world, job, check=False)
    assert done.returncode == 5 and f"job {job} (`ivr train`) ended as CANCELLED" in done.stderr
    row = site.job(world)
    assert row["state"] == "CANCELLED" and row["restarts"] >= 1
    assert f"ivr: job {job} is queued again" in log_of(world, row)
    newest = max((world.training / "checkpoints").glob("*/step-*"))
    found = newest_whole(newest.parent)
    assert found is not None and found.path == newest and found.step >= step - 10, "a checkpoint is whole or not there"
    assert not world.manifest("train").exists()
    # submitted again it goes on, with the checkpoint that the warning or the cancelling left
    again = site.submit(world, site.profile(), "train", *options)
    site.wait(world, again)
    assert f"going on after step {found.step}" in log_of(world, site.job(world))
    assert undisturbed.wait() == 0
    assert products(world) == products(straight)


def test_a_second_submission_and_a_rank_killed_in_the_middle_of_a_checkpoint(site: Site, world: World) -> None:
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

    step, cut_off = stopped_while_saving(world, job)
    os.kill(rank_process(job, 0), signal.SIGKILL)
    done = site.wait(world, job, check=False)
    assert done.returncode == 5 and f"job {job} (`ivr train`) ended as FAILED" in done.stderr
    checkpoint = newest_whole(cut_off.parent)
    assert cut_off.is_dir() and checkpoint is not None and checkpoint.step == step - 20, "the one before is whole"
    assert not world.manifest("train").exists() and not world.final_model.exists()


def test_random_interruptions(tmp_path: Path) -> None:
    """A few; `python tests/cluster/random_interruptions.py --count 20` takes as many as one likes."""
    assert drill(tmp_path, count=3, seed=20, steps=1500, longest=2.0)
