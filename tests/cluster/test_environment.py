"""What goes along with a job that is submitted from inside another one."""

import os

import pytest

from ivr.cluster.environment import clean_environment, submission_environment

# as `salloc` with an interactive step, a notebook in a job, and torchrun leave it
ALLOCATION = {
    "SLURM_JOB_ID": "17",
    "SLURM_JOBID": "17",
    "SLURM_CPU_BIND": "quiet,mask_cpu:0x00000003",
    "SLURM_CPU_BIND_LIST": "0x00000003",
    "SLURM_NTASKS": "1",
    "SLURM_MEM_PER_CPU": "2048",
    "SLURM_MEM_PER_NODE": "8000",
    "SLURM_EXPORT_ENV": "NONE",
    "SLURM_GPUS_ON_NODE": "1",
    "SLURMD_NODENAME": "n1",
    "SRUN_CPUS_PER_TASK": "4",
    "PMI_RANK": "0",
    "PMIX_RANK": "0",
    "OMPI_COMM_WORLD_SIZE": "4",
    "MASTER_ADDR": "n1",
    "MASTER_PORT": "29500",
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "1",
    "CUDA_VISIBLE_DEVICES": "3",
    "TMPDIR": "/tmp/slurm.17",
    "ACCELERATE_USE_CPU": "true",
    "TORCHELASTIC_RUN_ID": "none",
    "SBATCH_EXPORT": "NONE",
}
OWN = {
    "SLURM_CONF": "/etc/slurm/slurm.conf",
    "HOME": "/me",
    "PATH": "/bin",
    "HF_HOME": "/cache",
    "OMP_NUM_THREADS": "8",
}


def test_nothing_of_the_allocation_goes_along_and_all_else_does() -> None:
    assert submission_environment({**ALLOCATION, **OWN}) == OWN


def test_a_folder_of_ones_own_for_temporary_files_stays() -> None:
    assert submission_environment({"TMPDIR": "/scratch/me"}) == {"TMPDIR": "/scratch/me"}


def test_what_a_script_says_is_not_overruled_by_a_variable_of_sbatch() -> None:
    site = {"SBATCH_ACCOUNT": "me", "SBATCH_PARTITION": "old", "SBATCH_TIMELIMIT": "5", "SBATCH_GPUS_PER_NODE": "8"}
    options = frozenset({"partition", "time", "gpus-per-node"})
    assert submission_environment(site, options) == {"SBATCH_ACCOUNT": "me"}


def test_the_process_itself_gets_its_environment_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in ALLOCATION.items():
        monkeypatch.setenv(name, text)
    before = dict(os.environ)
    with clean_environment():
        assert not set(ALLOCATION) & set(os.environ)
    assert dict(os.environ) == before
