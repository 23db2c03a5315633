"""Which contexts are kept, for any behaviour, and how a text makes them longer."""

import random
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.tokenizer.repeats.contexts import LONGEST_CONTEXT, Contexts, Side, distinguishing

texts = st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=12, unique=True)


@given(texts, st.sampled_from(Side), st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_the_longest_context_that_fits_a_text_behaves_as_the_text(
    tried: list[str], side: Side, in_parts: bool, draw: random.Random
) -> None:
    row_of: dict[str, int] = {}

    def behaviour(parts: Sequence[str]) -> np.ndarray:
        return np.array([[row_of.setdefault(part, draw.randint(0, 2))] for part in parts])

    known = {"a", "b", "c"}
    kept = distinguishing(tried, known, side, behaviour, in_parts=in_parts)
    for text in tried:
        assert row_of[side.longest(text, known | kept)] == row_of[text]
    assert kept.isdisjoint(known)
    parts = {side.part(text, size) for text in tried for size in range(1, len(text) + 1)}
    assert kept <= (parts if in_parts else {*tried})


def test_a_context_that_is_too_long_to_be_looked_for_is_kept_and_does_not_end_the_world() -> None:
    text = "ab" * LONGEST_CONTEXT
    rows = {"b": 0, text: 1}
    kept = distinguishing(
        [text], {"b"}, Side.LEFT, lambda parts: np.array([rows[part] for part in parts]), in_parts=False
    )
    assert kept == {text}


def test_a_text_makes_the_contexts_that_fit_it_a_byte_longer() -> None:
    contexts = Contexts("s", 2, frozenset({"r", "or"}), frozenset("h"), far_lefts=frozenset({"x"}))
    longer = contexts.extended("tor", "hen")
    assert longer.lefts == {"r", "or", "tor"} and longer.rights == {"h", "he"} and longer.far_lefts == {"x"}
    assert contexts.extended("or", "h") == contexts.extended("x", "y") == contexts  # all of it is known, or none


def test_sides_and_their_contexts() -> None:
    contexts = Contexts("s", 2, frozenset("r"), frozenset("h"), frozenset({"or"}), frozenset({"he"}))
    assert contexts.of(Side.LEFT) == {"r"} and contexts.of(Side.RIGHT, far=True) == {"h", "he"}
    more = contexts.including(Side.RIGHT, ["x"]).including(Side.LEFT, ["y"], far=True)
    assert more.rights == {"h", "x"} and more.far_lefts == {"or", "y"} and Side.LEFT.other is Side.RIGHT
