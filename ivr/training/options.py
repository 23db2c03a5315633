"""The options of `ivr train`: their defaults, their help, and which values cannot work. Imports nothing heavy."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivr.errors import ConfigError
from ivr.machine.devices import DEVICES, PRECISIONS, add_device
from ivr.options import add_number, check_least, option_of

PHASES = ("all", "rows-then-all")
REPLAY_RATIO = 0.1  # with --replay-corpus and no --replay-ratio


def _not_identity(default: Any) -> Any:
    return field(default=default, metadata={"identity": False})


@dataclass(frozen=True)
class Config:
    artifacts_dir: Path = Path("artifacts")
    force: bool = False
    model_name: Path | None = None
    cleaned_corpora_dir: Path | None = None
    replay_corpus: Path | None = None
    replay_ratio: float | None = None
    remap_rules_path: Path | None = None
    superword_dropout: float = field(default=0.0, metadata={"since": 0.0})
    max_steps: int = 300
    epochs: float | None = None
    max_tokens: int | None = None
    max_bytes: int | None = None
    block_size: int = 0
    batch_size: int = 4
    gradient_accumulation: int = 1
    phases: str = "all"
    rows_only: bool = False
    rows_share: float = 0.2
    rows_lr: float | None = None
    lr: float = 5e-4
    warmup_steps: int = 20
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    seed: int = 0
    threads: int = 2
    processes: int = 1
    device: str = "auto"
    precision: str = "auto"
    gradient_checkpointing: bool = False
    torch_compile: bool = False
    deepspeed: Path | None = None
    eval_every: int = 100
    eval_bytes: int = 50_000
    save_every: int = _not_identity(100)
    keep_checkpoints: int = _not_identity(2)
    max_loss_rise: float = _not_identity(2.0)
    resume: bool = _not_identity(True)

    @property
    def replay_share(self) -> float:
        """Share of the blocks that are general text."""
        if self.replay_ratio is not None:
            return self.replay_ratio
        return REPLAY_RATIO if self.replay_corpus else 0.0

    @property
    def trains_rows(self) -> bool:
        """Whether some steps train the new rows alone, so that their ids must be known."""
        return self.rows_only or self.phases != "all"

    @property
    def reads_rules(self) -> bool:
        """Whether the remap rules are an input."""
        return self.trains_rows or self.superword_dropout > 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stage's options."""
    inputs = parser.add_argument_group("inputs")
    _path(inputs, "--model-name", "DIR", "local model directory with its tokenizer", "ARTIFACTS_DIR/models/aligned")
    _path(inputs, "--cleaned-corpora-dir", "DIR", "text to train on", "ARTIFACTS_DIR/corpora/cleaned")
    _path(
        inputs,
        "--replay-corpus",
        "DIR",
        "general text to mix in, in the form of corpora/cleaned",
        "ARTIFACTS_DIR/corpora/general/cleaned where --replay-ratio asks for some",
    )
    inputs.add_argument(
        "--replay-ratio",
        type=float,
        default=Config.replay_ratio,
        metavar="X",
        help=f"share of the blocks that are replayed general text (default: {REPLAY_RATIO} with --replay-corpus, "
        "else 0)",
    )
    _path(
        inputs,
        "--remap-rules-path",
        "FILE",
        "which rows are new, for --rows-only, --phases rows-then-all and --superword-dropout",
        "ARTIFACTS_DIR/tokenizers/remapped/remap_rules.yaml",
    )
    inputs.add_argument(
        "--superword-dropout",
        type=float,
        default=Config.superword_dropout,
        metavar="P",
        help="share of the superwords in the text that are cut in two at a word border, as the end of a prompt cuts "
        "them; drawn once, when the text is encoded (default: %(default)s)",
    )
    length = parser.add_argument_group("how long")
    either = length.add_mutually_exclusive_group()
    add_number(either, Config, "--max-steps", "optimizer steps")
    for name, kind, what in (
        ("--epochs", float, "passes over the text, in whole steps"),
        ("--max-tokens", int, "tokens, rounded up to whole steps"),
        ("--max-bytes", int, "bytes of text, as many steps as hold them on average"),
    ):
        either.add_argument(
            name,
            type=kind,
            metavar="N" if kind is int else "X",
            help=f"instead of --max-steps: {what} (default: none)",
        )
    add_number(length, Config, "--block-size", "tokens a block; 0: the model's context")
    add_number(length, Config, "--batch-size", "blocks a process reads at once")
    add_number(length, Config, "--gradient-accumulation", "such batches a step")
    trained = parser.add_argument_group("what is trained").add_mutually_exclusive_group()
    trained.add_argument(
        "--phases",
        choices=PHASES,
        default=Config.phases,
        help="all weights throughout, or the rows of new tokens first and all weights after (default: %(default)s)",
    )
    trained.add_argument(
        "--rows-only",
        action="store_true",
        help="train the rows of new tokens and nothing else; every other weight stays as it is, bit for bit",
    )
    work = parser.add_argument_group("optimizer")
    add_number(work, Config, "--lr", "peak learning rate", float)
    work.add_argument(
        "--rows-lr",
        type=float,
        default=Config.rows_lr,
        metavar="X",
        help="peak learning rate while rows alone are trained (default: that of --lr)",
    )
    add_number(work, Config, "--rows-share", "of the steps, how many rows-then-all gives to the rows", float)
    add_number(
        work, Config, "--warmup-steps", "steps of linear warm-up a phase; a cosine to a tenth of the peak follows"
    )
    add_number(
        work, Config, "--weight-decay", "of matrices; biases, LayerNorm and rows trained alone are not decayed", float
    )
    add_number(work, Config, "--max-grad-norm", "clip gradients to this norm", float)
    add_number(work, Config, "--seed", "of the order of blocks and of dropout")
    add_number(
        work,
        Config,
        "--max-loss-rise",
        "stop when ten steps' mean loss rises this far above its lowest; 0: never",
        float,
    )
    _add_machine(parser.add_argument_group("machine"))
    watch = parser.add_argument_group("held-out text and checkpoints")
    add_number(watch, Config, "--eval-every", "steps between two measurements of held-out bits per byte")
    add_number(watch, Config, "--eval-bytes", "held-out bytes measured; 0: never measure")
    add_number(watch, Config, "--save-every", "steps between two checkpoints")
    add_number(watch, Config, "--keep-checkpoints", "newest checkpoints kept")
    watch.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=Config.resume,
        help="go on from the newest whole checkpoint; one that was made otherwise is refused (default: --resume)",
    )


