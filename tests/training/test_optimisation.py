"""Parameter groups and the learning rate."""

import itertools

import pytest
from builders import tiny_model

from ivr.training.optimisation import Schedule, learning_rate, make_optimizer


def test_warm_up_peak_and_end() -> None:
    rates = [learning_rate(step, 100, 10, 1e-3) for step in range(100)]
    assert rates[:10] == pytest.approx([1e-4 * (k + 1) for k in range(10)])
    assert rates[10] == pytest.approx(1e-3)
    assert rates[99] == pytest.approx(1e-4)
    assert all(before >= after for before, after in itertools.pairwise(rates[10:]))
    assert sum(rates[10:]) / 90 == pytest.approx(0.55e-3)  # the mean of a cosine from 1 to 0.1


@pytest.mark.parametrize(("max_steps", "warmup"), [(1, 0), (1, 20), (5, 5), (3, 20)])
def test_short_runs(max_steps: int, warmup: int) -> None:
    assert all(0 < learning_rate(step, max_steps, warmup, 1.0) <= 1 for step in range(max_steps))


def test_only_matrices_decay_and_nothing_is_left_out() -> None:
    model = tiny_model(50)
    groups = make_optimizer(model, Schedule(10, 2, 1e-3, 0.1)).param_groups
    assert {group["name"]: group["weight_decay"] for group in groups} == {
        "embeddings": 0.1,
        "matrices": 0.1,
        "vectors": 0.0,
    }
    embeddings, matrices, vectors = (group["params"] for group in groups)
    assert [id(parameter) for parameter in embeddings] == [id(model.transformer.wte.weight)]
    assert all(parameter.ndim == 2 for parameter in matrices)
    assert all(parameter.ndim == 1 for parameter in vectors)
    together = {id(parameter) for group in groups for parameter in group["params"]}
    assert together == {id(parameter) for parameter in model.parameters()}


def test_an_untied_head_is_an_embedding_matrix_too() -> None:
    model = tiny_model(50, tied=False)
    groups = make_optimizer(model, Schedule(10, 2, 1e-3, 0.1)).param_groups
    assert len(groups[0]["params"]) == 2


def test_each_phase_has_its_own_warm_up_and_what_is_not_trained_stands_still() -> None:
    schedule = Schedule(max_steps=30, warmup_steps=2, lr=1e-3, weight_decay=0.1, rows_steps=10, rows_lr=1e-2)
    rates = [schedule.rate(step) for step in range(30)]
    assert rates[:10] == [learning_rate(step, 10, 2, 1e-2) for step in range(10)]
    assert rates[10:] == [learning_rate(step, 20, 2, 1e-3) for step in range(20)]
    groups = make_optimizer(tiny_model(50), schedule).param_groups
    schedule.apply(groups, 9)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(rates[9], 0), (0, 0.1), (0, 0)]
    schedule.apply(groups, 10)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [
        (rates[10], 0.1),
        (rates[10], 0.1),
        (rates[10], 0),
    ]


def test_embedding_matrices_may_have_a_rate_of_their_own_while_all_is_trained() -> None:
    schedule = Schedule(30, 2, 1e-4, 0.1, rows_steps=10, rows_lr=1e-2, embeddings_lr=1e-3)
    groups = make_optimizer(tiny_model(50), schedule).param_groups
    schedule.apply(groups, 5)
    assert [group["lr"] for group in groups] == [learning_rate(5, 10, 2, 1e-2), 0, 0]
    schedule.apply(groups, 20)
    rest = learning_rate(10, 20, 2, 1e-4)
    assert [group["lr"] for group in groups] == [learning_rate(10, 20, 2, 1e-3), rest, rest]
