"""Parameter groups and the learning rate."""

import itertools

import pytest
from builders import tiny_model

from ivr.training.optimisation import learning_rate, make_optimizer


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
    decayed, plain = make_optimizer(model, 1e-3, 0.1).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert all(parameter.ndim == 2 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in plain["params"])
    together = {id(parameter) for group in (decayed, plain) for parameter in group["params"]}
    assert together == {id(parameter) for parameter in model.parameters()}
