"""Asking Slurm something: one of its commands, with patience, in an environment that is not that of another job."""

import os
import subprocess

from ivr.cluster.environment import submission_environment
from ivr.errors import ClusterError

PATIENCE_SECONDS = 60


def slurm(command: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a Slurm command. Raises ClusterError when it is not there or does not come back."""
    try:
        return subprocess.run(  # noqa: S603 - no shell; the words are Slurm's commands and our job ids
            command,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            env=submission_environment(os.environ) | (environment or {}),
        )
    except FileNotFoundError:
        raise ClusterError(f"there is no `{command[0]}` here; use a machine of the cluster") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"`{' '.join(command)}` gave no answer in {PATIENCE_SECONDS} s") from None


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What it said, on one line."""
    return (done.stderr or done.stdout).strip().replace("\n", "; ") or f"exit code {done.returncode}"
