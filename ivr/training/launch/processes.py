"""The processes of one run: how many, on what, and whether ZeRO is really what runs.

One process when `ivr train` is started by hand; as many as were started by --processes (launcher.py), `accelerate
launch -m ivr train ...`, torchrun or a batch system. Rank 0 alone holds the lock of the artifacts directory and writes.
"""

import datetime
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.errors import ConfigError
from ivr.machine.devices import choose_device, choose_precision
from ivr.training.launch import ending
from ivr.training.launch.accelerate_settings import take_settings_out
from ivr.training.launch.deepspeed_file import Wanted, asked_precision, check_zero, filled, read_deepspeed_file
from ivr.training.launch.ports import free_port
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
    if config.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # for accelerate and DeepSpeed, which look for themselves
    device = choose_device(config.device)
    cuda = device.kind == "cuda"
    if not cuda:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed, which accelerate imports, warns of its guess
    take_settings_out(deepspeed=config.deepspeed is not None)
    expected = world_size()
    path, settings = config.deepspeed, {}
    asked = config.precision
    if path is not None:
        settings = read_deepspeed_file(path)
        asked = asked_precision(path, settings, config.precision)
    precision = choose_precision(asked, device)
    from accelerate import Accelerator, InitProcessGroupKwargs

    common: dict[str, Any] = {
        "gradient_accumulation_steps": config.gradient_accumulation,
        "mixed_precision": "bf16" if precision == "bf16" else "no",
    }
    if expected > 1 or path is not None:
        backend = "nccl" if cuda else "gloo"
        common["kwargs_handlers"] = [InitProcessGroupKwargs(backend=backend, timeout=PATIENCE)]
    zero_stage = 0
    if path is None:
        # without cpu=True accelerate starts no process group on a machine without accelerator: every rank alone
        accelerator = Accelerator(cpu=not cuda, **common)
    else:
        wanted = Wanted(config.batch_size, config.gradient_accumulation, config.max_grad_norm, expected)
        settings = filled(path, settings, wanted, precision)
        check_zero(path, settings)
        zero_stage = int(settings["zero_optimization"]["stage"])
        accelerator = _with_deepspeed(settings, cuda, common)
    _steady_arithmetic(cuda, config.threads)
    kind = accelerator.distributed_type.value
    if (kind == "DEEPSPEED") != (path is not None):
        wanted_run = f"--deepspeed {path}" if path else "no --deepspeed"
        raise ConfigError(f"{wanted_run} was asked for, but what accelerate would run is {kind}")
    if accelerator.num_processes != expected:
        raise ConfigError(f"the launcher started {expected} processes, accelerate joined {accelerator.num_processes}")
    if accelerator.mixed_precision != common["mixed_precision"]:
        raise ConfigError(
            f"--precision {precision} was asked for, but what accelerate would run is {accelerator.mixed_precision}"
        )
    if accelerator.gradient_accumulation_steps != config.gradient_accumulation:
        raise ConfigError(
            f"--gradient-accumulation {config.gradient_accumulation} was asked for, but what accelerate would run is "
            f"{accelerator.gradient_accumulation_steps}"
        )
    team = Team(accelerator, accelerator.process_index, accelerator.num_processes, kind, zero_stage, precision)
    _check_alike(team, f"{precision} on {device.kind}")
    return team


def _check_alike(team: Team, how: str) -> None:
    """All ranks choose by their own GPU; they must have come to the same. Raises ConfigError on all of them."""
    if team.size == 1:
        return
    from accelerate.utils import gather_object

    every = gather_object([how])
    if len(set(every)) > 1:
        ranks = "; ".join(f"rank {rank}: {what}" for rank, what in enumerate(every))
        raise ConfigError(f"the processes would not compute alike ({ranks}); name one with --precision and --device")


def prepare(team: Team, model: Any, optimizer: Any, deepspeed: Path | None) -> tuple[Any, Any]:
    """Wrapped for the team. Raises ConfigError where DeepSpeed refuses what a person's file asks for."""
    try:
        wrapped, stepping = team.accelerator.prepare(model, optimizer)
    except (AssertionError, ValueError, TypeError, NotImplementedError) as error:
        if deepspeed is None:
            raise
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigError(f"--deepspeed {deepspeed}: DeepSpeed refuses it: {said}") from error
    return wrapped, stepping


def check_prepared(team: Team, model: Any) -> None:
    """Look at what `prepare` really made of the model. Raises ConfigError when it is not what was asked for."""
    import torch

    found = type(model).__name__
    if team.zero_stage:
        stage = int(model.zero_optimization_stage()) if hasattr(model, "zero_optimization_stage") else 0
        runs = "float32"
        if stage and model.fp16_enabled():
            runs = "fp16"
        elif stage and model.bfloat16_enabled():
            runs = "bf16"
        if stage != team.zero_stage or runs != team.precision:
            raise ConfigError(
                f"ZeRO-{team.zero_stage} in {team.precision} was asked for, but what runs is {found}, "
                f"ZeRO-{stage} in {runs}"
            )
    elif team.size > 1 and not isinstance(model, torch.nn.parallel.DistributedDataParallel):
        raise ConfigError(f"{team.size} processes were asked for, but the model is a {found}: they would train apart")


def _with_deepspeed(settings: dict[str, Any], cuda: bool, common: dict[str, Any]) -> Any:
    if "LOCAL_RANK" not in os.environ:
        # started by hand: a process group of one, at a port nobody else has
        alone = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
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
