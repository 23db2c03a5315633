"""The cells of the experiment, each a JSON file that is computed once: a killed run goes on where it was.

A cell is (domain, swaps, arm, budget). Every stage is `ivr`'s own, run in this process, with its defaults where nothing
is said. What is held equal:

* the text: an arm trains once on the budget's documents, and initialisers that read text read these alone. Only
  `distill+` reads other text of the corpus too, as `ivr align` does by default; its cells count that.
* the tuning: for each domain and budget the learning rate is chosen among the same few, once for arms without and once
  for arms with reassignment, on held-out text that is not scored (cells with `lr`).
* the FLOPs, for `none-flops`: fine-tuning without reassignment, stopped after as many as `distill` took for rows and
  training together. It may read more text than that, once each.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiment_data import DOMAINS, Size, first_bytes, mixed, read

from ivr.artifacts import ArtifactPaths
from ivr.corpus.documents import read_documents, write_document
from ivr.disk.writer import atomic_directory, write_json
from ivr.embedding.options import READ_TEXT, STRATEGIES
from ivr.training.control.arms import initialising_flops

NONE, NONE_FLOPS, NONE_REPLAY = "none", "none-flops", "none+replay"
DEFAULT, DEFAULT_CORPUS, DEFAULT_REPLAY = "distill", "distill+", "distill+replay"
REPLAY_RATIO = 0.25
GPT2_VOCABULARY = 50257
WITHOUT = (NONE, NONE_FLOPS, NONE_REPLAY)
ARMS = (
    *(NONE, DEFAULT, NONE_FLOPS, DEFAULT_CORPUS, "pieces", "weighted", "mean", "gaussian", "focus", "random", "zeros"),
    *("calibrated", "keep", NONE_REPLAY, DEFAULT_REPLAY),
)
ASKED = (NONE, DEFAULT, NONE_FLOPS, NONE_REPLAY, DEFAULT_REPLAY, DEFAULT_CORPUS)
UNASKED = ("focus", "gaussian", "weighted")
GENERAL_SCORED = (NONE, DEFAULT, DEFAULT_CORPUS, NONE_REPLAY, DEFAULT_REPLAY, "pieces", "mean")
assert set(STRATEGIES) <= set(ARMS)


@dataclass(frozen=True)
class Cell:
    """`budget` 0: not trained. Arms that know of no swaps have 0. lr: of a cell that is there to choose it."""

    domain: str
    swaps: int
    arm: str
    budget: int
    lr: float | None = None

    @property
    def name(self) -> str:
        tuned = f"-lr{self.lr:g}" if self.lr else ""
        return f"{self.domain}-{self.swaps}-{self.arm}-{self.budget}{tuned}"

    @property
    def strategy(self) -> str | None:
        """Of `ivr align`; None: the base model."""
        return None if self.arm in WITHOUT else self.arm.split("+")[0]


def tuning_cells(size: Size) -> list[Cell]:
    arms = ((NONE, 0), (DEFAULT, size.swaps[0]))
    tried = zip(size.budgets, size.lrs, strict=True)
    return [Cell(d, k, arm, b, lr) for b, lrs in tried for d in DOMAINS for arm, k in arms for lr in lrs]


def cells(size: Size) -> list[Cell]:
    """All cells: what is compared, without those that choose a learning rate."""
    found = []
    for budget in (0, *size.budgets):
        for arm in ARMS:
            replays = arm in (NONE_REPLAY, DEFAULT_REPLAY)
            if (replays and budget != size.budgets[-1]) or (not budget and arm in (NONE_FLOPS, DEFAULT_CORPUS)):
                continue
            for domain in DOMAINS:
                for swaps in (0,) if arm in (NONE, NONE_REPLAY) else size.swaps:
                    found.append(Cell(domain, swaps, arm, budget))
    return found


def plan(size: Size) -> list[Cell]:
    """All cells in the order in which they run: what is trained needs a learning rate; what no bar asks for is last."""

    def turn(cell: Cell) -> tuple[int, ...]:
        if cell.arm in UNASKED:
            return (3, cell.budget)
        if not cell.budget:
            return (0, 0)
        if cell.arm in ASKED:
            return (1, cell.budget, not cell.lr, ASKED.index(cell.arm))
        return (2, cell.budget)

    return sorted([*cells(size), *tuning_cells(size)], key=turn)


@dataclass(frozen=True)
class Laboratory:
    """Where everything lies below `root`, and how it is run."""

    root: Path
    size: Size
    device: str
    threads: int

    def artifacts(self, domain: str, swaps: int = 0) -> Path:
        return self.root / (f"{domain}-{swaps}" if swaps else domain)

    def result(self, cell: Cell) -> Path:
        return self.root / "cells" / f"{cell.name}.json"

    def read(self, cell: Cell) -> dict[str, Any] | None:
        path = self.result(cell)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def text(self, domain: str, budget: int) -> Path:
        """What a budget's cells train on; budget 0: the domain's whole training text."""
        if not budget:
            return ArtifactPaths(self.artifacts(domain)).cleaned_corpora
        return self.root / "budgets" / f"{domain}-{budget}"


def prepare_vocabularies(lab: Laboratory) -> None:
    """Stages init to remap: once a domain up to the distilled tokenizer, then once a number of swaps."""
    from ivr.analysis import analyze
    from ivr.base import init
    from ivr.tokenizer.distill import stage as distill
    from ivr.tokenizer.remap import stage as remap
    from ivr.tokenizer.select import stage as select

    for domain in DOMAINS:
        root = lab.artifacts(domain)
        if not ArtifactPaths(root).manifest("distill-tokenizer").exists():
            init.run(
                init.Config(
                    root,
                    model_name=str(lab.root / "base"),
                    raw_corpora_dir=lab.root / "text" / "raw" / domain,
                    general_corpora_dir=lab.root / "text" / "protected",
                )
            )
            analyze.run(analyze.Config(root))
            distill.run(distill.Config(root))
        for swaps in lab.size.swaps:
            target = lab.artifacts(domain, swaps)
            if not target.exists():
                with atomic_directory(target) as staging:
                    shutil.copytree(root, staging, dirs_exist_ok=True)
            if not ArtifactPaths(target).manifest("remap").exists():
                select.run(select.Config(target, swaps=swaps))
                remap.run(remap.Config(target))
    for domain in DOMAINS:
        documents = mixed(read_documents(lab.text(domain, 0)))
        for budget in lab.size.budgets:
            folder = lab.text(domain, budget)
            if not folder.exists():
                with atomic_directory(folder) as staging, (staging / "text.txt").open("w", encoding="utf-8") as stream:
                    for text in first_bytes(documents, budget):
                        write_document(stream, text)


def initialised(lab: Laboratory, cell: Cell) -> tuple[Path, float]:
    """The model directory a cell starts from, made by `ivr align` when it is not there; the FLOPs that took."""
    if cell.strategy is None:
        return ArtifactPaths(lab.artifacts(cell.domain)).base_model, 0.0
    text_of = cell.budget if cell.strategy in READ_TEXT and cell.arm != DEFAULT_CORPUS else 0
    target = lab.root / "models" / f"{cell.domain}-{cell.swaps}" / f"{cell.strategy}-{text_of}"
    if not target.exists():
        from ivr.embedding import align
        from ivr.embedding.options import Config

        root = lab.artifacts(cell.domain, cell.swaps)
        manifest = align.run(
            Config(
                root,
                init_strategy=cell.strategy,
                cleaned_corpora_dir=lab.text(cell.domain, text_of),
                heldout_bytes=0,
                max_snippets=lab.size.snippets,
                threads=lab.threads,
                device=lab.device,
            )
        )
        with atomic_directory(target) as staging:
            shutil.copytree(ArtifactPaths(root).aligned_model, staging, dirs_exist_ok=True)
            write_json(staging / "effort.json", manifest.results.get("distilled_from", {}))
    effort = json.loads((target / "effort.json").read_text(encoding="utf-8"))
    return target, initialising_flops(effort, sum(body_and_head(lab.size)))


def body_and_head(size: Size) -> tuple[int, int]:
    """Parameters that are multiplied with: of the blocks, and of the tied head."""
    vocabulary = 257 + size.base.num_merges if size.base.num_merges else GPT2_VOCABULARY
    return 12 * size.base.num_layers * size.base.width**2, vocabulary * size.base.width


def training_flops(size: Size) -> float:
    """Of one token, forward and backward (Chowdhery et al. 2022, appendix B)."""
    from ivr.evaluation.compute import flops_per_token

    return flops_per_token(sum(body_and_head(size)), size.base.num_layers * size.base.width, size.block_size)


def chosen_lr(lab: Laboratory, cell: Cell) -> float:
    """The one of least loss on the tuning text, for arms as the cell's."""
    with_rows = cell.strategy is not None
    found = []
    for tried in tuning_cells(lab.size):
        same_text = (tried.domain, tried.budget) == (cell.domain, cell.budget)
        if same_text and tried.lr and (tried.strategy is not None) == with_rows:
            result = lab.read(tried)
            assert result is not None, f"{tried.name} has not run"
            scores = result["scores"]["tuning"]
            found.append((sum(scores["bits"]) / sum(scores["bytes"]), tried.lr))
    return min(found)[1]


