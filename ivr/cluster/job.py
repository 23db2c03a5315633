"""What runs inside a job: one stage, given as its command line. submitit calls `run_stage` on every task.

submitit's own answer to signals checkpoints on rank 0 alone and calls `scontrol`, which an image does not have. So
its handlers are replaced on all ranks: training hears the signal, saves together at the end of the step and exits
with 75; the other stages keep nothing midway and leave the signal to Slurm.
"""

import os
import runpy
import signal
import sys
from pathlib import Path

from ivr.console import LOG
from ivr.errors import FAULT, TryAgainError
from ivr.machine.failures import explain
from ivr.training.launch import ending, signals
from ivr.training.launch.ports import agreed_port

RESUMABLE = frozenset({"train", "control"})


def run_stage(arguments: list[str]) -> int:
    """Run `ivr ARGUMENTS` in this process; 0 is returned, any other exit code ends the process."""
    try:
        code = _run_stage(arguments)
    except Exception as error:
        # of the notes around the stage (a full disk), which has its own ends; submitit would make it a traceback and 1
        failure = explain(error, Path(os.environ.get("SUBMITIT_FOLDER", ".")))
        LOG.error("ivr %s: %s", arguments[0], failure.sentence if failure else repr(error), exc_info=failure is None)
        code = failure.exit_code if failure else FAULT
        ending.ends_with(code)
    if code != 0:
        sys.exit(code)
    return 0


def _run_stage(arguments: list[str]) -> int:
    """The exit code of this rank."""
    from submitit import JobEnvironment

    job = JobEnvironment()
    folder = Path(os.environ["SUBMITIT_FOLDER"])
    again = folder / f"{job.job_id}.again"
    if job.global_rank == 0:
        again.unlink(missing_ok=True)  # of a turn that Slurm requeued itself
    for leftover in folder.glob(f"{job.job_id}_{job.global_rank}_*.save_tmp"):
        leftover.unlink(missing_ok=True)  # of a turn that was killed while it wrote its result
    if job.num_tasks > 1:
        _tell_torch(job.job_id)
    _replace_handlers(resumable=arguments[0] in RESUMABLE)
    code = _call(arguments)
    ending.ends_with(code)  # after submitit has written what it writes
    if code == TryAgainError.exit_code:
        if job.global_rank > 0:
            ending.ends_with(0)
            return 0  # rank 0 speaks for all; a bad exit here would have srun kill it before it has spoken
        restarted = int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0  # then the lock's holder may be our dead self
        if signals.heard() or restarted:
            again.touch()
    return code


def _call(arguments: list[str]) -> int:
    """`python -m ivr ARGUMENTS`, in this process; returns the exit code."""
    sys.argv = ["ivr", *arguments]
    try:
        runpy.run_module("ivr", run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAULT if end.code else 0
    return 0


def _replace_handlers(resumable: bool) -> None:
    signal.signal(signal.SIGCONT, signal.SIG_DFL)  # Slurm sends it before TERM; submitit would log it
    if resumable:
        signals.listen_early()
        return
    # a stage that keeps nothing midway: killed at the time limit, requeued by Slurm itself when preempted
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _tell_torch(job_id: str) -> None:
    """RANK, WORLD_SIZE, MASTER_ADDR and the like, from Slurm's. MASTER_ADDR and MASTER_PORT of the profile are kept."""
    from submitit.helpers import TorchDistributedEnvironment

    told = os.environ.get("MASTER_ADDR")
    turn = f"{job_id} {os.environ.get('SLURM_RESTART_COUNT', '0')}"  # another port after a requeue
    os.environ.setdefault("MASTER_PORT", str(agreed_port(turn)))
    # each task sees all GPUs of its node and takes the one of its local rank: DeepSpeed counts on it
    TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    if told:
        os.environ["MASTER_ADDR"] = told
    elif os.environ.get("SLURM_JOB_NUM_NODES") == "1":
        os.environ["MASTER_ADDR"] = "127.0.0.1"
