"""Every initialiser by its name, and making the rows of a whole model, an untied head's too, by one.

`Evidence` is what an initialiser may use beside the matrices. It is made by the stage, which names its files as inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ivr.console import LOG
from ivr.embedding.initialisers import rows as initialisers
from ivr.embedding.initialisers.body import Body
from ivr.embedding.initialisers.distillation import Frozen, Schedule, best_start, distill
from ivr.embedding.initialisers.domain_text import DomainText, read_domain_text
from ivr.embedding.initialisers.focus import focus, static_vectors
from ivr.embedding.initialisers.rows import Initialiser, Problem
from ivr.embedding.initialisers.snippets import SnippetRules, choose_snippets

# those that need the matrix alone
INITIALISERS: dict[str, Initialiser] = {
    "mean": initialisers.mean,
    "random": initialisers.random,
    "zeros": initialisers.zeros,
    "keep": initialisers.keep,
    "pieces": initialisers.pieces,
    "weighted": initialisers.weighted,
    "gaussian": initialisers.gaussian,
}
FOCUS, DISTILL = "focus", "distill"
STARTS = ("pieces", "zeros")  # of distill; the first is the paper's
STRATEGIES = (*INITIALISERS, FOCUS, DISTILL)


@dataclass(frozen=True)
class Effort:
    """How much text and work: bytes read of the corpus; snippets a new token, tokens a snippet, snippets in all."""

    text_bytes: int
    per_token: int
    length: int
    max_snippets: int
    schedule: Schedule = field(default_factory=Schedule)


@dataclass(frozen=True)
class Evidence:
    """The training text (read when first asked for), the frozen model, and which base row each remapped id has."""

    corpus: Path
    tokenizer_dir: Path
    sources: np.ndarray
    body: Body | None
    effort: Effort
    seed: int

    @cached_property
    def text(self) -> DomainText:
        text = read_domain_text(self.corpus, self.tokenizer_dir, self.effort.text_bytes, self.seed)
        LOG.info("align: reading %d documents, %s tokens, of %s", len(text.documents), text.num_tokens, self.corpus)
        return text

    @cached_property
    def vectors_VS(self) -> np.ndarray:
        return static_vectors(self.text.documents, len(self.sources))


@dataclass(frozen=True)
class Made:
    """The new rows (K, D) of each matrix; distilled_from: what `distill` read for them (snippets, tokens)."""

    rows: list[np.ndarray]
    distilled_from: dict[str, int | str] = field(default_factory=dict)


def make_rows(strategy: str, problems: Sequence[Problem], aligned: Sequence[torch.Tensor], evidence: Evidence) -> Made:
    """New rows by `strategy`. `problems` and `aligned`: of the input embeddings and, where it is untied, of the head.

    aligned: the reordered matrices, by remapped id; their rows at new ids are not read.
    """
    if strategy in INITIALISERS:
        return Made([INITIALISERS[strategy](problem) for problem in problems])
    if strategy == FOCUS:
        return Made([focus(problem, evidence.vectors_VS, evidence.sources) for problem in problems])
    assert strategy == DISTILL, strategy
    assert evidence.body is not None, "the stage gives `distill` a model"
    effort, first = evidence.effort, problems[0]
    snippets = choose_snippets(
        evidence.text,
        first.new_ids,
        first.pieces,
        evidence.sources,
        SnippetRules(effort.per_token, effort.max_snippets, effort.length, evidence.body.context, evidence.seed),
    )
    met = set(np.concatenate([s.student for s in snippets]).tolist()) if snippets else set()
    never = sum(token_id not in met for token_id in first.new_ids)
    read: dict[str, int | str] = {
        "snippets": len(snippets),
        "student_tokens": sum(len(snippet.student) for snippet in snippets),
        "teacher_tokens": sum(len(snippet.teacher) for snippet in snippets),
        "new_tokens_in_none": never,
    }
    LOG.info(
        "align: distilling from %(snippets)d snippets, %(student_tokens)d tokens; %(new_tokens_in_none)d new tokens "
        "are in none",
        read,
    )
    head_VD = aligned[1] if len(aligned) > 1 else None
    frozen = Frozen(evidence.body, aligned[0], head_VD, first.base_VD, first.new_ids)
    starts = {name: [INITIALISERS[name](problem) for problem in problems] for name in STARTS}
    read["started_from"] = chosen = best_start(frozen, starts, snippets, effort.schedule)
    LOG.info("align: distilling starts from %s", chosen)
    rows = distill(frozen, starts[chosen], snippets, effort.schedule)
    return Made(rows, read)
