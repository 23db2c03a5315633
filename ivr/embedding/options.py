"""The options of `ivr align`: their defaults, their help, and which values cannot work. Imports nothing heavy."""

import re
from dataclasses import dataclass
from pathlib import Path

from ivr.errors import ConfigError
from ivr.machine.devices import choose_device
from ivr.options.declared import SEEDS, WORKERS, StageConfig, option

# how a new token's row begins, and what that is learnt from; strategies.STRATEGIES, without torch for --help
STRATEGY_HELP = {
    "mean": ("matrix", "mean of all kept rows"),
    "random": ("nothing", "draws from a normal distribution, as a model's rows are initialised"),
    "zeros": ("nothing", "zeros"),
    "keep": ("nothing", "the old token's row"),
    "pieces": ("matrix", "mean of the rows of its pieces: its string under the original tokenizer"),
    "weighted": ("matrix", "the same, weighted by their place (AdaptiVocab, arXiv 2503.19693)"),
    "gaussian": ("matrix", "draws from the Gaussian of all kept rows"),
    "focus": ("text", "mixture of the rows of tokens that stand in like places (Dobler and de Melo 2023)"),
    "calibrated": ("text, model", "its first piece's row, made less likely as the rest follows less often"),
    "distill": ("text, model", "trained so that the frozen model takes it for its pieces (arXiv 2505.20133)"),
}
STRATEGIES = tuple(STRATEGY_HELP)
READ_TEXT = ("focus", "calibrated", "distill")
RUN_MODEL = ("calibrated", "distill")


@dataclass(frozen=True)
class Config(StageConfig):
    """Options of `ivr align`."""

    model_name: Path | None = option(
        None,
        "local directory of the base model (default: ARTIFACTS/models/base)",
        group="inputs",
        metavar="DIR",
    )
    original_tokenizer_dir: Path | None = option(
        None, "the base model's tokenizer (default: ARTIFACTS/tokenizers/original)", metavar="DIR"
    )
    remapped_tokenizer_dir: Path | None = option(
        None, "what `ivr remap` wrote (default: ARTIFACTS/tokenizers/remapped)", metavar="DIR"
    )
    remap_rules_path: Path | None = option(
        None, "the rules (default: ARTIFACTS/tokenizers/remapped/remap_rules.yaml)", metavar="FILE"
    )
    cleaned_corpora_dir: Path | None = option(
        None,
        "training text that `focus`, `calibrated` and `distill` learn from (default: ARTIFACTS/corpora/cleaned)",
        metavar="DIR",
    )
    init_strategy: str = option(
        "distill",
        "how a new token's row begins: see the table at the end",
        group="new rows",
        choices=STRATEGIES,
    )
    untie_head: bool = option(
        False,
        "give the model output embeddings of its own, equal to its input embeddings but for the new rows: each side's "
        "rows can be right at once. Costs a second matrix (38.6 million numbers in GPT-2) and no time (default: a tied "
        "head stays tied)",
    )
    compare_strategies: bool = option(
        False,
        "try every strategy and print a table: norms, loss on held-out text, probability taken (default: only the "
        "chosen one)",
    )
    seed: int = option(0, "of random draws and of the text that is read", bounds=SEEDS)
    heldout_bytes: int = option(
        20_000, "of held-out text, for the loss before any training; 0: none is measured", bounds="[0, 1e12]"
    )
    text_bytes: int = option(
        1_000_000,
        "of the training text that are read, chosen by hash",
        group="text for focus, calibrated and distill",
        bounds="[1, 1e12]",
    )
    snippets_per_token: int = option(20, "that distill reads, where the text has so many", bounds="[1, 1e6]")
    snippet_tokens: int = option(50, "length of a snippet", bounds="[2, 1e5]")
    max_snippets: int = option(1000, "for all tokens together; they take the time", bounds="[1, 1e9]")
    threads: int = option(
        2,
        "CPU threads where the model is run; another number rounds differently",
        group="machine",
        bounds=WORKERS,
    )
    device: str = option("cpu", "where the model is run: cpu, cuda", metavar="NAME")
    embeddings_output_dir: Path | None = option(
        None,
        "where the .pt and .json files go (default: ARTIFACTS/embeddings)",
        group="outputs",
        metavar="DIR",
    )


def strategy_table() -> str:
    """The strategies as `ivr align --help` shows them, a line each."""
    rows = [("", "made from", "the new row"), *((name, *said) for name, said in STRATEGY_HELP.items())]
    return "\n".join(f"  {name:<10}{source:<13}{row}".rstrip() for name, source, row in rows)


def check_options(config: Config) -> None:
    """Raises ConfigError for a value that cannot work."""
    if config.device != "cpu":
        if not re.fullmatch(r"cuda(:\d+)?", config.device):
            raise ConfigError(f"--device {config.device}: must be cpu, cuda, or cuda:N for one of several")
        choose_device("cuda", {"LOCAL_RANK": config.device.partition(":")[2] or "0"})
