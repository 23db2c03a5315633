"""Where a GPU was asked for and there is none, nothing begins; where one is old, its arithmetic is chosen for it."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.errors import ConfigError, DeviceError
from ivr.machine import devices
from ivr.machine.devices import Device, choose_device, choose_precision, gpus_asked

NONE = Path("/nowhere")
TOO_OLD = "The NVIDIA driver on your system is too old (found version 12040). Please update your GPU driver"


@pytest.mark.parametrize(
    ("environment", "by"),
    [
        ({}, ""),
        ({"SLURM_GPUS_ON_NODE": "4"}, "SLURM_GPUS_ON_NODE=4"),
        ({"SLURM_GPUS_ON_NODE": "0"}, ""),
        ({"SLURM_GPUS_PER_NODE": "a100:2"}, "SLURM_GPUS_PER_NODE=a100:2"),
        ({"SLURM_JOB_GPUS": "0,1"}, "SLURM_JOB_GPUS=0,1"),
        ({"SLURM_STEP_GPUS": "0"}, "SLURM_STEP_GPUS=0"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "CUDA_VISIBLE_DEVICES=0"),
        ({"CUDA_VISIBLE_DEVICES": "MIG-1"}, "CUDA_VISIBLE_DEVICES=MIG-1"),
        ({"CUDA_VISIBLE_DEVICES": ""}, ""),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ""),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles", "SLURM_JOB_ID": "1"}, ""),
        ({"CUDA_VISIBLE_DEVICES": "", "SLURM_GPUS_ON_NODE": "4"}, ""),  # hidden on purpose
        ({"DS_ACCELERATOR": "cpu", "SLURM_GPUS_ON_NODE": "4"}, ""),
    ],
)
def test_by_what_gpus_are_asked_for(environment: dict[str, str], by: str) -> None:
    assert gpus_asked(environment, NONE) == by


def test_a_gpu_of_the_machine_counts_outside_of_a_batch_system(tmp_path: Path) -> None:
    assert gpus_asked({}, tmp_path) == ""
    (tmp_path / "nvidia0").touch()
    assert "nvidia0" in gpus_asked({}, tmp_path)
    assert gpus_asked({"SLURM_JOB_ID": "1"}, tmp_path) == "", "a job without GPUs on a node that has some"
    assert gpus_asked({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == ""


def no_gpu(monkeypatch: pytest.MonkeyPatch, reason: str = TOO_OLD) -> None:
    """A machine whose driver torch cannot use."""

    def init() -> None:
        raise RuntimeError(f"{reason}\nmore of it")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(devices, "gpus_asked", lambda environment: gpus_asked(environment, NONE))


def test_a_gpu_that_was_asked_for_and_is_not_seen_is_an_error_with_torchs_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    no_gpu(monkeypatch)
    with pytest.raises(
        DeviceError, match=r"SLURM_GPUS_ON_NODE=8, and PyTorch sees none: The NVIDIA driver .* too old"
    ) as caught:
        choose_device("auto", {"SLURM_GPUS_ON_NODE": "8"})
    assert caught.value.exit_code == 5 and "--device cpu" in str(caught.value) and "more of it" not in str(caught.value)
    with pytest.raises(DeviceError, match="by --device cuda"):
        choose_device("cuda", {})
    assert choose_device("auto", {}).kind == "cpu"
    assert choose_device("cpu", {"SLURM_GPUS_ON_NODE": "8"}).kind == "cpu"
    with pytest.raises(ConfigError, match="--device tpu"):
        choose_device("tpu", {})


def test_a_gpu_that_is_seen_and_cannot_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A V100 with a build for CUDA 13, a fabric that is not up: is_available() says yes."""

    def ones(*_: object, device: str) -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCompile with ...")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "ones", ones)
    with pytest.raises(DeviceError, match="cannot compute on it: CUDA error: no kernel image"):
        choose_device("auto", {"LOCAL_RANK": "1"})


def fake_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], name: str) -> None:
    result = SimpleNamespace(add_=lambda value: SimpleNamespace(item=lambda: 2.0))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch, "ones", lambda *_, device: result)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: name)


@pytest.mark.parametrize(
    ("capability", "name", "precision"),
    [
        ((7, 0), "Tesla V100", "float32"),
        ((7, 5), "Tesla T4", "float32"),
        ((8, 0), "A100", "bf16"),
        ((8, 9), "L4", "bf16"),
        ((9, 0), "H100", "bf16"),
        ((12, 0), "B200", "bf16"),
    ],
)
def test_bf16_is_chosen_where_the_gpu_has_it(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capability: tuple[int, int],
    name: str,
    precision: str,
) -> None:
    logging.getLogger("ivr").propagate = True
    fake_gpu(monkeypatch, capability, name)
    device = choose_device("auto", {})
    assert device == Device("cuda", capability, name)
    assert choose_precision("auto", device) == precision
    assert (f"{name} (compute capability" in caplog.text) == (precision == "float32")
    assert choose_precision("bf16", device) == "bf16", "emulated, where one asks for it, with a word"
    assert ("emulates it" in caplog.text) == (precision == "float32")
    assert choose_precision("float32", device) == "float32"


def test_a_cpu_computes_as_before() -> None:
    assert choose_precision("auto", Device("cpu")) == "float32"
    assert choose_precision("bf16", Device("cpu")) == "bf16"


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["train", "evaluate", "align"])
def test_a_gpu_job_without_a_gpu_ends_with_5_and_does_nothing(world: ArtifactPaths, stage: str) -> None:
    """As Slurm starts it: on today's machine torch sees none."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")

    def files() -> list[Path]:
        return sorted(path for path in world.root.rglob("*") if path.is_file() and not path.name.startswith("."))

    before = files()
    environment = {**os.environ, "SLURM_GPUS_ON_NODE": "1", "SLURM_JOB_ID": "1"}
    for name in ("CUDA_VISIBLE_DEVICES", "DS_ACCELERATOR"):  # a training in this process asked for the CPU
        environment.pop(name, None)
    command = [sys.executable, "-m", "ivr", stage, "--force", "--artifacts-dir", str(world.root)]
    command += ["--device=cuda"] if stage == "align" else []
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 5, done.stderr
    assert "PyTorch sees none" in done.stderr and "Traceback" not in done.stderr
    assert not list(world.root.rglob("step-*")) and not world.final_model.exists()
    assert files() == before


def test_an_unknown_device_is_usage() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "--device", "tpu"])
    assert caught.value.code == 2
