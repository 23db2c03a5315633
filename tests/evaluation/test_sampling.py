"""What a model writes: its own distribution, repeatable; new tokens are counted where they are."""

import numpy as np
import pytest
import torch
from builders import tiny_model

from ivr.evaluation.sampling import Sample, new_token_figures, sample

END_ID = 49


def test_the_first_tokens_are_drawn_from_the_models_distribution() -> None:
    model = tiny_model(50, context=8).eval()
    with torch.no_grad():
        model.transformer.wte.weight.mul_(20)
        shares_V = torch.softmax(model(torch.tensor([[END_ID]])).logits[0, -1].double(), dim=-1).numpy()
    drawn = sample(model, END_ID, count=4000, length=1, seed=0, device="cpu").ids_BT[:, 0]
    found_V = np.bincount(drawn, minlength=50) / 4000
    assert 0.5 * np.abs(found_V - shares_V).sum() < 0.06  # total variation; about 0.04 for 4,000 fair draws
    assert shares_V.max() > 0.1


def test_the_cache_changes_nothing_and_the_seed_decides() -> None:
    model = tiny_model(50, context=12, dropout=0.5).train()
    first = sample(model, END_ID, 3, 11, seed=5, device="cpu").ids_BT
    assert np.array_equal(first, sample(model, END_ID, 3, 11, seed=5, device="cpu").ids_BT)
    assert not np.array_equal(first, sample(model, END_ID, 3, 11, seed=6, device="cpu").ids_BT)
    dice = torch.Generator().manual_seed(5)
    ids = torch.full((3, 1), END_ID)
    for _ in range(11):  # no cache: the whole text again for every token
        with torch.no_grad():
            shares_BV = torch.softmax(model(ids).logits[:, -1].double(), dim=-1)
        points = torch.rand((3, 1), generator=dice, dtype=torch.float64)
        chosen = (shares_BV.cumsum(dim=-1) > points).double().argmax(dim=-1, keepdim=True)
        ids = torch.cat([ids, chosen], dim=1)
    assert np.array_equal(first, ids[:, 1:].numpy())


def test_new_tokens_are_counted_in_what_is_written_and_in_the_text() -> None:
    drawn = np.array([[1, 7, 7, 2], [9, 1, 1, 1]])
    figures = new_token_figures(drawn, [("x", [7, 1]), ("y", [1, 1, 1])], {7, 8, 9})
    assert figures == {
        "new_tokens": 3,
        "new_token_share_sampled": 3 / 8,
        "different_new_tokens_sampled": 2,
        "new_token_share_in_text": 1 / 5,
        "different_new_tokens_in_text": 1,
    }
    assert new_token_figures(drawn, [], {7})["new_token_share_in_text"] is None


def test_bytes_a_token_are_those_of_the_text_that_was_written() -> None:
    found = Sample(np.array([[0, 1], [1, 1]]))
    sizes = np.array([0, 5])
    assert found.results(sizes) == {"tokens": 4, "bytes": 15, "bytes_per_token": pytest.approx(3.75)}
