"""The options of `ivr align`: their defaults, their help, and which values cannot work. Imports nothing heavy."""

import re
from dataclasses import dataclass
from pathlib import Path

from ivr.errors import ConfigError
from ivr.machine.devices import choose_device
from ivr.options.declared import StageConfig, option

# strategies.STRATEGIES, without importing torch for --help
STRATEGIES = ("mean", "random", "zeros", "keep", "pieces", "weighted", "gaussian", "focus", "calibrated", "distill")
READ_TEXT = ("focus", "calibrated", "distill")
RUN_MODEL = ("calibrated", "distill")


@dataclass(frozen=True)
class Config(StageConfig):
    """Options of `ivr align`."""

    model_name: Path | None = option(
        None,
        "local directory of the base model (default: ARTIFACTS_DIR/models/base)",
        group="inputs",
        metavar="DIR",
    )
    original_tokenizer_dir: Path | None = option(
        None, "the base model's tokenizer (default: ARTIFACTS_DIR/tokenizers/original)", metavar="DIR"
    )
    remapped_tokenizer_dir: Path | None = option(
        None, "what `ivr remap` wrote (default: ARTIFACTS_DIR/tokenizers/remapped)", metavar="DIR"
    )
    remap_rules_path: Path | None = option(
        None, "the rules (default: ARTIFACTS_DIR/tokenizers/remapped/remap_rules.yaml)", metavar="FILE"
    )
    cleaned_corpora_dir: Path | None = option(
        None,
        "training text that `focus`, `calibrated` and `distill` learn from (default: ARTIFACTS_DIR/corpora/cleaned)",
        metavar="DIR",
    )
    init_strategy: str = option(
        "distill",
        "how a new token's row is made. From the matrix: mean of all kept rows, random normal, zeros, keep the "
        "old row, mean of the rows of its pieces under the original tokenizer, pieces weighted by role, draws from "
        "the gaussian of the kept rows. From text: focus, a mixture of rows used alike. From text and model: "
        "calibrated, its first piece's row, shifted by how often the rest follows; distill, trained so that the frozen "
        "model takes the token for its pieces",
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
    seed: int = option(0, "of random draws and of the text that is read", bounds="[0, inf)")
    heldout_bytes: int = option(
        20_000, "of held-out text, for the loss before any training; 0: none is measured", bounds="[0, inf)"
    )
    text_bytes: int = option(
        1_000_000,
        "of the training text that are read, chosen by hash",
        group="text for focus, calibrated and distill",
        bounds="[1, inf)",
    )
    snippets_per_token: int = option(20, "that distill reads, where the text has so many", bounds="[1, inf)")
    snippet_tokens: int = option(50, "length of a snippet", bounds="[2, inf)")
    max_snippets: int = option(1000, "for all tokens together; they take the time", bounds="[1, inf)")
    threads: int = option(
        2,
        "CPU threads where the model is run; another number rounds differently",
        group="machine",
        bounds="[1, inf)",
    )
    device: str = option("cpu", "where the model is run: cpu, cuda", metavar="NAME")
    embeddings_output_dir: Path | None = option(
        None,
        "where the .pt and .json files go (default: ARTIFACTS_DIR/embeddings)",
        group="outputs",
        metavar="DIR",
    )


def check_options(config: Config) -> None:
    """Raises ConfigError for a value that cannot work."""
    if config.device != "cpu":
        if not re.fullmatch(r"cuda(:\d+)?", config.device):
            raise ConfigError(f"--device {config.device}: must be cpu, cuda, or cuda:N for one of several")
        choose_device("cuda", {"LOCAL_RANK": config.device.partition(":")[2] or "0"})
