"""Which device the work runs on, and in which precision it multiplies. Imports torch inside functions only.

Where GPUs were asked for and torch sees none, the work does not begin: on a CPU it would run to its time limit, be
requeued, and end with nothing. torch's own reason is passed on.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ivr.console import LOG
from ivr.errors import ConfigError, DeviceError

DEVICES = ("auto", "cpu", "cuda")
DEVICE_HELP = (  # of --device, wherever it is an option
    "auto: a GPU where there is one or one was asked for (of Slurm, by CUDA_VISIBLE_DEVICES), else the CPU; "
    "a GPU that was asked for and cannot be used is an error"
)
PRECISIONS = ("auto", "float32", "bf16")
NATIVE_BF16 = (8, 0)  # compute capability from which on a GPU multiplies bf16 itself; older ones emulate it, slowly
NODES = Path("/dev")  # a GPU's files; a container has them when it was given the GPU
DRIVERS = {"13": "580"}  # major release of CUDA -> the oldest driver of Linux for it, from NVIDIA's table
NO_GPUS = frozenset({"", "-1", "none", "void", "NoDevFiles"})
COUNTS = ("SLURM_GPUS_ON_NODE", "SLURM_GPUS", "SLURM_GPUS_PER_NODE", "SLURM_GPUS_PER_TASK")
LISTS = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES")


@dataclass(frozen=True)
class Device:
    """kind: cpu or cuda; capability: of the CUDA device, (0, 0) where it has none; name: the maker's."""

    kind: str
    capability: tuple[int, int] = (0, 0)
    name: str = ""


def gpus_asked(environment: Mapping[str, str], nodes: Path = NODES) -> str:
    """By what GPUs were asked for; empty where they were not.

    A batch system's GPUs count, a list of visible ones, and outside of a batch system a GPU of this machine.

    >>> gpus_asked({"SLURM_GPUS_ON_NODE": "4"})
    'SLURM_GPUS_ON_NODE=4'
    >>> gpus_asked({"CUDA_VISIBLE_DEVICES": ""})
    ''
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in NO_GPUS:
        return ""  # hidden on purpose
    if environment.get("DS_ACCELERATOR") == "cpu":
        return ""
    for name in (*COUNTS, *LISTS):
        text = environment.get(name, "").strip()
        if text and text not in NO_GPUS and not (name in COUNTS and text.rpartition(":")[2] == "0"):
            return f"{name}={text}"
    if "SLURM_JOB_ID" in environment:
        return ""  # a job without GPUs may run on a node that has some
    here = sorted([*nodes.glob("nvidia[0-9]*"), *nodes.glob("dxg")])
    return f"this machine's NVIDIA driver ({here[0]})" if here else ""


def choose_device(asked: str, environment: Mapping[str, str] | None = None) -> Device:
    """The device for `--device asked`. Raises DeviceError where a GPU was asked for and none can be used."""
    if asked not in DEVICES:
        raise ConfigError(f"--device {asked}: must be one of {', '.join(DEVICES)}")
    if asked == "cpu":
        return Device("cpu")
    import torch

    environment = os.environ if environment is None else environment
    by = "--device cuda" if asked == "cuda" else gpus_asked(environment)
    if not torch.cuda.is_available():
        if not by:
            return Device("cpu")
        raise DeviceError(f"a GPU was asked for by {by}, and PyTorch sees none: {_reason()}. {_mend()}")
    try:
        index = int(environment.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
        torch.ones(1, device=f"cuda:{index}").add_(1).item()
        capability, name = torch.cuda.get_device_capability(index), torch.cuda.get_device_name(index)
    except Exception as error:
        raise DeviceError(f"PyTorch sees a GPU and cannot compute on it: {_first_line(error)}. {_mend()}") from None
    return Device("cuda", (int(capability[0]), int(capability[1])), str(name))


def choose_precision(asked: str, device: Device) -> str:
    """float32 or bf16, for `--precision asked`; says so where that is not what one may expect of a GPU.

    >>> choose_precision("auto", Device("cuda", (9, 0), "H100")), choose_precision("auto", Device("cpu"))
    ('bf16', 'float32')
    """
    native = device.kind == "cuda" and device.capability >= NATIVE_BF16
    if asked == "auto":
        if device.kind == "cuda" and not native:
            LOG.warning(
                "%s (compute capability %d.%d) does not multiply bf16 itself: float32 is used; --precision bf16 would "
                "emulate it",
                device.name,
                *device.capability,
            )
        return "bf16" if native else "float32"
    if asked == "bf16" and device.kind == "cuda" and not native:
        LOG.warning(
            "--precision bf16: %s (compute capability %d.%d) emulates it, which is slower than float32",
            device.name,
            *device.capability,
        )
    return asked


def _reason() -> str:
    """Why torch sees no GPU, in its own words."""
    import torch

    try:
        torch.cuda.init()
    except Exception as error:
        return _first_line(error)
    return "it gives no reason"


def _first_line(error: Exception) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".")


def _mend() -> str:
    import torch

    cuda = str(torch.version.cuda or "")
    oldest = DRIVERS.get(cuda.partition(".")[0])
    built = f"This PyTorch is built for CUDA {cuda}" if cuda else "This PyTorch is built without CUDA"
    needs = f", for drivers from {oldest} on (`nvidia-smi` shows the one here)" if oldest else ""
    return f"{built}{needs}. Take a node that fits, have its driver renewed, or say --device cpu"
