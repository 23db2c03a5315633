"""The options of `ivr train`: their defaults, their bounds, their help. Imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path

from ivr.machine.devices import DEVICE_HELP, DEVICES, PRECISIONS
from ivr.options.declared import SEEDS, WORKERS, StageConfig, option

PHASES = ("all", "rows-then-all")
REPLAY_RATIO = 0.1  # with --replay-corpus and no --replay-ratio


@dataclass(frozen=True)
class Config(StageConfig):
    """Options of `ivr train`."""

    model_name: Path | None = option(
        None,
        "local model directory with its tokenizer (default: ARTIFACTS/models/aligned)",
        group="inputs",
        metavar="DIR",
    )
    cleaned_corpora_dir: Path | None = option(
        None, "text to train on (default: ARTIFACTS/corpora/cleaned)", metavar="DIR"
    )
    heldout_corpora_dir: Path | None = option(
        None, "text to measure while it trains (default: ARTIFACTS/corpora/heldout)", metavar="DIR", since=None
    )
    replay_corpus: Path | None = option(
        None,
        "general text to mix in, in the form of corpora/cleaned (default: ARTIFACTS/corpora/general/cleaned "
        "where --replay-ratio asks for some)",
        metavar="DIR",
    )
    replay_ratio: float | None = option(
        None,
        f"share of the blocks that are replayed general text (default: {REPLAY_RATIO} with --replay-corpus, else 0)",
        bounds="[0, 1)",
    )
    remap_rules_path: Path | None = option(
        None,
        "which rows are new, for --rows-only, --phases rows-then-all and --superword-dropout (default: "
        "ARTIFACTS/tokenizers/remapped/remap_rules.yaml)",
        metavar="FILE",
    )
    superword_dropout: float = option(
        0.0,
        "share of the superwords in the text that are cut in two at a word border, as the end of a prompt cuts them; "
        "drawn once, when the text is encoded",
        metavar="P",
        bounds="[0, 1]",
        since=0.0,
    )
    max_steps: int = option(300, "optimizer steps", group="how long", either="length", bounds="[1, 1e9]")
    epochs: float | None = option(
        None,
        "instead of --max-steps: passes over the text, in whole steps (default: none)",
        either="length",
        bounds="(0, 1e6]",
    )
    max_tokens: int | None = option(
        None,
        "instead of --max-steps: tokens, rounded up to whole steps (default: none)",
        either="length",
        bounds="[1, 1e15]",
    )
    max_bytes: int | None = option(
        None,
        "instead of --max-steps: bytes of text, as many steps as hold them on average (default: none)",
        either="length",
        bounds="[1, 1e15]",
    )
    block_size: int = option(0, "tokens a block; 0: the model's context, at most 2,048", bounds="[0, 1e6]")
    batch_size: int = option(4, "blocks a process reads at once", bounds="[1, 1e5]")
    gradient_accumulation: int = option(1, "such batches a step", bounds="[1, 1e5]")
    phases: str = option(
        "all",
        "all weights throughout, or the rows of new tokens first and all weights after",
        group="what is trained",
        either="weights",
        choices=PHASES,
    )
    rows_only: bool = option(
        False,
        "train the rows of new tokens and nothing else; every other weight stays as it is, bit for bit",
        either="weights",
    )
    lr: float = option(5e-4, "peak learning rate", group="optimizer", bounds="(0, 100]")
    embeddings_lr: float | None = option(
        None,
        "peak learning rate of the input embeddings and the head while all weights are trained (default: that of --lr)",
        bounds="(0, 100]",
        since=None,
    )
    rows_lr: float | None = option(
        None, "peak learning rate while rows alone are trained (default: that of --lr)", bounds="(0, 100]"
    )
    rows_share: float = option(0.2, "of the steps, how many rows-then-all gives to the rows", bounds="(0, 1)")
    warmup_steps: int = option(
        20, "steps of linear warm-up a phase; a cosine to a tenth of the peak follows", bounds="[0, 1e9]"
    )
    weight_decay: float = option(
        0.1, "of matrices; biases, LayerNorm and rows trained alone are not decayed", bounds="[0, 100]"
    )
    max_grad_norm: float = option(1.0, "clip gradients to this norm", bounds="(0, 1e9]")
    seed: int = option(0, "of the order of blocks and of dropout", bounds=SEEDS)
    max_loss_rise: float = option(
        2.0,
        "stop when ten steps' mean loss rises this far above its lowest; 0: never",
        bounds="[0, 1e6]",
        identity=False,
    )
    processes: int = option(
        1, "processes to start on this machine, unless a launcher has", group="machine", bounds=WORKERS
    )
    threads: int = option(2, "CPU threads of a process; another number rounds differently", bounds=WORKERS)
    device: str = option("auto", DEVICE_HELP, choices=DEVICES)
    precision: str = option(
        "auto",
        "of the products; weights stay float32. auto: bf16 on a GPU that has it (from compute capability 8.0 on), "
        "else float32",
        choices=PRECISIONS,
    )
    gradient_checkpointing: bool = option(False, "recompute activations: less memory, about a third slower")
    torch_compile: bool = option(False, "compile the model with torch.compile (on a CPU it needs g++)")
    deepspeed: Path | None = option(
        None,
        "DeepSpeed configuration, e.g. slurm/deepspeed/zero2.json (default: none, plain PyTorch)",
        metavar="FILE",
    )
    eval_every: int = option(
        100,
        "steps between two measurements of held-out bits per byte",
        group="held-out text and checkpoints",
        bounds="[1, 1e9]",
    )
    eval_bytes: int = option(50_000, "held-out bytes measured; 0: never measure", bounds="[0, 1e12]")
    save_every: int = option(100, "steps between two checkpoints", bounds="[1, 1e9]", identity=False)
    keep_checkpoints: int = option(2, "newest checkpoints kept", bounds="[1, 1e6]", identity=False)
    resume: bool = option(
        True,
        "go on from the newest whole checkpoint; one that was made otherwise is refused (default: --resume)",
        identity=False,
    )

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
