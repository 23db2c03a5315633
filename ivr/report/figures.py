"""Reads what a run left: swaps, rules, vocabularies, metrics, token counts. Nothing where a file is missing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.artifacts import ArtifactPaths
from ivr.results import MetricsRow
from ivr.schema import read_table
from ivr.training.metrics import read_metrics as read_log

if TYPE_CHECKING:
    from ivr.tokenizer.remap.rules import Swap

LONGEST_NUMBER = 19  # digits


def read_swaps(paths: ArtifactPaths) -> list[dict[str, str]]:
    """The rows of replacement_candidates.csv, by column name; the most tokens saved first."""
    if not paths.replacement_candidates.is_file():
        return []
    from ivr.tokenizer.select.output.table import TEXTS, plain_cell, read_rows

    rows = [
        {column: plain_cell(cell) if column in TEXTS else cell for column, cell in row.items()}
        for _, row in read_rows(paths.replacement_candidates)
    ]
    return sorted(rows, key=lambda row: -_number(row.get("tokens_saved")))


def read_metrics(paths: ArtifactPaths) -> list[MetricsRow]:
    """The lines of training/metrics.jsonl. A last line cut short by a kill is left out."""
    path = paths.training / "metrics.jsonl"
    return read_log(path) if path.is_file() else []


def loss_points(metrics: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[float]]:
    """Steps and losses; where a resumed run wrote a step again, the later line counts."""
    by_step = {int(row["step"]): float(row["loss"]) for row in metrics if row.get("loss") is not None and "step" in row}
    steps = sorted(by_step)
    return steps, [by_step[step] for step in steps]


def speed_points(metrics: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[float]]:
    """Steps and the bytes of text a second that each was trained at."""
    by_step = {int(row["step"]): float(row["bytes_per_second"]) for row in metrics if row.get("bytes_per_second")}
    steps = sorted(by_step)
    return steps, [by_step[step] for step in steps]


def heldout_points(metrics: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[float]]:
    """Steps and held-out bits per byte of the evaluations during training."""
    by_step = {
        int(row["step"]): float(row["heldout_bits_per_byte"])
        for row in metrics
        if row.get("heldout_bits_per_byte") is not None and "step" in row
    }
    steps = sorted(by_step)
    return steps, [by_step[step] for step in steps]


@dataclass(frozen=True)
class RankCounts:
    """The tokens that occur, by count, largest first; dropped: 1-based ranks of ids that were reassigned."""

    ids: list[int]
    tokens: list[str]
    counts: list[int]
    dropped: list[int]


def rank_counts(paths: ArtifactPaths, dropped_ids: Sequence[int]) -> RankCounts | None:
    """From token_frequency.parquet; None where it is not there."""
    if not paths.token_frequency.is_file():
        return None
    import numpy as np

    columns = {"token_id": "int", "token": "string", "count": "int"}
    table = read_table(paths.token_frequency, columns, "run `ivr analyze` again")
    ids_V, counts_V = table["token_id"].to_numpy(), table["count"].to_numpy()
    tokens = table["token"].to_pylist()
    order = np.lexsort((ids_V, -counts_V))
    order = order[counts_V[order] > 0]
    rank_of = {int(token_id): rank for rank, token_id in enumerate(ids_V[order], start=1)}
    return RankCounts(
        ids_V[order].tolist(),
        [tokens[place] for place in order.tolist()],
        counts_V[order].tolist(),
        sorted(rank_of[token_id] for token_id in dropped_ids if token_id in rank_of),
    )


def read_rules_of(paths: ArtifactPaths) -> "dict[int, Swap]":
    """The swaps of remap_rules.yaml by id; none where `remap` has not run."""
    if not paths.remap_rules.is_file():
        return {}
    from ivr.tokenizer.remap.rules import read_rules

    return {swap.id: swap for swap in read_rules(paths.remap_rules).swaps}


def vocabulary_of(folder: Path) -> dict[int, str]:
    """id -> token of the tokenizer.json in `folder`; empty where there is none."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return {}
    from ivr.encoding.text.tokenizer_file import load_tokenizer

    return {token_id: token for token, token_id in load_tokenizer(path).get_vocab(with_added_tokens=True).items()}


def swapped_ids(swaps: Sequence[Mapping[str, str]]) -> list[int]:
    """The ids that were reassigned."""
    return [token_id for row in swaps if (token_id := whole_number(row.get("old_id"))) is not None]


def whole_number(cell: str | None) -> int | None:
    """A count or an id; None for what is none (the table may have been edited).

    >>> whole_number("412"), whole_number("1e3"), whole_number(None)
    (412, None, None)
    """
    text = cell or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < LONGEST_NUMBER else None


def _number(text: str | None) -> float:
    """0 for what is no number; NaN, which has no place in an order, is none."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
