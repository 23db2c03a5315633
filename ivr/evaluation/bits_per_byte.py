"""Bits per byte: the one loss that models with different tokenizers can be compared by.

    bits per byte = sum over tokens of -log2 p(token | context) / number of UTF-8 bytes of the text

Each document starts after `<|endoftext|>`, or what the model's tokenizer puts in front: context only. A document longer
than the model's context is read through a sliding window; every token is scored exactly once, with at least
context - stride tokens before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

# float32 logits of one batch: 32 MiB stay near a CPU's caches, 1 GiB fills a GPU
LOGITS_AT_ONCE = {"cpu": 1 << 23, "cuda": 1 << 28}


@dataclass(frozen=True)
class Window:
    """Inputs are the ids [start, end) of a document; its targets from `first` on, up to `end`, are scored."""

    document: int
    start: int
    first: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Scores:
    """Per document: -log2 likelihood (float64), tokens, UTF-8 bytes."""

    bits_N: np.ndarray
    tokens_N: np.ndarray
    bytes_N: np.ndarray

    @property
    def bits_per_byte(self) -> float:
        return float(self.bits_N.sum() / self.bytes_N.sum())

    @property
    def tokens_per_byte(self) -> float:
        return float(self.tokens_N.sum() / self.bytes_N.sum())


def windows(document: int, num_targets: int, context: int, stride: int) -> list[Window]:
    """The windows over one document of `num_targets` tokens (inputs: the start and all but the last).

    >>> windows(0, 5, context=4, stride=2)
    [Window(document=0, start=0, first=0, end=4), Window(document=0, start=1, first=4, end=5)]
    """
    found: list[Window] = []
    first = 0
    while first < num_targets:
        end = min(num_targets, first + (stride if found else context))
        found.append(Window(document, max(0, end - context), first, end))
        first = end
    return found


def score_documents(
    model: Any, documents: Sequence[tuple[str, Sequence[int]]], start_id: int, context: int, stride: int, device: Any
) -> Scores:
    """Score (text, its ids) pairs with `model`, a causal language model of transformers, in eval mode.

    Windows are batched by length; padding stands on the right, where a causal model cannot see it.
    """
    pending = [
        window for index, (_, ids) in enumerate(documents) for window in windows(index, len(ids), context, stride)
    ]
    pending.sort(key=lambda window: (-window.length, window.document, window.start))
    bits_N = np.zeros(len(documents))
    vocab_size = model_config(model).vocab_size
    logits_at_once = LOGITS_AT_ONCE[torch.device(device).type]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        while pending:
            size = max(1, logits_at_once // (vocab_size * pending[0].length))
            batch, pending = pending[:size], pending[size:]
            for window, bits in zip(batch, _bits_of_windows(model, documents, batch, start_id, device), strict=True):
                bits_N[window.document] += bits
    model.train(was_training)
    return Scores(
        bits_N,
        np.array([len(ids) for _, ids in documents], dtype=np.int64),
        np.array([len(text.encode()) for text, _ in documents], dtype=np.int64),
    )


def model_config(model: Any) -> Any:
    """The transformers config, also through a DistributedDataParallel or DeepSpeed wrapper."""
    return model.config if hasattr(model, "config") and hasattr(model.config, "vocab_size") else model.module.config


def _bits_of_windows(
    model: Any, documents: Sequence[tuple[str, Sequence[int]]], batch: Sequence[Window], start_id: int, device: Any
) -> list[float]:
    """-log2 likelihood of the scored targets of each window."""
    longest = max(window.length for window in batch)
    inputs_BT = np.full((len(batch), longest), start_id, dtype=np.int64)
    targets_BT = np.full((len(batch), longest), -100, dtype=np.int64)
    for row, window in enumerate(batch):
        ids = documents[window.document][1]
        shifted = [start_id, *ids[: window.end - 1]] if window.start == 0 else ids[window.start - 1 : window.end - 1]
        inputs_BT[row, : window.length] = shifted
        targets_BT[row, window.first - window.start : window.length] = ids[window.first : window.end]
    targets = torch.from_numpy(targets_BT).to(device)
    logits_BTV = model(input_ids=torch.from_numpy(inputs_BT).to(device), use_cache=False).logits
    nats_BT = torch.nn.functional.cross_entropy(
        logits_BTV.flatten(0, 1).float(), targets.flatten(), ignore_index=-100, reduction="none"
    ).view(targets.shape)
    return [float(nats) / float(np.log(2)) for nats in nats_BT.double().sum(dim=1).tolist()]
