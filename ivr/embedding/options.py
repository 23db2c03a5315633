"""The options of `ivr align`: their defaults, their help, and which values cannot work. Imports nothing heavy."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from ivr.errors import ConfigError
from ivr.machine.devices import choose_device
from ivr.options import add_number, check_least

# strategies.STRATEGIES, without importing torch for --help
STRATEGIES = ("mean", "random", "zeros", "keep", "pieces", "weighted", "gaussian", "focus", "distill")
READ_TEXT = ("focus", "distill")


@dataclass(frozen=True)
class Config:
    artifacts_dir: Path = Path("artifacts")
    force: bool = False
    model_name: Path | None = None
    original_tokenizer_dir: Path | None = None
    remapped_tokenizer_dir: Path | None = None
    remap_rules_path: Path | None = None
    embeddings_output_dir: Path | None = None
    init_strategy: str = "distill"
    compare_strategies: bool = False
    cleaned_corpora_dir: Path | None = None
    text_bytes: int = 1_000_000
    snippets_per_token: int = 20
    snippet_tokens: int = 50
    max_snippets: int = 1000
    heldout_bytes: int = 20_000
    seed: int = 0
    threads: int = 2
    device: str = "cpu"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stage's options."""
    inputs = parser.add_argument_group("inputs")
    inputs.add_argument(
        "--model-name",
        type=Path,
        default=Config.model_name,
        metavar="DIR",
        help="local directory of the base model (default: ARTIFACTS_DIR/models/base)",
    )
    inputs.add_argument(
        "--original-tokenizer-dir",
        type=Path,
        default=Config.original_tokenizer_dir,
        metavar="DIR",
        help="the base model's tokenizer (default: ARTIFACTS_DIR/tokenizers/original)",
    )
    inputs.add_argument(
        "--remapped-tokenizer-dir",
        type=Path,
        default=Config.remapped_tokenizer_dir,
        metavar="DIR",
        help="what `ivr remap` wrote (default: ARTIFACTS_DIR/tokenizers/remapped)",
    )
    inputs.add_argument(
        "--remap-rules-path",
        type=Path,
        default=Config.remap_rules_path,
        metavar="FILE",
        help="the rules (default: ARTIFACTS_DIR/tokenizers/remapped/remap_rules.yaml)",
    )
    inputs.add_argument(
        "--cleaned-corpora-dir",
        type=Path,
        default=Config.cleaned_corpora_dir,
        metavar="DIR",
        help="training text that `focus` and `distill` learn from (default: ARTIFACTS_DIR/corpora/cleaned)",
    )
    work = parser.add_argument_group("new rows")
    work.add_argument(
        "--init-strategy",
        choices=STRATEGIES,
        default=Config.init_strategy,
        help="how a new token's row is made. From the matrix: mean of all kept rows, random normal, zeros, keep the "
        "old row, mean of the rows of its pieces under the original tokenizer, pieces weighted by role, draws from "
        "the gaussian of the kept rows. From text: focus, a mixture of rows used alike. From text and model: distill, "
        "trained so that the frozen model takes the token for its pieces (default: %(default)s)",
    )
    work.add_argument(
        "--compare-strategies",
        action="store_true",
        help="try every strategy and print a table: norms, loss on held-out text, probability taken (default: only the "
        "chosen one)",
    )
    add_number(work, Config, "--seed", "of random draws and of the text that is read")
    add_number(
        work, Config, "--heldout-bytes", "of held-out text, for the loss before any training; 0: none is measured"
    )
    text = parser.add_argument_group("text for focus and distill")
    add_number(text, Config, "--text-bytes", "of the training text that are read, chosen by hash")
    add_number(text, Config, "--snippets-per-token", "that distill reads, where the text has so many")
    add_number(text, Config, "--snippet-tokens", "length of a snippet")
    add_number(text, Config, "--max-snippets", "for all tokens together; they take the time")
    machine = parser.add_argument_group("machine")
    add_number(machine, Config, "--threads", "CPU threads where the model is run; another number rounds differently")
    machine.add_argument(
        "--device",
        default=Config.device,
        metavar="NAME",
        help="where the model is run: cpu, cuda (default: %(default)s)",
    )
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument(
        "--embeddings-output-dir",
        type=Path,
        default=Config.embeddings_output_dir,
        metavar="DIR",
        help="where the .pt and .json files go (default: ARTIFACTS_DIR/embeddings)",
    )


def check_options(config: Config) -> None:
    """Raises ConfigError for a value that cannot work."""
    least = {"seed": 0, "heldout_bytes": 0, "text_bytes": 1, "snippets_per_token": 1, "max_snippets": 1, "threads": 1}
    check_least(config, least | {"snippet_tokens": 2})
    if config.device != "cpu":
        if not re.fullmatch(r"cuda(:\d+)?", config.device):
            raise ConfigError(f"--device {config.device}: must be cpu, cuda, or cuda:N for one of several")
        choose_device("cuda", {"LOCAL_RANK": config.device.partition(":")[2] or "0"})
