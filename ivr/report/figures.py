"""Reads the tables a run left: swaps, training metrics, token counts. Returns nothing where a file is missing."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ivr.artifacts import ArtifactPaths
from ivr.errors import CorruptInputError


def read_swaps(paths: ArtifactPaths) -> list[dict[str, str]]:
    """The rows of replacement_candidates.csv, by column name; the most tokens saved first."""
    if not paths.replacement_candidates.is_file():
        return []
    with paths.replacement_candidates.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return sorted(rows, key=lambda row: -_number(row.get("tokens_saved")))


def read_metrics(paths: ArtifactPaths) -> list[dict[str, Any]]:
    """The lines of training/metrics.jsonl. A last line cut short by a kill is left out."""
    path = paths.training / "metrics.jsonl"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [row for index, line in enumerate(lines) if line for row in _parse(path, index, line, len(lines))]


def _parse(path: Path, index: int, line: str, num_lines: int) -> Iterator[dict[str, Any]]:
    try:
        yield json.loads(line)
    except ValueError:
        if index < num_lines - 1:
            raise CorruptInputError(f"{path}, line {index + 1}: not JSON; `ivr train --force` writes it anew") from None


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
    import pyarrow.parquet as pq

    table = pq.read_table(paths.token_frequency, columns=["token_id", "count"])
    token_ids, counts = table["token_id"].to_numpy(), table["count"].to_numpy()
    order = np.lexsort((token_ids, -counts))
    order = order[counts[order] > 0]
    rank_of = {int(token_id): rank for rank, token_id in enumerate(token_ids[order], start=1)}
    return counts[order].tolist(), sorted(rank_of[token_id] for token_id in ids if token_id in rank_of)


def swapped_ids(swaps: Sequence[Mapping[str, str]]) -> list[int]:
    """The ids that were reassigned."""
    return [int(row["old_id"]) for row in swaps if row.get("old_id", "").isdigit()]


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
