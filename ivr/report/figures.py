"""Reads the tables a run left: swaps, training metrics, token counts. Returns nothing where a file is missing."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ivr.artifacts import ArtifactPaths
from ivr.results import MetricsRow
from ivr.schema import read_table
from ivr.training.metrics import read_metrics as read_log


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


def token_counts(paths: ArtifactPaths, ids: Sequence[int]) -> tuple[list[int], list[int]]:
    """Counts of the tokens that occur, largest first, and the 1-based ranks of `ids` among them."""
    if not paths.token_frequency.is_file():
        return [], []
    import numpy as np

    columns = {"token_id": "int", "count": "int"}
    table = read_table(paths.token_frequency, columns, "run `ivr analyze` again")
    token_ids, counts = table["token_id"].to_numpy(), table["count"].to_numpy()
    order = np.lexsort((token_ids, -counts))
    order = order[counts[order] > 0]
    rank_of = {int(token_id): rank for rank, token_id in enumerate(token_ids[order], start=1)}
    return counts[order].tolist(), sorted(rank_of[token_id] for token_id in ids if token_id in rank_of)


def swapped_ids(swaps: Sequence[Mapping[str, str]]) -> list[int]:
    """The ids that were reassigned."""
    return [int(old_id) for row in swaps if (old_id := row.get("old_id") or "").isascii() and old_id.isdigit()]


def _number(text: str | None) -> float:
    """0 for what is no number; NaN, which has no place in an order, is none."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