def _add_machine(machine: Any) -> None:
    add_number(machine, Config, "--processes", "processes to start on this machine, unless a launcher has")
    add_number(machine, Config, "--threads", "CPU threads of a process; another number rounds differently")
    add_device(machine, Config.device)
    machine.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=Config.precision,
        help="of the products; weights stay float32. auto: bf16 on a GPU that has it (from compute capability 8.0 on), "
        "else float32 (default: %(default)s)",
    )
    machine.add_argument(
        "--gradient-checkpointing", action="store_true", help="recompute activations: less memory, about a third slower"
    )
    machine.add_argument(
        "--torch-compile", action="store_true", help="compile the model with torch.compile (on a CPU it needs g++)"
    )
    machine.add_argument(
        "--deepspeed",
        type=Path,
        default=Config.deepspeed,
        metavar="FILE",
        help="DeepSpeed configuration, e.g. slurm/deepspeed/zero2.json (default: none, plain PyTorch)",
    )


def _path(group: Any, name: str, metavar: str, what: str, default: str) -> None:
    group.add_argument(name, type=Path, metavar=metavar, help=f"{what} (default: {default})")


def check_options(config: Config) -> None:
    """Raises ConfigError for a value that cannot work."""
    least = {
        "max_steps": 1,
        "max_tokens": 1,
        "max_bytes": 1,
        "batch_size": 1,
        "gradient_accumulation": 1,
        "threads": 1,
        "processes": 1,
        "eval_every": 1,
        "save_every": 1,
        "keep_checkpoints": 1,
        "block_size": 0,
        "warmup_steps": 0,
        "weight_decay": 0,
        "max_loss_rise": 0,
        "eval_bytes": 0,
        "seed": 0,
    }
    check_least(config, least)
    for name in ("lr", "rows_lr", "max_grad_norm", "epochs"):
        value = getattr(config, name)
        if value is not None and not 0 < value < float("inf"):
            raise ConfigError(f"{option_of(name)} {value}: must be a number above 0")
    if not 0 < config.rows_share < 1:
        raise ConfigError(f"--rows-share {config.rows_share}: must lie between 0 and 1")
    if not 0 <= config.superword_dropout <= 1:
        raise ConfigError(f"--superword-dropout {config.superword_dropout}: must lie between 0 and 1")
    if not 0 <= config.replay_share < 1:
        raise ConfigError(f"--replay-ratio {config.replay_ratio}: must be at least 0 and below 1")
    for name, choices in (("phases", PHASES), ("precision", PRECISIONS), ("device", DEVICES)):
        if getattr(config, name) not in choices:
            raise ConfigError(f"{option_of(name)} {getattr(config, name)}: must be one of {', '.join(choices)}")