def run_cell(lab: Laboratory, cell: Cell) -> None:
    """Initialise, train, score; write the cell's JSON."""
    started, cpu = time.monotonic(), time.process_time()
    model_dir, flops = initialised(lab, cell)
    facts: dict[str, Any] = {"steps": 0, "tokens": 0, "bytes": 0, "initialising_flops": flops}
    work = lab.root / f"work-{os.getpid()}"
    if cell.budget:
        facts |= _train(lab, cell, model_dir, work)
        model_dir = ArtifactPaths(work).final_model
    kinds = ["tuning"] if cell.lr else ["domain"]
    if not cell.lr and cell.budget in (0, lab.size.budgets[-1]) and cell.arm in GENERAL_SCORED:
        kinds.append("general")
    facts["scores"] = {kind: _score(lab, cell, model_dir, kind) for kind in kinds}
    facts |= {"seconds": round(time.monotonic() - started, 2), "cpu_seconds": round(time.process_time() - cpu, 2)}
    write_json(lab.result(cell), vars(cell) | facts)
    shutil.rmtree(work, ignore_errors=True)


def _train(lab: Laboratory, cell: Cell, model_dir: Path, work: Path) -> dict[str, Any]:
    from ivr.training import train
    from ivr.training.options import Config

    shutil.rmtree(work, ignore_errors=True)
    size, text = lab.size, lab.text(cell.domain, cell.budget)
    lr = cell.lr or chosen_lr(lab, cell)
    options: dict[str, Any] = {"epochs": 1.0}
    if cell.arm == NONE_FLOPS:
        like = lab.read(Cell(cell.domain, cell.swaps, DEFAULT, cell.budget))
        assert like is not None, "the arm it is compared with has not run"
        tokens = like["tokens"] + like["initialising_flops"] / training_flops(size)
        options, text = {"max_tokens": round(tokens)}, lab.text(cell.domain, 0)
    if cell.arm in (NONE_REPLAY, DEFAULT_REPLAY):
        replayed = ArtifactPaths(lab.artifacts(cell.domain)).general_cleaned
        options |= {"replay_corpus": replayed, "replay_ratio": REPLAY_RATIO}
    manifest = train.run(
        Config(
            work,
            model_name=model_dir,
            cleaned_corpora_dir=text,
            block_size=size.block_size,
            batch_size=size.batch_size,
            lr=lr,
            warmup_steps=size.warmup_steps,
            threads=lab.threads,
            eval_bytes=0,
            save_every=10**9,
            max_loss_rise=0,
            **options,
        )
    )
    kept = ("steps", "tokens", "bytes", "loss_first", "loss_last", "passes_over_text", "tokens_per_second_median")
    return {name: manifest.results[name] for name in kept} | {"trained_lr": lr}


