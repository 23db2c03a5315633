"""A DeepSpeed configuration that a person brings: every key is honoured, overruled with a word, or refused.

Files from elsewhere carry what their trainer read: batch sizes, an optimizer, fp16. What contradicts an option of
`ivr train` is refused rather than guessed at, and so is a key that would change nothing here.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.console import LOG
from ivr.errors import ConfigError

# what DeepSpeed does by itself, whoever trains
HONOURED = frozenset(
    {
        *("zero_optimization", "communication_data_type", "data_types", "prescale_gradients", "disable_allgather"),
        *("gradient_predivide_factor", "gradient_allreduce_op", "steps_per_print", "wall_clock_breakdown"),
        *("memory_breakdown", "dump_state", "comms_logger", "flops_profiler", "tensorboard", "csv_monitor", "wandb"),
        *("comet", "monitor_config", "aio", "log_level", "disable_python_gc"),
    }
)
BATCH, ACCUMULATION, CLIPPING = "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping"
PRECISIONS = ("bf16", "bfloat16", "fp16")
OURS = frozenset({BATCH, ACCUMULATION, CLIPPING, "train_batch_size", *PRECISIONS})
# DeepSpeed knows these; here they would do nothing, or something else than they say
REFUSED = {
    "optimizer": "`ivr train` brings its own AdamW",
    "scheduler": "`ivr train` brings its own warm-up and cosine",
    "amp": "--precision says what is computed",
    "torch_autocast": "--precision says what is computed",
    "activation_checkpointing": "--gradient-checkpointing does it",
    "compile": "--torch-compile does it",
    "checkpoint": "`ivr train` keeps checkpoints in its own way",
    "elasticity": "a run keeps its number of processes",
    "autotuning": "the options say what runs",
    **dict.fromkeys(
        (
            *("sparse_attention", "sparse_gradients", "curriculum_learning", "data_efficiency", "eigenvalue"),
            *("progressive_layer_drop", "quantize_training", "compression_training", "hybrid_engine", "pipeline"),
            *("tensor_parallel", "sequence_parallel_size", "weight_quantization", "zenflow"),
        ),
        "`ivr train` has nothing of the kind",
    ),
}
FIXED: dict[str, bool] = {  # torch's AdamW everywhere: no C++ extension is compiled on a user's machine
    "zero_allow_untested_optimizer": True,
    "zero_force_ds_cpu_optimizer": False,
}


@dataclass(frozen=True)
class Wanted:
    """What the options say, and how many processes there are."""

    batch_size: int
    accumulation: int
    max_grad_norm: float
    processes: int


def read_deepspeed_file(path: Path) -> dict[str, Any]:
    """The JSON of a file, its keys and its ZeRO stage checked. Raises ConfigError."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_doubles)
    except FileNotFoundError:
        raise ConfigError(
            f"--deepspeed {path}: no such file; slurm/deepspeed/ holds zero1, zero2 and zero3.json"
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"--deepspeed {path} is a directory; name the file in it") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--deepspeed {path} is not a DeepSpeed configuration: {error}") from None
    zero = settings.get("zero_optimization") if isinstance(settings, dict) else None
    if not isinstance(zero, dict) or "stage" not in zero:
        raise ConfigError(f"--deepspeed {path} is not a DeepSpeed configuration with a zero_optimization.stage")
    if zero["stage"] not in (1, 2, 3) or isinstance(zero["stage"], bool):
        raise ConfigError(f"--deepspeed {path}: zero_optimization.stage is {zero['stage']!r}; 1, 2 and 3 are possible")
    for key, value in settings.items():
        _check_key(path, key, value)
    return {key: value for key, value in settings.items() if key not in REFUSED}


