"""The processes of one run: how many, on what, and whether ZeRO is really what runs.

One process when `ivr train` is started by hand; as many as were started by --processes (launcher.py), `accelerate
launch -m ivr train ...`, torchrun or a batch system. Rank 0 alone holds the lock of the artifacts directory and writes.
"""

import contextlib
import datetime
import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.errors import ConfigError
from ivr.training.launch import ending
from ivr.training.options import Config

# the longest time one rank may work alone (tokenising, hashing) while the others wait
PATIENCE = datetime.timedelta(hours=2)


@dataclass(frozen=True)
class Team:
    """The running processes; `accelerator` is accelerate's."""

    accelerator: Any
    rank: int
    size: int
    kind: str  # accelerate's name of what runs: NO, MULTI_CPU, MULTI_GPU, DEEPSPEED
    zero_stage: int  # 0 without DeepSpeed
    precision: str  # of the products: float32 or bf16; weights are float32

    @property
    def what_runs(self) -> str:
        return f"{self.kind} ZeRO-{self.zero_stage}" if self.zero_stage else self.kind

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def share(self, value: Any = None) -> Any:
        """What rank 0 passed, on every rank."""
        if self.size == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def total(self, values: list[float]) -> list[float]:
        """The sums over the ranks."""
        if self.size == 1:
            return values
        import torch

        tensor = torch.tensor(values, dtype=torch.float64, device=self.accelerator.device)
        return [float(value) for value in self.accelerator.reduce(tensor, reduction="sum").tolist()]

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()


def world_size() -> int:
    """How many processes the launcher started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def leave_process_group() -> None:
    """So that the process ends quietly."""
    if "torch" in sys.modules:
        import torch

        if torch.distributed.is_available() and torch.distributed.is_initialized():
            ending.was_in_a_group()
            torch.distributed.destroy_process_group()


def assemble(config: Config) -> Team:
    """Start accelerate, with DeepSpeed where asked. Raises ConfigError when something else would run."""
    import torch

    cuda = torch.cuda.is_available()
    if not cuda:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed, which accelerate imports, warns of its guess
    from accelerate import Accelerator, InitProcessGroupKwargs

    expected = world_size()
    precision = ("bf16" if cuda else "float32") if config.precision == "auto" else config.precision
    common: dict[str, Any] = {
        "gradient_accumulation_steps": config.gradient_accumulation,
        "mixed_precision": "bf16" if precision == "bf16" else "no",
    }
    deepspeed = config.deepspeed
    if expected > 1 or deepspeed is not None:
        backend = "nccl" if cuda else "gloo"
        common["kwargs_handlers"] = [InitProcessGroupKwargs(backend=backend, timeout=PATIENCE)]
    zero_stage = 0
    if deepspeed is None:
        # without cpu=True accelerate starts no process group on a machine without accelerator: every rank alone
        accelerator = Accelerator(cpu=not cuda, **common)
    else:
        settings = read_deepspeed_config(
            deepspeed, config.batch_size, config.gradient_accumulation, config.max_grad_norm, precision == "bf16"
        )
        zero_stage = int(settings["zero_optimization"]["stage"])
        accelerator = _with_deepspeed(settings, cuda, common)
    _steady_arithmetic(cuda, config.threads)
    kind = accelerator.distributed_type.value
    if (kind == "DEEPSPEED") != (deepspeed is not None):
        wanted = f"--deepspeed {deepspeed}" if deepspeed else "no --deepspeed"
        raise ConfigError(
            f"{wanted} was asked for, but what accelerate would run is {kind}; "
            "unset ACCELERATE_USE_CPU and ACCELERATE_USE_DEEPSPEED, or run `accelerate launch` without a config file"
        )
    if accelerator.num_processes != expected:
        raise ConfigError(f"the launcher started {expected} processes, accelerate joined {accelerator.num_processes}")
    if accelerator.mixed_precision != common["mixed_precision"]:
        raise ConfigError(
            f"--precision {precision} was asked for, but what accelerate would run is {accelerator.mixed_precision}; "
            "unset ACCELERATE_MIXED_PRECISION, or run `accelerate launch` without a config file"
        )
    return Team(accelerator, accelerator.process_index, accelerator.num_processes, kind, zero_stage, precision)


def check_prepared(team: Team, model: Any) -> None:
    """Look at what `prepare` really made of the model. Raises ConfigError when it is not what was asked for."""
    import torch

    found = type(model).__name__
    if team.zero_stage:
        stage = int(model.zero_optimization_stage()) if hasattr(model, "zero_optimization_stage") else 0
        bf16 = stage and bool(model.bfloat16_enabled())
        if stage != team.zero_stage or bf16 != (team.precision == "bf16"):
            raise ConfigError(
                f"ZeRO-{team.zero_stage} in {team.precision} was asked for, but what runs is {found}, "
                f"ZeRO-{stage} in {'bf16' if bf16 else 'float32'}"
            )
    elif team.size > 1 and not isinstance(model, torch.nn.parallel.DistributedDataParallel):
        raise ConfigError(f"{team.size} processes were asked for, but the model is a {found}: they would train apart")


def read_deepspeed_config(
    path: Path, batch_size: int, accumulation: int, max_grad_norm: float, bf16: bool
) -> dict[str, Any]:
    """The JSON with every "auto" of this project's files filled in. Raises ConfigError."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        stage = settings["zero_optimization"]["stage"]
    except FileNotFoundError:
        raise ConfigError(
            f"--deepspeed {path}: no such file; slurm/deepspeed/ holds zero1, zero2 and zero3.json"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--deepspeed {path} is not a DeepSpeed configuration with a ZeRO stage ({error!r})"
        ) from None
    if stage not in (1, 2, 3):
        raise ConfigError(f"--deepspeed {path}: zero_optimization.stage is {stage!r}; 1, 2 and 3 are possible")
    for section in ("optimizer", "scheduler"):
        if section in settings:
            raise ConfigError(f"--deepspeed {path}: take the section {section!r} out; `ivr train` brings its own")
    ours: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": batch_size,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": max_grad_norm,
    }
    for key, value in ours.items():
        if settings.setdefault(key, "auto") not in ("auto", value):
            raise ConfigError(f'--deepspeed {path}: {key} is {settings[key]}, the option says {value}; write "auto"')
        settings[key] = value
    settings["bf16"] = {"enabled": bf16}
    # our optimizer is torch's AdamW everywhere: no C++ extension is compiled on the user's machine
    settings |= {"zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False}
    if stage == 3:
        settings["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = True
    return dict(settings)


def _with_deepspeed(settings: dict[str, Any], cuda: bool, common: dict[str, Any]) -> Any:
    if "LOCAL_RANK" not in os.environ:
        # started by hand: a process group of one, at a port nobody else has
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        alone = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({key: str(value) for key, value in alone.items()})
    import deepspeed.ops
    from accelerate import Accelerator, DeepSpeedPlugin

    if not cuda:
        # else DeepSpeed compiles a shared-memory collective for minutes; plain gloo gives the same sums
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return Accelerator(deepspeed_plugin=DeepSpeedPlugin(hf_ds_config=settings), **common)


def _steady_arithmetic(cuda: bool, threads: int) -> None:
    """On the CPU: the same sums in the same order every time."""
    import torch

    if not cuda:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        # that flag also fills every fresh tensor, a safeguard for code that reads what it never wrote; it costs time
        torch.utils.deterministic.fill_uninitialized_memory = False
