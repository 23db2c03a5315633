"""The cells of the experiment, each a JSON file that is computed once: a killed run goes on where it was.

A cell is (domain, swaps, arm, budget). Arms: `none`, fine-tuning the base with its own tokenizer on the same text;
`none-flops`, the same but stopped after as many tokens as the arm `distill` takes; and each initialiser. Every stage is
`ivr`'s own, run in this process. Scores are kept per document, for the bootstrap.
"""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiment_data import DOMAINS, Size, first_bytes, mixed, read

from ivr.artifacts import ArtifactPaths, atomic_directory, write_json
from ivr.corpus.documents import read_documents, write_document
from ivr.embedding.align import STRATEGIES

NONE, NONE_FLOPS, DEFAULT = "none", "none-flops", "distill"
ARMS = (NONE, DEFAULT, NONE_FLOPS, "pieces", "mean", "keep", "zeros", "focus", "random", "gaussian", "weighted")
UNASKED = ("focus", "gaussian", "weighted")  # no bar names them
assert set(ARMS) == {*STRATEGIES, NONE, NONE_FLOPS}


@dataclass(frozen=True)
class Cell:
    """`budget` 0: not trained. The arm `none` does not know of swaps (0)."""

    domain: str
    swaps: int
    arm: str
    budget: int

    @property
    def name(self) -> str:
        return f"{self.domain}-{self.swaps}-{self.arm}-{self.budget}"


def cells(size: Size) -> list[Cell]:
    """All cells. Those that the bars ask for come first, of the budgets the largest first."""
    found = []
    for budget in (0, *reversed(size.budgets)):
        for arm in ARMS:
            for domain in DOMAINS:
                for swaps in (0,) if arm == NONE else size.swaps:
                    if budget or arm != NONE_FLOPS:
                        found.append(Cell(domain, swaps, arm, budget))
    return sorted(found, key=lambda cell: cell.arm not in (NONE, DEFAULT) if cell.budget else cell.arm in UNASKED)


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

    def models(self, domain: str, swaps: int) -> Path:
        return self.root / "models" / f"{domain}-{swaps}"


def prepare_vocabularies(lab: Laboratory) -> None:
    """Stages init to remap: once a domain up to the distilled tokenizer, then once a number of swaps."""
    from ivr.analysis import analyze
    from ivr.corpus import init
    from ivr.tokenizer import distill, remap, select

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
        for budget in lab.size.budgets:
            folder = lab.root / "budgets" / f"{domain}-{budget}"
            if not folder.exists():
                with atomic_directory(folder) as staging, (staging / "text.txt").open("w", encoding="utf-8") as stream:
                    cleaned = read_documents(ArtifactPaths(lab.artifacts(domain)).cleaned_corpora)
                    for text in first_bytes(mixed(cleaned), budget):
                        write_document(stream, text)


def initialised(lab: Laboratory, cell: Cell) -> Path:
    """The model directory a cell starts from, made by `ivr align` when it is not there."""
    if cell.arm in (NONE, NONE_FLOPS):
        return ArtifactPaths(lab.artifacts(cell.domain)).base_model
    target = lab.models(cell.domain, cell.swaps) / cell.arm
    if not target.exists():
        from ivr.embedding import align

        root = lab.artifacts(cell.domain, cell.swaps)
        align.run(
            align.Config(
                root,
                init_strategy=cell.arm,
                heldout_bytes=0,
                max_snippets=lab.size.snippets,
                threads=lab.threads,
                device=lab.device,
            )
        )
        with atomic_directory(target) as staging:
            shutil.copytree(ArtifactPaths(root).aligned_model, staging, dirs_exist_ok=True)
    return target


def run_cell(lab: Laboratory, cell: Cell) -> None:
    """Initialise, train, score; write the cell's JSON."""
    started, cpu = time.monotonic(), time.process_time()
    model_dir = initialised(lab, cell)
    facts: dict[str, Any] = {"steps": 0, "tokens": 0}
    work = lab.root / "work"
    if cell.budget:
        facts = _train(lab, cell, model_dir, work)
        model_dir = ArtifactPaths(work).final_model
    kinds = ["domain"]
    if cell.budget in (0, lab.size.budgets[-1]) and cell.arm in (NONE, DEFAULT, "pieces", "mean"):
        kinds.append("general")
    facts["scores"] = {kind: _score(lab, cell, model_dir, kind) for kind in kinds}
    facts |= {"seconds": round(time.monotonic() - started, 2), "cpu_seconds": round(time.process_time() - cpu, 2)}
    write_json(lab.result(cell), vars(cell) | facts)
    shutil.rmtree(work, ignore_errors=True)


def _train(lab: Laboratory, cell: Cell, model_dir: Path, work: Path) -> dict[str, Any]:
    from ivr.training import train
    from ivr.training.options import Config

    shutil.rmtree(work, ignore_errors=True)
    length: dict[str, Any] = {"epochs": 1.0}
    if cell.arm == NONE_FLOPS:
        like = json.loads(lab.result(Cell(cell.domain, cell.swaps, DEFAULT, cell.budget)).read_text(encoding="utf-8"))
        length = {"max_steps": like["steps"]}
    manifest = train.run(
        Config(
            work,
            model_name=model_dir,
            cleaned_corpora_dir=lab.root / "budgets" / f"{cell.domain}-{cell.budget}",
            block_size=lab.size.block_size,
            batch_size=lab.size.batch_size,
            lr=lab.size.lr,
            warmup_steps=lab.size.warmup_steps,
            threads=lab.threads,
            eval_bytes=0,
            save_every=10**9,
            max_loss_rise=1e9,
            **length,
        )
    )
    lines = (work / "training" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [row for row in map(json.loads, lines) if "tokens" in row]
    assert manifest.stage == "train"
    return {
        "steps": len(steps),
        "tokens": sum(row["tokens"] for row in steps),
        "bytes": sum(row["bytes"] for row in steps),
        "losses": [round(row["loss"], 4) for row in steps],
    }


def _score(lab: Laboratory, cell: Cell, model_dir: Path, kind: str) -> dict[str, list[float]]:
    """Per document of the same held-out text, for every model: bits, tokens, bytes."""
    import torch

    from ivr.training.bits_per_byte import score_documents
    from ivr.training.heldout import choose_documents
    from ivr.training.models import load_model
    from ivr.training.packing import encode_documents, end_of_text_id, load_tokenizer

    if kind == "general":
        texts = first_bytes(read(lab.root / "text" / "general_heldout.jsonl"), lab.size.scored_bytes)
    else:
        paths = ArtifactPaths(lab.artifacts(cell.domain))
        texts = choose_documents(paths.heldout_corpora, 10**6, lab.size.scored_bytes)
    torch.set_num_threads(lab.threads)
    tokenizer = load_tokenizer(model_dir)
    model = load_model(model_dir).to(lab.device)
    documents = list(encode_documents(tokenizer, texts))
    context = int(model.config.n_positions)
    scores = score_documents(
        model, documents, end_of_text_id(tokenizer, model_dir), context, context, torch.device(lab.device)
    )
    return {
        "bits": [round(float(bits), 3) for bits in scores.bits_N],
        "tokens": scores.tokens_N.tolist(),
        "bytes": scores.bytes_N.tolist(),
    }


def finished(lab: Laboratory) -> Iterator[dict[str, Any]]:
    """The results of the cells that there are."""
    for cell in cells(lab.size):
        if lab.result(cell).exists():
            yield json.loads(lab.result(cell).read_text(encoding="utf-8"))
