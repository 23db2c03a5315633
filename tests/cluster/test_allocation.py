"""Submitting from inside an allocation, jobs that start with an empty environment, ranks that srun starts: on a real
Slurm."""

import json
import shlex
import sys

import pytest
from slurm_site import ROOT, TRAINING, Site, log_of

from ivr.artifacts import ArtifactPaths

pytestmark = [pytest.mark.needs_testbed, pytest.mark.slow]

TRAIN = [*TRAINING, "--max-steps=3"]
# what a site's prolog, a notebook or torchrun add to what salloc itself leaves
MORE = {
    "SLURM_CPU_BIND": "quiet,mask_cpu:0x00000001",
    "SLURM_MEM_PER_CPU": "100",
    "SLURM_MEM_PER_NODE": "200",
    "MASTER_ADDR": "nowhere.invalid",
    "MASTER_PORT": "1",
    "RANK": "0",
    "WORLD_SIZE": "2",
    "CUDA_VISIBLE_DEVICES": "3",
    "TMPDIR": "/nowhere/slurm.17",
}


def test_a_job_submitted_from_inside_an_allocation_is_like_any_other(site: Site, world: ArtifactPaths) -> None:
    profile = site.profile(processes_per_node=2)
    words = [
        sys.executable,
        "-m",
        "ivr",
        "submit",
        "train",
        *TRAIN,
        "--profile",
        profile,
        "--artifacts-dir",
        world.root,
    ]
    inside = ["env", *(f"{name}={text}" for name, text in MORE.items()), *map(str, words)]
    script = f"cd {shlex.quote(str(ROOT))} && srun -n1 {shlex.join(inside)} --detach"
    job = site.slurm("salloc", "-p", "low", "-n1", "bash", "-c", script).split()[-1]
    site.wait(world, job)
    assert site.job(world)["state"] == "COMPLETED", log_of(world, site.job(world))
    manifest = json.loads(world.manifest("train").read_text())
    assert manifest["results"]["processes"] == 2 and manifest["slurm"]["SLURM_JOB_ID"] == job


def test_a_site_whose_jobs_start_with_nothing(site: Site, world: ArtifactPaths) -> None:
    profile = site.profile(sbatch=["--export=NONE"], environment={"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"})
    job = site.submit(world, profile, "train", *TRAIN)
    site.wait(world, job)
    assert site.job(world)["state"] == "COMPLETED", log_of(world, site.job(world))


def test_a_gpu_job_that_sees_no_gpu_fails_at_once_and_is_not_requeued(site: Site, world: ArtifactPaths) -> None:
    job = site.submit(world, site.profile(environment={"SLURM_GPUS_ON_NODE": "1"}), "train", *TRAIN)
    done = site.wait(world, job, check=False)
    row = site.job(world)
    assert (row["state"], row["exit_code"], row["restarts"]) == ("FAILED", 5, 0), done.stderr
    assert "PyTorch sees none" in done.stderr and not world.training.exists()


def test_ranks_that_srun_starts_are_one_team(site: Site, world: ArtifactPaths) -> None:
    words = [sys.executable, "-m", "ivr", "train", *TRAIN, "--artifacts-dir", str(world.root)]
    site.slurm("srun", "-p", "low", "-N1", "-n2", f"--chdir={ROOT}", *words)
    assert json.loads(world.manifest("train").read_text())["results"]["processes"] == 2
