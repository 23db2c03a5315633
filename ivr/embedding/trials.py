"""Trying a strategy: make its rows, put them in place, and say what they are like before any training."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ivr.console import LOG
from ivr.embedding.initialisers.domain_text import DomainText
from ivr.embedding.initialisers.rows import Problem, fill_rows
from ivr.embedding.probe import FLAGGED_SHARE, Probe, probe
from ivr.embedding.statistics import row_statistics
from ivr.embedding.strategies import Evidence, make_rows

TRAP_FACTOR = 2  # a flagged row is warned of when it takes more than this many times what the text gives it


@dataclass(frozen=True)
class HeldOut:
    """Text to measure the loss on, as both tokenizers encode it."""

    remapped: DomainText
    original: DomainText


@dataclass(frozen=True)
class Trial:
    """The parts that all strategies share.

    problems, aligned: of the input embeddings and, where it is untied, of the head; aligned by remapped id, written to
    in place. kept_ids: by remapped id. heldout: None where no loss is measured.
    """

    problems: Sequence[Problem]
    aligned: Sequence[torch.Tensor]
    new_ids: Sequence[int]
    kept_ids: Sequence[int]
    tokens: Sequence[str]
    evidence: Evidence
    heldout: HeldOut | None

    def run(self, strategy: str) -> dict[str, Any]:
        """Fill the matrices with `strategy`'s rows; returns norms, cosines and the loss (row_statistics, Probe)."""
        made = make_rows(strategy, self.problems, self.aligned, self.evidence)
        for matrix_VD, rows_KD in zip(self.aligned, made.rows, strict=True):
            fill_rows(matrix_VD, self.new_ids, rows_KD)
        results = row_statistics(self.aligned[0], self.kept_ids, self.new_ids)
        if made.distilled_from:
            results["distilled_from"] = made.distilled_from
        if self.heldout is not None and self.evidence.body is not None:
            head = self.aligned[1] if len(self.aligned) > 1 else None
            found = probe(self.evidence.body, self.aligned[0], head, self.new_ids, self.heldout.remapped)
            results |= found.results(self.new_ids) | self._cost(found.bits_per_byte, self.heldout)
            self._warn(strategy, found)
        return results

    def _cost(self, bits_per_byte: float, text: HeldOut) -> dict[str, Any]:
        """What the new rows cost the frozen model: bits lost for each token of the held-out text that is saved."""
        saved = text.original.num_tokens - text.remapped.num_tokens
        lost = (bits_per_byte - self._base_bits_per_byte) * text.remapped.num_bytes
        return {
            "base_bits_per_byte": round(self._base_bits_per_byte, 6),
            "tokens_saved": saved,
            "bits_lost_per_token_saved": round(lost / saved, 3) if saved > 0 else None,
        }

    @cached_property
    def _base_bits_per_byte(self) -> float:
        """Of the base model, with its own tokenizer."""
        assert self.heldout is not None and self.evidence.body is not None
        base = [problem.base_VD for problem in self.problems]
        head = base[1] if len(base) > 1 else None
        return probe(self.evidence.body, base[0], head, [], self.heldout.original).bits_per_byte

    def _warn(self, strategy: str, found: Probe) -> None:
        over = [
            k
            for k in np.flatnonzero(found.mass_K > FLAGGED_SHARE).tolist()
            if found.mass_K[k] > TRAP_FACTOR * found.share_K[k]
        ]
        if over:
            worst = max(over, key=lambda k: found.mass_K[k])
            LOG.warning(
                "align: %s: %d new rows take more than 1 %% of the probability each without being as frequent; the "
                "worst is id %d, %r: %.1f %% against %.2f %% of the text. They drown the others until they are trained",
                strategy,
                len(over),
                self.new_ids[worst],
                self.tokens[worst],
                100 * found.mass_K[worst],
                100 * found.share_K[worst],
            )


def table(trials: dict[str, dict[str, Any]]) -> str:
    """What --compare-strategies prints: the lowest loss first; lost/saved: bits lost for each token saved."""
    lines = [
        f"{'strategy':<10}{'bits per byte':>14}{'lost/saved':>11}{'norm':>9}{'kept norm':>11}{'cosine':>9}"
        f"{'mass':>8}{'share':>8}{'flagged':>9}"
    ]
    none = float("inf")
    for name, row in sorted(trials.items(), key=lambda item: (item[1].get("bits_per_byte", none), item[0])):
        cells = (
            (row.get("bits_per_byte"), 14, ".4f"),
            (row.get("bits_lost_per_token_saved"), 11, ".2f"),
            (row["new_norm_mean"], 9, ".3f"),
            (row["kept_norm_mean"], 11, ".3f"),
            (row["new_cosine_to_mean"], 9, ".3f"),
            (row.get("new_rows_mass"), 8, ".3f"),
            (row.get("new_rows_share"), 8, ".3f"),
        )
        shown = "".join(f"{'-' if value is None else format(value, form):>{width}}" for value, width, form in cells)
        flagged = len(row["flagged"]) if "flagged" in row else "-"
        lines.append(f"{name:<10}{shown}{flagged:>9}")
    return "\n".join(lines)
