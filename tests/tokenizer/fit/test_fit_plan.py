"""What gives way where a file cannot hold the scores, and in which order."""

import numpy as np
import pytest

from ivr.tokenizer.fit.closed_subsets import SLACK
from ivr.tokenizer.fit.plan import Plan
from ivr.tokenizer.scores.merge_weights import ScoresTooLarge, prior_weights


@pytest.mark.parametrize("text_fits", [True, False])
def test_names_give_way_first_and_the_text_never(text_fits: bool) -> None:
    plan, error, given_up = Plan(3.5, names=True, numbers=True, closed=True), ScoresTooLarge("too large"), []
    while True:
        try:
            less = plan.giving_way(error, text_fits=text_fits)
        except ScoresTooLarge as raised:
            assert raised.__cause__ is error and "too large; nothing is left to give way" in str(raised)
            break
        changed = [name for name in ("names", "exponent", "numbers", "closed") if vars(plan)[name] != vars(less)[name]]
        given_up += changed
        plan = less
    names = ["names"] if text_fits else []  # where the text alone has no room, names are not to blame
    assert given_up == [*names, "exponent", "exponent", "numbers", "closed"]
    assert plan == Plan(3.0, names=not text_fits, numbers=False, closed=False)


def test_a_plan_says_where_the_weights_begin() -> None:
    prior = Plan(2.0, names=False, numbers=False, closed=True).prior(100)
    assert np.array_equal(prior.weights_R, prior_weights(100, 2.0))
    assert prior.slack_R is not None and prior.slack_R.tolist() == [0.0] * 4 + [SLACK] * 96
    assert Plan(2.0, names=False, numbers=False, closed=False).prior(100).slack_R is None
