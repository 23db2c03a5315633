"""Under-trained rows of the embedding matrix go first among ids that cost the same (Land & Bartolo 2024).

Training moves a row that occurs; one that never does only drifts with all others of its kind. Bytes that UTF-8 never
uses (0xC0, 0xC1, 0xF5 to 0xFF) occur in no text, so the mean of their rows shows where untrained rows lie, and the
cosine distance from it how much a row has learnt.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ivr.base.model_directory import check_config
from ivr.base.model_files import SAFETENSORS
from ivr.base.weights.layout import layout_of
from ivr.base.weights.stored_tensors import read_header
from ivr.encoding.text.missing_bytes import NEVER_IN_UTF8
from ivr.errors import IvrError

_READABLE = {"F16": np.float16, "F32": np.float32, "F64": np.float64, "BF16": np.uint16}


def read_input_rows(model_dir: Path, num_ids: int) -> np.ndarray | None:
    """The first `num_ids` rows of a base model's input embeddings, float64 (V, D); None where there are none to read.

    Read from its model.safetensors, by the name that its config gives them.
    """
    try:
        layout = layout_of(check_config(model_dir / "config.json", str(model_dir)), str(model_dir))
        tensors = read_header(model_dir / SAFETENSORS, str(model_dir))
        found = [tensor for tensor in tensors if layout.bare(tensor.name) == layout.input]
        if len(found) != 1 or found[0].dtype not in _READABLE or len(found[0].shape) != 2:
            return None
        values = np.frombuffer(b"".join(found[0].read()), _READABLE[found[0].dtype]).reshape(found[0].shape)[:num_ids]
    except (IvrError, OSError):
        return None
    if found[0].dtype == "BF16":  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    rows: np.ndarray = values.astype(np.float64)
    return rows if len(rows) == num_ids and np.isfinite(rows).all() else None


def distances_from_unused(input_VD: np.ndarray, tokens: Sequence[bytes]) -> np.ndarray | None:
    """Cosine distance of every row from the mean row of bytes that no text holds, (V,); None without such bytes."""
    unused = [i for i, token in enumerate(tokens) if len(token) == 1 and token[0] in NEVER_IN_UTF8]
    if not unused:
        return None
    mean_D = input_VD[unused].mean(axis=0)
    norms_V = np.linalg.norm(input_VD, axis=1) * np.linalg.norm(mean_D)
    # a row of zeros has learnt nothing
    cosine_V = np.divide(input_VD @ mean_D, norms_V, out=np.ones(len(input_VD)), where=norms_V > 0)
    return 1 - cosine_V


def eviction_order(droppable: Sequence[int], used_V: np.ndarray, distances_V: np.ndarray | None) -> list[int]:
    """`droppable` in the order in which ids that cost the same leave.

    Ids that are never produced, then the others; among each the least trained first, or, without weights, the one
    learnt last: merge ranks are ordered by frequency.
    """

    def key(token_id: int) -> tuple[bool, float, int]:
        return bool(used_V[token_id]), 0.0 if distances_V is None else float(distances_V[token_id]), -token_id

    return sorted(droppable, key=key)
