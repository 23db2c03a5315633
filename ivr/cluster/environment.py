"""The environment a job is submitted with: not that of the job one submits from.

In an allocation (an interactive node, a notebook, an editor's terminal) the environment describes that allocation:
sbatch would hand SLURM_*, the binding to its cores, its GPUs and its MASTER_ADDR on, and the new job would fail, run
all its ranks on four cores, or wait for hours at an address where nobody is.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

from ivr.console import LOG

KEPT = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"})  # which cluster, and who asks
PREFIXES = (
    *("SLURM_", "SLURMD_", "SRUN_", "SALLOC_", "SUBMITIT_", "PMI_", "PMI2_", "PMIX_", "OMPI_", "MV2_", "HYDRA_"),
    *("PALS_", "MPI_LOCAL", "TORCHELASTIC_", "ACCELERATE_", "FSDP_", "ROLE_"),
)
NAMES = frozenset(
    {
        *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "NODE_RANK"),
        *("MASTER_ADDR", "MASTER_PORT", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
        *("HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK"),
    }
)
OF_THE_JOB = frozenset({"TMPDIR", "TMP", "TEMP", "XDG_RUNTIME_DIR"})  # folders that end with the allocation
# sbatch takes these before what stands in a script; its names for options that are called otherwise there
SBATCH_NAMES = {"TIMELIMIT": "time", "MEM_PER_NODE": "mem", "ARRAY_INX": "array", "CPUS_PER_TASK": "cpus-per-task"}
SBATCH_NEVER = frozenset({"SBATCH_NO_REQUEUE", "SBATCH_EXPORT", "SBATCH_OPEN_MODE", "SBATCH_WAIT", "SBATCH_SIGNAL"})


def submission_environment(environment: Mapping[str, str], options: frozenset[str] = frozenset()) -> dict[str, str]:
    """The environment that goes along with a job whose script sets these options of sbatch.

    >>> submission_environment({"SLURM_CONF": "/s", "SLURM_CPU_BIND": "0x1", "MASTER_ADDR": "n1", "HOME": "/me"})
    {'SLURM_CONF': '/s', 'HOME': '/me'}
    """
    inside = "SLURM_JOB_ID" in environment or "SLURM_JOBID" in environment
    return {
        name: text
        for name, text in environment.items()
        if name in KEPT
        or not (
            name in NAMES
            or name.startswith(PREFIXES)
            or (inside and name in OF_THE_JOB)
            or name in SBATCH_NEVER
            or _option_of(name) in options
        )
    }


@contextlib.contextmanager
def clean_environment(options: frozenset[str] = frozenset()) -> Iterator[None]:
    """This process's environment is `submission_environment`'s while the block lasts."""
    before = dict(os.environ)
    clean = submission_environment(before, options)
    if left := sorted(set(before) - set(clean)):
        job = before.get("SLURM_JOB_ID", "")
        level = LOG.info if job else LOG.debug
        where = f"this shell is inside job {job}; " if job else ""
        level("submit: %sof its environment %s does not go along", where, ", ".join(_families(left)))
    for name in left:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update({name: before[name] for name in left})


def _option_of(name: str) -> str:
    """SBATCH_PARTITION -> partition; empty for other variables."""
    if not name.startswith("SBATCH_"):
        return ""
    rest = name.removeprefix("SBATCH_")
    return SBATCH_NAMES.get(rest, rest.lower().replace("_", "-"))


def _families(names: list[str]) -> list[str]:
    """Names, those of one prefix together: dozens of SLURM_*.

    >>> _families(["MASTER_ADDR", "SLURM_JOB_ID", "SLURM_NODEID"])
    ['MASTER_ADDR', 'SLURM_*']
    """
    found = dict.fromkeys(
        next((f"{prefix}*" for prefix in PREFIXES if name.startswith(prefix)), name) for name in names
    )
    return list(found)
