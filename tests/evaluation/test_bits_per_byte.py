"""Bits per byte against a calculation by hand: one token at a time, no batching, no padding, no windows."""

import math

import pytest
import torch
from builders import tiny_model

from ivr.evaluation import bits_per_byte
from ivr.evaluation.bits_per_byte import score_documents, windows

END_ID = 49
DOCUMENTS = [
    ("four tokens", [1, 2, 3, 4]),
    ("ü", [7]),
    ("longer than the context of eight", [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]),
    ("exactly the context", [20, 21, 22, 23, 24, 25, 26, 27]),
]


def by_hand(model: torch.nn.Module, ids: list[int], context: int, stride: int) -> float:
    """-log2 likelihood: token t is predicted from END and what stands before it, as far as its window reaches."""
    sequence, total, end = [END_ID, *ids], 0.0, 0
    for t in range(1, len(sequence)):
        if t > end:  # a new window opens
            end = min(len(ids), end + (stride if end else context))
        start = max(0, end - context)
        with torch.no_grad():
            logits = model(torch.tensor([sequence[start:t]])).logits[0, -1].double()
        total -= float(torch.log_softmax(logits, dim=-1)[sequence[t]]) / math.log(2)
    return total


@pytest.mark.parametrize("stride", [1, 3, 4, 8])
def test_scores_are_those_of_a_calculation_by_hand(stride: int) -> None:
    model = tiny_model(50, context=8).eval()
    scores = score_documents(model, DOCUMENTS, END_ID, context=8, stride=stride, device="cpu")
    expected = [by_hand(model, ids, 8, stride) for _, ids in DOCUMENTS]
    assert scores.bits_N.tolist() == pytest.approx(expected, rel=1e-6)
    num_bytes = sum(len(text.encode()) for text, _ in DOCUMENTS)
    assert scores.bits_per_byte == pytest.approx(sum(expected) / num_bytes, rel=1e-6)
    assert scores.tokens_per_byte == pytest.approx(28 / num_bytes)
    assert scores.bytes_N.tolist()[1] == 2


def test_the_size_of_batches_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(50, context=8).eval()
    together = score_documents(model, DOCUMENTS, END_ID, 8, 4, "cpu")
    monkeypatch.setitem(bits_per_byte.LOGITS_AT_ONCE, "cpu", 1)
    alone = score_documents(model, DOCUMENTS, END_ID, 8, 4, "cpu")
    assert together.bits_N.tolist() == pytest.approx(alone.bits_N.tolist(), rel=1e-6)


def test_a_model_that_knows_nothing_needs_log2_of_the_vocabulary_a_token() -> None:
    model = tiny_model(64, context=8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    scores = score_documents(model, [("abcdefgh", [1, 2, 3, 4])], 63, 8, 4, "cpu")
    assert scores.bits_per_byte == pytest.approx(4 * 6 / 8)


def test_dropout_is_off_while_scoring_and_back_on_afterwards() -> None:
    model = tiny_model(50, context=8, dropout=0.5).train()
    first = score_documents(model, DOCUMENTS, END_ID, 8, 4, "cpu").bits_per_byte
    assert score_documents(model, DOCUMENTS, END_ID, 8, 4, "cpu").bits_per_byte == first
    assert model.training


@pytest.mark.parametrize("num_targets", range(40))
@pytest.mark.parametrize("stride", [1, 5, 8])
def test_windows_score_every_token_once_with_enough_context(num_targets: int, stride: int) -> None:
    found = windows(0, num_targets, context=8, stride=stride)
    scored = [target for window in found for target in range(window.first, window.end)]
    assert scored == list(range(num_targets))
    for window in found:
        assert 1 <= window.length <= 8
        assert window.start == 0 or window.first - window.start >= 8 - stride
