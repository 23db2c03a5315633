"""This process's place among the processes of one run, from whatever has started them.

torchrun and accelerate say it in full: RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR. Others leave a part out (Kubeflow: no
LOCAL_RANK) or have names of their own (mpirun, srun). All become the full set here, once; a part that cannot be known
is asked for. Never does each process train alone on what was started as one team.
"""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from ivr.console import LOG
from ivr.errors import ConfigError

PORT = "29500"  # where the processes meet, unless MASTER_PORT says otherwise; torch's own default


@dataclass(frozen=True)
class _Names:
    """The variables in which a launcher tells rank, rank on the node, number of processes, and those on the node."""

    launcher: str
    rank: str
    local_rank: str
    size: str
    local_size: str


TORCH = _Names("a launcher", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
OTHERS = (
    _Names(
        "mpirun (Open MPI)",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    _Names(
        "mpirun (MVAPICH)",
        "MV2_COMM_WORLD_RANK",
        "MV2_COMM_WORLD_LOCAL_RANK",
        "MV2_COMM_WORLD_SIZE",
        "MV2_COMM_WORLD_LOCAL_SIZE",
    ),
    # of the step, which srun alone sets: a batch script has SLURM_NTASKS and SLURM_PROCID=0 too, and is one process
    _Names("srun", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS", ""),
    _Names("mpirun (PMI)", "PMI_RANK", "MPI_LOCALRANKID", "PMI_SIZE", "MPI_LOCALNRANKS"),
)


def take_place(environment: MutableMapping[str, str] | None = None) -> int:
    """Complete the variables of this process's place; returns the number of processes.

    Raises ConfigError where they do not fit together or one is missing that cannot be derived.
    """
    environment = os.environ if environment is None else environment
    names = _told_by(environment)
    if names is None:
        return 1
    size = _number(environment, names.size)
    if size == 1:
        return 1 if names is not TORCH else _alone(environment)
    rank = _number(environment, names.rank)
    if rank >= size:
        raise ConfigError(f"{names.rank}={rank} of {names.size}={size}: ranks count from 0 and stay below their number")
    local_rank, local_size = _local(environment, names)
    address = environment.get("MASTER_ADDR") or _address(environment, names, size, local_size)
    environment.update(
        RANK=str(rank),
        LOCAL_RANK=str(local_rank),
        WORLD_SIZE=str(size),
        MASTER_ADDR=address,
        MASTER_PORT=environment.get("MASTER_PORT") or PORT,
    )
    if rank == 0:
        LOG.info(
            "train: one of %d processes that %s has started; they meet at %s, port %s",
            size,
            names.launcher,
            address,
            environment["MASTER_PORT"],
        )
    return size


def _told_by(environment: Mapping[str, str]) -> _Names | None:
    """Whose variables count: torch's where they are whole or nobody else's are; then those that tell of several."""
    if TORCH.rank in environment and TORCH.size in environment:
        return TORCH
    for names in OTHERS:
        if environment.get(names.size, "1") != "1":
            return names
    present = [name for name in (TORCH.rank, TORCH.local_rank, TORCH.size) if name in environment]
    if not present or (present == [TORCH.size] and environment[TORCH.size] == "1"):
        return None
    missing = [name for name in (TORCH.rank, TORCH.size) if name not in environment]
    raise ConfigError(
        f"{' and '.join(present)} set, {' and '.join(missing)} not: set RANK and WORLD_SIZE for every process, "
        "or unset all of them for a single one"
    )


def _alone(environment: MutableMapping[str, str]) -> int:
    environment.setdefault("LOCAL_RANK", "0")
    environment.setdefault("MASTER_ADDR", "127.0.0.1")
    environment.setdefault("MASTER_PORT", PORT)
    return 1


def _local(environment: Mapping[str, str], names: _Names) -> tuple[int, int | None]:
    """(rank on this node, processes on this node or None where nobody says)."""
    local_size = _number(environment, names.local_size) if names.local_size in environment else None
    for name in (names.local_rank, *(other.local_rank for other in OTHERS)):
        if name in environment:
            return _number(environment, name), local_size
    return 0, local_size  # a process a pod (Kubeflow's PyTorchJob)


def _address(environment: Mapping[str, str], names: _Names, size: int, local_size: int | None) -> str:
    """Where the processes meet: this machine when all are on it, in a step of Slurm its first node."""
    if local_size == size or (names.launcher == "srun" and environment.get("SLURM_STEP_NUM_NODES") == "1"):
        return "127.0.0.1"
    nodes = environment.get("SLURM_STEP_NODELIST") if names.launcher == "srun" else None
    if nodes:
        from submitit.slurm.slurm import _parse_node_list

        return str(_parse_node_list(nodes)[0])
    raise ConfigError(
        f"{names.launcher} has started {size} processes and MASTER_ADDR is not set: set it to the host of rank 0 for "
        "all of them (mpirun -x MASTER_ADDR=...)"
    )


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not text.isdigit():
        raise ConfigError(f"{name}={text!r}: must be a whole number; whatever starts the processes sets it")
    return int(text)
