"""What reassigned ids are worth on a real pretrained model: bits per byte before and after training, against a control.

    python tests/benchmarks/bench_worth.py --work DIR [--minutes N] [--only REGEX] [--report-only] [--results]

For each domain (`--domains NAME:LR,...`) ids of the model are reassigned in several ways (ARMS), and every model is
trained once on the same budget's documents; `unchanged` is the model with its own vocabulary, trained on the same
bytes, `unchanged-flops` on as many FLOPs as `superwords-500` took for training. A cell is a JSON file that is made
once: a run that is stopped goes on. In the table: tokens of the held-out documents that are saved; their bits per byte,
and what that is more than the control's with its 95 % interval (documents drawn again, in pairs); bits lost for each
token saved; petaFLOPs of training. On two cores some 90 tokens of SmolLM2 are trained a second.
"""

import argparse
import json
import os
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_tokenizers import ROOT, ivr
from experiment_cells import score_texts
from experiment_data import documents_of, first_bytes, mixed, write_documents
from results import Record, add_option, command_line, publish

from ivr.artifacts import ArtifactPaths
from ivr.corpus.documents import write_document
from ivr.disk.writer import atomic_file, write_json
from ivr.evaluation.bits_per_byte import Scores
from ivr.evaluation.intervals import paired_difference

NAME = "worth"
COLUMNS = (
    "domain", "budget in kB", "arm", "tokens saved %", "bits per byte", "more than the control", "95 % interval",
    "bits lost per token saved", "PFLOPs",
)  # fmt: skip
DOMAIN_BYTES, BLOCK, WARMUP_STEPS = 4_000_000, 256, 5
OF_ARM_FLOPS = "superwords-500"


@dataclass(frozen=True)
class Arm:
    """`swaps` ids go to new tokens of up to `words` words; 0: the vocabulary stays."""

    swaps: int = 0
    words: int = 1
    untied: bool = False


UNCHANGED, SAME_FLOPS = "unchanged", "unchanged-flops"
ARMS = {
    UNCHANGED: Arm(),
    "words-500": Arm(500),
    "superwords-500": Arm(500, 4),
    SAME_FLOPS: Arm(),
    "superwords-500-untied": Arm(500, 4, untied=True),
    "words-2000": Arm(2000),
    "superwords-2000": Arm(2000, 4),
}


@dataclass(frozen=True)
class Cell:
    """One model: a domain, an arm, and the bytes of text it has been trained on."""

    domain: str
    arm: str
    budget: int

    @property
    def name(self) -> str:
        return f"{self.domain}-{self.arm}-{self.budget}"


class Laboratory:
    """Where everything lies below `options.work`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.root = options, options.work
        self.rates = {name: float(rate) for name, _, rate in (one.partition(":") for one in options.domains.split(","))}

    def cells(self) -> list[Cell]:
        budgets = [0, *(int(1000 * float(budget)) for budget in self.options.budgets.split(","))]
        arms = [(budget, arm) for budget in budgets for arm in ARMS if budget or arm != SAME_FLOPS]
        return [Cell(domain, arm, budget) for budget, arm in arms for domain in self.rates]

    def result(self, cell: Cell) -> dict[str, Any] | None:
        path = self._file(cell)
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def run(self, cell: Cell) -> None:
        """Make the cell's model and score it."""
        started = time.monotonic()
        model, facts = self._aligned(cell), dict[str, Any]()
        if cell.budget:
            model, facts = self._trained(cell, model)
        scores = score_texts(model, self._heldout(cell.domain), self.options.threads)
        write_json(self._file(cell), {**facts, "seconds": round(time.monotonic() - started), "scores": scores})

    def _file(self, cell: Cell) -> Path:
        return Path(self.root / "cells" / f"{cell.name}.json")

    def _shared(self, domain: str) -> Path:
        """The run of a domain behind `distill-tokenizer`, of which the arms' runs are copies."""
        run, text = self.root / domain, self.root / "text" / domain
        if not text.exists():
            text.mkdir(parents=True)
            documents = first_bytes(mixed(documents_of(self.options.corpora_dir, domain)), DOMAIN_BYTES)
            write_documents(text / f"{domain}.jsonl", documents)
        if not (run / "manifests" / "distill-tokenizer.json").is_file():
            ivr("init", run, "--model-name", self.options.model_name, "--raw-corpora-dir", text)
            for stage in ("analyze", "distill-tokenizer"):
                ivr(stage, run)
        return Path(run)

    def _aligned(self, cell: Cell) -> Path:
        """The model that training starts from."""
        arm, shared = ARMS[cell.arm], self._shared(cell.domain)
        if not arm.swaps:
            return ArtifactPaths(shared).base_model
        run = self.root / f"{cell.domain}-{cell.arm}"
        if not run.exists():
            shutil.copytree(shared, run, copy_function=os.link)
        if not (run / "manifests" / "align.json").is_file():
            ivr("select", run, "--swaps", arm.swaps, "--max-words", arm.words)
            ivr("remap", run)
            head = ["--untie-head"] if arm.untied else []
            ivr("align", run, "--heldout-bytes", 0, "--max-snippets", self.options.snippets, *head)
        return ArtifactPaths(run).aligned_model

    def _trained(self, cell: Cell, model: Path) -> tuple[Path, dict[str, Any]]:
        budget = self.root / "budgets" / f"{cell.domain}-{cell.budget}"
        whole = ArtifactPaths(self._shared(cell.domain)).cleaned_corpora
        if not budget.exists():
            budget.mkdir(parents=True)
            documents = mixed(iter(_texts(whole)))
            with atomic_file(budget / "text.txt") as stream:
                for text in first_bytes(documents, cell.budget):
                    write_document(stream, text)
        corpus, length = budget, ["--epochs", 1]
        if cell.arm == SAME_FLOPS:
            like = self.result(Cell(cell.domain, OF_ARM_FLOPS, cell.budget))
            assert like is not None, f"{OF_ARM_FLOPS} comes first"
            corpus, length = whole, ["--max-tokens", like["tokens"]]  # a token takes the same FLOPs in both
        work = self.root / "work"
        shutil.rmtree(work, ignore_errors=True)
        found = ivr(
            "train", work, "--model-name", model, "--cleaned-corpora-dir", corpus, *length, "--block-size", BLOCK,
            "--batch-size", 2, "--lr", self.rates[cell.domain], "--warmup-steps", WARMUP_STEPS, "--eval-bytes", 0,
            "--save-every", 10**9, "--max-loss-rise", 0, "--threads", self.options.threads,
        )["results"]  # fmt: skip
        kept = ("steps", "tokens", "bytes", "loss_first", "loss_last", "tokens_per_second_median")
        final = ArtifactPaths(work).final_model
        return final, {name: found[name] for name in kept} | {"flops_per_token": _flops_per_token(final)}

    def _heldout(self, domain: str) -> list[str]:
        from ivr.evaluation.heldout import choose_documents

        held_out = ArtifactPaths(self._shared(domain)).heldout_corpora
        return choose_documents(held_out, 10**6, self.options.scored_bytes)