def asked_precision(path: Path, settings: Mapping[str, Any], option: str) -> str:
    """auto, float32 or bf16: what --precision and the file ask for together. Raises ConfigError where they differ."""
    if _enabled(path, settings, "fp16") is True:
        raise ConfigError(
            f"--deepspeed {path}: fp16 is on, and `ivr train` computes in float32 or bf16 (fp16 needs its loss scaled, "
            'which is not done here): set fp16.enabled to false and bf16.enabled to "auto"'
        )
    of_file = {_enabled(path, settings, name) for name in ("bf16", "bfloat16")} - {"auto"}
    if len(of_file) > 1:
        raise ConfigError(f"--deepspeed {path}: bf16 and its old name bfloat16 say different things; keep bf16")
    if not of_file:
        return option
    asked = "bf16" if of_file.pop() else "float32"
    if option not in ("auto", asked):
        raise ConfigError(f'--deepspeed {path}: bf16.enabled says {asked}, --precision says {option}; write "auto"')
    return asked


def filled(path: Path, settings: Mapping[str, Any], wanted: Wanted, precision: str) -> dict[str, Any]:
    """The configuration that DeepSpeed gets: no "auto" is left in it. Raises ConfigError where an option differs."""
    ours: dict[str, tuple[Any, str]] = {
        BATCH: (wanted.batch_size, "--batch-size"),
        ACCUMULATION: (wanted.accumulation, "--gradient-accumulation"),
        CLIPPING: (wanted.max_grad_norm, "--max-grad-norm"),
        "train_batch_size": (
            wanted.batch_size * wanted.accumulation * wanted.processes,
            f"--batch-size x --gradient-accumulation x {wanted.processes} processes",
        ),
    }
    for key, (value, option) in ours.items():
        given = settings.get(key, "auto")
        if isinstance(given, bool) or given not in ("auto", value):
            raise ConfigError(f'--deepspeed {path}: {key} is {given!r}, {option} says {value}; write "auto"')
    honoured = _without_auto({key: value for key, value in settings.items() if key not in OURS})
    for key, value in FIXED.items():
        if settings.get(key, value) not in (value, "auto"):
            LOG.warning("train: %s: %s is taken for %s", path, key, json.dumps(value))
    if honoured["zero_optimization"]["stage"] == 3:
        honoured["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = True
    chosen = {key: value for key, (value, _) in ours.items()}
    return honoured | FIXED | chosen | {"bf16": {"enabled": precision == "bf16"}}


def check_zero(path: Path, settings: Mapping[str, Any]) -> None:
    """Let DeepSpeed itself look at its section, before a model is loaded. Raises ConfigError."""
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    try:
        DeepSpeedZeroConfig(**settings["zero_optimization"])
    except (ValueError, TypeError, AssertionError) as error:
        said = " ".join(line.strip() for line in str(error).splitlines()[1:3]) or str(error)
        raise ConfigError(f"--deepspeed {path}: zero_optimization: {said}") from None


def _check_key(path: Path, key: str, value: Any) -> None:
    if key in HONOURED or key in OURS or key in FIXED:
        return
    if key in REFUSED:
        if value in (None, False, {}) or (isinstance(value, dict) and value.get("enabled") is False):
            return  # it asks for nothing
        raise ConfigError(f"--deepspeed {path}: take {key!r} out; {REFUSED[key]}")
    near = difflib.get_close_matches(key, [*HONOURED, *OURS], 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted({*HONOURED, *OURS}))}"
    raise ConfigError(f"--deepspeed {path}: {key!r} does nothing here; {hint}")


def _enabled(path: Path, settings: Mapping[str, Any], name: str) -> Any:
    """True, False or "auto"; what is not said is auto."""
    section = settings.get(name, {})
    value = section.get("enabled", "auto" if not section else True) if isinstance(section, dict) else section
    if not isinstance(value, bool) and value != "auto":
        raise ConfigError(f'--deepspeed {path}: {name}.enabled is {value!r}; it must be true, false or "auto"')
    return value


def _without_auto(value: Any) -> Any:
    """Where a trainer would fill in a value, DeepSpeed's own default holds."""
    if isinstance(value, dict):
        return {key: _without_auto(item) for key, item in value.items() if item != "auto"}
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        doubled = sorted({key for key, _ in pairs if [other for other, _ in pairs].count(key) > 1})
        raise ValueError(f"the key {doubled[0]!r} stands in it twice")
    return found
