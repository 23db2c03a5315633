"""Every initialiser by its name, and making the rows of a whole model, an untied head's too, by one.

`Evidence` is what an initialiser may use beside the matrices. It is made by the stage, which names its files as inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ivr.console import LOG
from ivr.embedding.initialisers import rows as initialisers
from ivr.embedding.initialisers.body import Body
from ivr.embedding.initialisers.calibration import bias_direction, calibrated, last_states, rest_shares
from ivr.embedding.initialisers.distillation import SHARES, Frozen, Schedule, best_start, distill, keep_what_pays
from ivr.embedding.initialisers.domain_text import DomainText, read_domain_text
from ivr.embedding.initialisers.focus import focus, static_vectors
from ivr.embedding.initialisers.rows import Initialiser, Problem
from ivr.embedding.initialisers.snippets import Snippet, SnippetRules, choose_snippets, set_aside

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
FOCUS, CALIBRATED, DISTILL = "focus", "calibrated", "distill"
STARTS = ("pieces", "weighted", "zeros")  # of distill, besides `calibrated`; the first is the paper's
STRATEGIES = (*INITIALISERS, FOCUS, CALIBRATED, DISTILL)
WINDOW = 200  # tokens of a window set aside
FEW = 64  # snippets


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
    distilled_from: dict[str, Any] = field(default_factory=dict)


def make_rows(strategy: str, problems: Sequence[Problem], aligned: Sequence[torch.Tensor], evidence: Evidence) -> Made:
    """New rows by `strategy`. `problems` and `aligned`: of the input embeddings and, where it is untied, of the head.

    aligned: the reordered matrices, by remapped id; their rows at new ids are not read.
    """
    if strategy in INITIALISERS:
        return Made([INITIALISERS[strategy](problem) for problem in problems])
    if strategy == FOCUS:
        return Made([focus(problem, evidence.vectors_VS, evidence.sources) for problem in problems])
    assert evidence.body is not None, "the stage gives a model to those that run it"
    text, aside = set_aside(evidence.text, min(WINDOW, evidence.body.context - 1))
    snippets = _snippets(text, problems[0], evidence, evidence.body)
    rows = _calibrated(problems, text, snippets, evidence)
    if strategy == CALIBRATED:
        return Made(rows)
    # a text too short to set some aside is judged by what it is trained on
    judged_on = aside or [snippet.student for snippet in snippets[:FEW]]
    return _distilled(problems, aligned, snippets, judged_on, rows, evidence)


def _snippets(text: DomainText, problem: Problem, evidence: Evidence, body: Body) -> list[Snippet]:
    effort = evidence.effort
    rules = SnippetRules(effort.per_token, effort.max_snippets, effort.length, body.context, evidence.seed)
    return choose_snippets(text, problem.new_ids, problem.pieces, evidence.sources, rules)


def _calibrated(
    problems: Sequence[Problem], text: DomainText, snippets: Sequence[Snippet], evidence: Evidence
) -> list[np.ndarray]:
    first = problems[0]
    assert evidence.body is not None
    if not snippets:  # text that holds no new token tells nothing
        return [initialisers.pieces(problem) for problem in problems]
    bias_D = bias_direction(last_states(evidence.body, first.base_VD, snippets))
    shares_K = rest_shares(text.documents, first.new_ids, first.pieces, evidence.sources)
    return [calibrated(problem, shares_K, bias_D) for problem in problems]


def _distilled(
    problems: Sequence[Problem],
    aligned: Sequence[torch.Tensor],
    snippets: Sequence[Snippet],
    judged_on: Sequence[np.ndarray],
    calibrated_rows: list[np.ndarray],
    evidence: Evidence,
) -> Made:
    first, effort = problems[0], evidence.effort
    assert evidence.body is not None
    met = set(np.concatenate([s.student for s in snippets]).tolist()) if snippets else set()
    passes = len(STARTS) + 1 + len(SHARES) * len(problems)  # over what rows are judged on
    read: dict[str, Any] = {
        "snippets": len(snippets),
        "epochs": effort.schedule.epochs,
        "judged_tokens": passes * sum(len(window) for window in judged_on),
        "student_tokens": sum(len(snippet.student) for snippet in snippets),
        "teacher_tokens": sum(len(snippet.teacher) for snippet in snippets),
        "new_tokens_in_none": sum(token_id not in met for token_id in first.new_ids),
    }
    LOG.info(
        "align: distilling from %(snippets)d snippets, %(student_tokens)d tokens; %(new_tokens_in_none)d new tokens "
        "are in none",
        read,
    )
    head_VD = aligned[1] if len(aligned) > 1 else None
    frozen = Frozen(evidence.body, aligned[0], head_VD, first.base_VD, first.new_ids)
    starts = {name: [INITIALISERS[name](problem) for problem in problems] for name in STARTS}
    starts[CALIBRATED] = calibrated_rows
    read["started_from"] = chosen = best_start(frozen, starts, judged_on)
    LOG.info("align: distilling starts from %s", chosen)
    trained = distill(frozen, starts[chosen], snippets, effort.schedule)
    rows, read["followed"] = keep_what_pays(frozen, starts[chosen], trained, judged_on)
    LOG.info("align: the rows go %s of the way from there", " and ".join(f"{share:.0%}" for share in read["followed"]))
    return Made(rows, read)