def _flops_per_token(model_dir: Path) -> float:
    from ivr.evaluation.compute import attention_width, flops_per_token, num_multiplied
    from ivr.evaluation.models import load_model

    model = load_model(model_dir)
    return flops_per_token(num_multiplied(model), attention_width(model.config), BLOCK)


def _texts(folder: Path) -> list[str]:
    from ivr.corpus.documents import read_documents

    return list(read_documents(folder))


def table(lab: Laboratory) -> list[list[str | int | float | None]]:
    """A row for each cell that there is and whose control there is."""
    rows: list[list[str | int | float | None]] = []
    for cell in lab.cells():
        found, control = lab.result(cell), lab.result(Cell(cell.domain, UNCHANGED, cell.budget))
        if not found or not control:
            continue
        mine, others = _scores(found), _scores(control)
        saved = int(others.tokens_N.sum() - mine.tokens_N.sum())
        row: list[str | int | float | None] = [cell.domain, cell.budget // 1000, cell.arm]
        row += [round(100 * saved / int(others.tokens_N.sum()), 1), round(mine.bits_per_byte, 4)]
        if cell.arm == UNCHANGED:
            row += ["", "", ""]
        else:
            more = paired_difference(mine, others)
            lost = float(mine.bits_N.sum() - others.bits_N.sum()) / saved if saved > 0 else None
            row += [round(more.difference, 4), f"{more.low:.4f} to {more.high:.4f}", round(lost, 2) if lost else ""]
        flops = found.get("tokens", 0) * found.get("flops_per_token", 0)
        rows.append([*row, round(flops / 1e15, 2) if flops else ""])
    return rows


def _scores(found: dict[str, Any]) -> Scores:
    scores = found["scores"]
    return Scores(np.array(scores["bits"]), np.array(scores["tokens"]), np.array(scores["bytes"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    corpora = Path(os.environ.get("CORPORA_DIR") or ROOT.parent / "shared" / "corpora")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model-name", default="smollm2")
    parser.add_argument("--corpora-dir", type=Path, default=corpora)
    parser.add_argument("--domains", default="biomedical:3e-5,korean_reviews:1e-4", help="(default: %(default)s)")
    parser.add_argument("--budgets", default="100", help="kB of training text (default: %(default)s)")
    parser.add_argument("--scored-bytes", type=int, default=16_000, help="of held-out text (default: %(default)s)")
    parser.add_argument("--snippets", type=int, default=300, help="that `align` reads (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no cell after so many")
    parser.add_argument("--only", default="", metavar="REGEX", help="just the cells whose names match")
    parser.add_argument("--report-only", action="store_true", help="the table of the cells that there are")
    add_option(parser)
    options = parser.parse_args()
    lab, until = Laboratory(options), time.monotonic() + 60 * options.minutes
    for cell in lab.cells():
        if options.report_only or lab.result(cell) or not re.search(options.only, cell.name):
            continue
        if time.monotonic() > until:
            print(f"time is up; the same command goes on with {cell.name}", file=sys.stderr)
            break
        print(time.strftime("%H:%M:%S"), cell.name, file=sys.stderr, flush=True)
        lab.run(cell)
    rows = table(lab)
    for row in rows:
        print(*row, sep="\t")
    publish(options, NAME, Record(command_line(), COLUMNS, rows))


if __name__ == "__main__":
    main()