def _score(lab: Laboratory, cell: Cell, model_dir: Path, kind: str) -> dict[str, list[float]]:
    """Per document of the same held-out text, for every model: bits, tokens, bytes."""
    from ivr.evaluation.heldout import choose_documents

    if kind == "general":
        texts = first_bytes(read(lab.root / "text" / "general_heldout.jsonl"), lab.size.scored_bytes)
    else:
        held_out = ArtifactPaths(lab.artifacts(cell.domain)).heldout_corpora
        texts = choose_documents(held_out, 10**6, 2 * lab.size.scored_bytes)
        scored = first_bytes(texts, lab.size.scored_bytes)
        texts = scored if kind == "domain" else first_bytes(texts[len(scored) :], lab.size.tuning_bytes)
    return score_texts(model_dir, texts, lab.threads, lab.device)


def score_texts(model_dir: Path, texts: list[str], threads: int, device: str = "cpu") -> dict[str, list[float]]:
    """Per document: bits, tokens, bytes."""
    import torch

    from ivr.corpus.document_end import end_of_text_id
    from ivr.corpus.packing import encode_documents
    from ivr.encoding.text.tokenizer_file import load_for_text
    from ivr.evaluation.bits_per_byte import score_documents
    from ivr.evaluation.models import context_of, load_model

    torch.set_num_threads(threads)
    tokenizer = load_for_text(model_dir)
    model = load_model(model_dir).to(device)
    documents = list(encode_documents(tokenizer, texts))
    context = context_of(model)
    end = end_of_text_id(tokenizer, model_dir)
    scores = score_documents(model, documents, end, context, context, torch.device(device))
    return {
        "bits": [round(float(bits), 3) for bits in scores.bits_N],
        "tokens": scores.tokens_N.tolist(),
        "bytes": scores.bytes_N.tolist(),
    }


def finished(lab: Laboratory) -> Iterator[dict[str, Any]]:
    """The results of the cells that there are."""
    for cell in plan(lab.size):
        if (result := lab.read(cell)) is not None:
            yield result
