"""The cells of bench_worth.py: how a model gets its ids, is trained and scored; each is a JSON file, made once."""

import argparse
import json
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_tokenizers import ROOT, ivr
from experiment_cells import score_texts
from experiment_data import (
    GENERAL,
    GENERAL_HELD_OUT,
    SMALL,
    documents_of,
    first_bytes,
    mixed,
    prepare_text,
    pretrain,
    write_documents,
)

from ivr.artifacts import ArtifactPaths
from ivr.corpus.documents import write_document
from ivr.disk.writer import atomic_file, write_json
from ivr.evaluation.bits_per_byte import Scores
from ivr.training.control.arms import initialising_flops

DOMAIN_BYTES, WARMUP_STEPS = 4_000_000, 5
OF_ARM_FLOPS = "superwords-500"


@dataclass(frozen=True)
class Arm:
    """`swaps` ids go to new tokens of up to `words` words; 0: the vocabulary stays.

    loose: they may span any boundary; dropout: share of the superwords in training text that are cut in two.
    """

    swaps: int = 0
    words: int = 1
    untied: bool = False
    loose: bool = False
    dropout: float = 0.0


UNCHANGED, SAME_FLOPS = "unchanged", "unchanged-flops"
ARMS = {
    UNCHANGED: Arm(),
    "words-500": Arm(500),
    "superwords-500": Arm(500, 4),
    SAME_FLOPS: Arm(),
    "superwords-500-untied": Arm(500, 4, untied=True),
    "superwords-500-dropout": Arm(500, 4, dropout=0.1),
    "loose-500": Arm(500, 4, loose=True),
    "words-2000": Arm(2000),
    "superwords-2000": Arm(2000, 4),
    "superwords-2000-dropout": Arm(2000, 4, dropout=0.1),
    "loose-2000": Arm(2000, 4, loose=True),
}


@dataclass(frozen=True)
class Cell:
    """One model: a domain, an arm, the bytes of text it has been trained on, and one learning rate of several."""

    domain: str
    arm: str
    budget: int
    rate: float | None = None

    @property
    def name(self) -> str:
        tuned = f"-lr{self.rate:g}" if self.rate else ""
        return f"{self.domain}-{self.arm}-{self.budget}{tuned}"


