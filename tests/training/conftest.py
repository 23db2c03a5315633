"""A way to run a stage as its own process."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """What a stage started by hand sees: no launcher, no accelerate settings."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("ACCELERATE_")}
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        ours.pop(name, None)
    return {**ours, "HF_HUB_OFFLINE": "1", "PATH": f"{Path(sys.executable).parent}:{ours['PATH']}"}


@pytest.fixture
def start(clean_environment: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """start("train", "--max-steps", "3"): the stage in a process of its own; `launcher` puts words in front."""

    def begin(*arguments: str, launcher: tuple[str, ...] = (sys.executable,)) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*launcher, "-m", "ivr", *arguments],
            cwd=ROOT,
            env=clean_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return begin
