"""A run that has gone wrong: when to stop it, and what to keep so that somebody can see why."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ivr.disk.writer import atomic_directory, write_json, write_text

WINDOW = 10  # steps


class LossWatch:
    """Sees every step's loss and says when it diverges: the mean of ten steps lies `rise` nats above the lowest one."""

    def __init__(self, losses: Sequence[float], rise: float) -> None:
        self.rise = rise
        self._last: list[float] = []
        self._lowest = math.inf
        for loss in losses:
            self.diverges(loss)

    def diverges(self, loss: float) -> bool:
        self._last = [*self._last, loss][-WINDOW:]
        if len(self._last) < WINDOW or not self.rise:
            return False
        mean = sum(self._last) / WINDOW
        self._lowest = min(self._lowest, mean)
        return mean > self._lowest + self.rise


def save_evidence(
    folder: Path, facts: dict[str, Any], blocks_by_step: dict[int, np.ndarray], tokenizer: Any, end_id: int
) -> Path:
    """Write what was read in the given steps: ids (step-N.npy, (blocks, block_size + 1)) and text, and the facts."""
    with atomic_directory(folder, contents=False) as staging:
        write_json(staging / "facts.json", facts)
        lines = []
        for step, blocks_NT in blocks_by_step.items():
            np.save(staging / f"step-{step}.npy", blocks_NT)
            for row, ids in enumerate(blocks_NT.tolist()):
                text = tokenizer.decode(ids, skip_special_tokens=False)
                boundaries = sum(token_id == end_id for token_id in ids)
                lines.append({"step": step, "block": row, "document_boundaries": boundaries, "text": text})
        write_text(staging / "blocks.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return folder