class Laboratory:
    """Where everything lies below `options.work`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.root = options, options.work
        domains = (one.partition(":") for one in options.domains.split(","))
        self.rates = {name: [float(rate) for rate in rates.split("/")] for name, _, rates in domains}

    def arms(self) -> list[Cell]:
        """A cell for every row of the table, of no rate yet."""
        budgets = [0, *(int(1000 * float(budget)) for budget in self.options.budgets.split(","))]
        arms = [
            (budget, arm)
            for budget in budgets
            for arm in ARMS
            if budget or not (arm == SAME_FLOPS or ARMS[arm].dropout)
        ]
        return [Cell(domain, arm, budget) for budget, arm in arms for domain in self.rates]

    def cells(self) -> list[Cell]:
        return [tuned for cell in self.arms() for tuned in self._tuned(cell)]

    def result(self, cell: Cell) -> dict[str, Any] | None:
        """Of the rate that loses least on the tuning text; None where one of the rates has not run."""
        found = [self.read(tuned) for tuned in self._tuned(cell)]
        done = [result for result in found if result is not None]
        if len(done) < len(found):
            return None
        return min(done, key=lambda one: scores_of(one["tuning"]).bits_per_byte) if len(done) > 1 else done[0]

    def read(self, cell: Cell) -> dict[str, Any] | None:
        path = self._file(cell)
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def run(self, cell: Cell) -> None:
        """Make the cell's model and score it."""
        started = time.monotonic()
        model, facts = self._aligned(cell), dict[str, Any]()
        if cell.budget:
            model, facts = self._trained(cell, model)
        kinds = ["scores", *(["tuning"] if cell.rate else []), *(["general"] if self.options.general_bytes else [])]
        for kind in kinds:
            facts[kind] = score_texts(model, self._texts(cell.domain, kind), self.options.threads)
        if self.options.prompt_cuts:
            texts = self._texts(cell.domain, "scores")
            facts["prompt_end"] = prompt_end(model, texts, self.options.prompt_cuts, self.options.threads)
        write_json(self._file(cell), {**facts, "seconds": round(time.monotonic() - started)})

    def _tuned(self, cell: Cell) -> list[Cell]:
        rates = self.rates[cell.domain]
        return [replace(cell, rate=rate) for rate in rates] if cell.budget and len(rates) > 1 else [cell]

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
            ivr("init", run, "--model-name", self._model(), "--raw-corpora-dir", text)
            for stage in ("analyze", "distill-tokenizer"):
                ivr(stage, run)
        return Path(run)

    def _model(self) -> str:
        """What `init` is to take; the small GPT-2 is pre-trained where it is not there yet."""
        if self.options.model_name != "small":
            return str(self.options.model_name)
        books, model = self.root / "books", self.root / "base"
        if not model.exists():
            if not books.exists():
                prepare_text(self.options.corpora_dir, books, SMALL)
            pretrain(books, model, SMALL, ROOT, "cpu", self.options.threads)
        return str(model)

    def _aligned(self, cell: Cell) -> Path:
        """The model that training starts from."""
        arm, shared = ARMS[cell.arm], self._shared(cell.domain)
        if not arm.swaps:
            return ArtifactPaths(shared).base_model
        run = self.root / f"{cell.domain}-{cell.arm.removesuffix('-dropout')}"
        if not run.exists():
            shutil.copytree(shared, run, copy_function=os.link)
        if not (run / "manifests" / "align.json").is_file():
            loose = ["--superword-boundaries", "none"] if arm.loose else []
            ivr("select", run, "--swaps", arm.swaps, "--max-words", arm.words, *loose)
            ivr("remap", run)
            head = ["--threads", self.options.threads, *(["--untie-head"] if arm.untied else [])]
            ivr("align", run, "--heldout-bytes", 0, "--max-snippets", self.options.snippets, *head)
        return ArtifactPaths(run).aligned_model

    def _trained(self, cell: Cell, model: Path) -> tuple[Path, dict[str, Any]]:
        budget = self.root / "budgets" / f"{cell.domain}-{cell.budget}"
        whole = ArtifactPaths(self._shared(cell.domain)).cleaned_corpora
        if not (budget / "text.txt").exists():
            budget.mkdir(parents=True, exist_ok=True)
            documents = mixed(iter(_texts(whole)))
            with atomic_file(budget / "text.txt") as stream:
                for text in first_bytes(documents, cell.budget):
                    write_document(stream, text)
        corpus, length = budget, ["--epochs", 1]
        if cell.arm == SAME_FLOPS:
            like = self.result(Cell(cell.domain, OF_ARM_FLOPS, cell.budget))
            assert like is not None, f"{OF_ARM_FLOPS} comes first"
            corpus, length = whole, ["--max-tokens", like["tokens"] + self._tokens_for_rows(cell.domain, like)]
        work = self.root / "work"
        shutil.rmtree(work, ignore_errors=True)
        dropped = []
        if dropout := ARMS[cell.arm].dropout:
            shutil.copytree(model.parents[1] / "tokenizers", work / "tokenizers", copy_function=os.link)
            dropped = ["--superword-dropout", dropout]
        block, rate = self.options.block_size, cell.rate or self.rates[cell.domain][0]
        found = ivr(
            "train", work, "--model-name", model, "--cleaned-corpora-dir", corpus, *length, "--block-size", block,
            "--batch-size", 2, "--lr", rate, "--warmup-steps", WARMUP_STEPS, "--eval-bytes", 0, "--save-every", 10**9,
            "--max-loss-rise", 0, "--threads", self.options.threads, *dropped,
        )["results"]  # fmt: skip
        kept = ("steps", "tokens", "bytes", "loss_first", "loss_last", "tokens_per_second_median")
        final = ArtifactPaths(work).final_model
        return final, {name: found[name] for name in kept} | {"flops_per_token": _flops_per_token(final, block)}

    def _tokens_for_rows(self, domain: str, like: dict[str, Any]) -> int:
        """Tokens of training that take the FLOPs of the rows of `like`, a cell of OF_ARM_FLOPS."""
        from ivr.evaluation.compute import num_multiplied
        from ivr.evaluation.models import load_model

        run = ArtifactPaths(self.root / f"{domain}-{OF_ARM_FLOPS}")
        effort = json.loads(run.manifest("align").read_text(encoding="utf-8"))["results"].get("distilled_from", {})
        flops = initialising_flops(effort, num_multiplied(load_model(run.aligned_model)))
        return round(flops / like["flops_per_token"])

    def _texts(self, domain: str, kind: str) -> list[str]:
        """Held-out documents that are scored, others that choose the rate, or novels."""
        from ivr.evaluation.heldout import choose_documents

        if kind == "general":
            books = mixed(documents_of(self.options.corpora_dir, GENERAL))
            return first_bytes(books[::GENERAL_HELD_OUT], self.options.general_bytes)
        held_out = ArtifactPaths(self._shared(domain)).heldout_corpora
        scored = choose_documents(held_out, 10**6, self.options.scored_bytes)
        if kind == "scores":
            return scored
        return choose_documents(held_out, 10**6, 2 * self.options.scored_bytes)[len(scored) :]


def scores_of(scores: dict[str, list[float]]) -> Scores:
    """A cell's scores as `paired_difference` takes them."""
    return Scores(np.array(scores["bits"]), np.array(scores["tokens"]), np.array(scores["bytes"]))


def prompt_end(model_dir: Path, texts: list[str], num_cuts: int, threads: int) -> dict[str, Any]:
    """What a prompt's end costs (`PromptEnd.results`), at so many places of these texts."""
    import torch

    from ivr.corpus.document_end import start_of_text_id
    from ivr.encoding.text.tokenizer_file import load_for_text
    from ivr.evaluation.models import context_of, load_model
    from ivr.evaluation.prompt_end import choose_cuts, score_prompt_ends

    torch.set_num_threads(threads)
    tokenizer, model = load_for_text(model_dir), load_model(model_dir)
    start_id = start_of_text_id(tokenizer, model_dir)
    cuts = choose_cuts(texts, num_cuts, 0)
    found = score_prompt_ends(model, tokenizer, cuts, start_id, context_of(model), torch.device("cpu"))
    assert found is not None
    return found.results(0)


def _flops_per_token(model_dir: Path, block_size: int) -> float:
    from ivr.evaluation.compute import attention_width, flops_per_token, num_multiplied
    from ivr.evaluation.models import load_model

    model = load_model(model_dir)
    return flops_per_token(num_multiplied(model), attention_width(model.config), block_size)


def _texts(folder: Path) -> list[str]:
    from ivr.corpus.documents import read_documents

    return list(read_documents(folder))
