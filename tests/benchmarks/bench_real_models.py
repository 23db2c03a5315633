"""Pretrained models moved to a domain, end to end: one row a model, and what each writes before and after.

    python tests/benchmarks/bench_real_models.py --corpus DIR [MODEL...] [--work DIR] [--swaps 1000] [--steps 100]
                                                 [--block-size 256] [--lr 1e-4] [--results [RECORD.json]]

MODEL: as `ivr init --model-name` takes it. The default is `smollm2`, which needs a package registry; with a network to
the Hugging Face Hub (or to what HF_ENDPOINT names) also HuggingFaceTB/SmolLM2-135M and openai-community/gpt2. Each goes
through all stages as a user runs them. In the table: bits per byte of held-out text of the base model, after alignment
and after training; tokens saved. Then ten lines of each model's own, before and after, drawn from its distribution,
which are printed and not kept. With `--work` what is done is not done again and stays there.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from bench_tokenizers import ivr
from results import Record, add_option, command_line, publish

NAME = "real-models"
MODELS = ("smollm2", "HuggingFaceTB/SmolLM2-135M", "openai-community/gpt2")
COLUMNS = ("model", "swaps", "steps", "base", "aligned", "trained", "tokens saved %")
LINES, TOKENS = 10, 40


def measure(model: str, artifacts: Path, options: argparse.Namespace) -> list[str | int | float | None]:
    """All stages; the row of the table."""
    ivr("init", artifacts, "--model-name", model, "--raw-corpora-dir", options.corpus)
    for stage in ("analyze", "distill-tokenizer"):
        ivr(stage, artifacts)
    ivr("select", artifacts, "--swaps", options.swaps)
    ivr("remap", artifacts)
    ivr("align", artifacts, "--max-snippets", options.snippets, "--heldout-bytes", options.eval_bytes)
    training = ["--max-steps", options.steps, "--block-size", options.block_size, "--lr", options.lr]
    ivr("train", artifacts, *training, "--eval-every", options.steps, "--eval-bytes", options.eval_bytes)
    found = ivr("evaluate", artifacts, "--max-bytes", options.eval_bytes, "--samples", 0)["results"]
    bits = found["bits_per_byte"]["domain"]
    figures = [round(bits[name], 4) for name in ("base", "aligned", "trained")]
    return [model, options.swaps, options.steps, *figures, round(found["tokens_saved_percent"], 1)]


def lines_of(model_dir: Path) -> list[str]:
    """Ten beginnings of documents, drawn with a fixed seed."""
    import torch
    from tokenizers import Tokenizer

    from ivr.corpus.document_end import start_of_text_id
    from ivr.evaluation.models import load_model
    from ivr.evaluation.sampling import sample

    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    drawn: Any = sample(
        load_model(model_dir), start_of_text_id(tokenizer, model_dir), LINES, TOKENS, seed=0, device=torch.device("cpu")
    )
    return [" ".join(tokenizer.decode(row.tolist()).split()) for row in drawn.ids_BT]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS[:1], metavar="MODEL", help=f"such as {', '.join(MODELS)}")
    parser.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="raw text of the domain")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where the runs go (default: nowhere that stays)")
    for name, default in (("swaps", 1000), ("steps", 100), ("block-size", 256), ("snippets", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default, help="(default: %(default)s)")
    parser.add_argument("--eval-bytes", type=int, default=40_000, help="held-out text read (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=1e-4, help="peak learning rate (default: %(default)s)")
    add_option(parser)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.work or Path(scratch)
        for model in options.models:
            artifacts = folder / model.replace("/", "--")
            rows.append(measure(model, artifacts, options))
            print(
                *(f"{column}: {value}" for column, value in zip(COLUMNS, rows[-1], strict=True)), sep="; ", flush=True
            )
            for when, directory in (("before", "models/base"), ("after", "training/final")):
                print(f"\n{model}, {when}:", *lines_of(artifacts / directory), sep="\n  ", flush=True)
    publish(options, NAME, Record(command_line(), COLUMNS, rows))


if __name__ == "__main__":
    main()
