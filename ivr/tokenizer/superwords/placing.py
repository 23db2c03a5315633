"""Superwords in the steps of a distilled pre-tokenizer: in GPT-2's own pattern, or before any other one pattern."""

from collections.abc import Callable, Sequence
from typing import Any

from ivr.analysis.pretokens import PretokenSplitter
from ivr.tokenizer.superwords import any_pattern, pattern

NOT_ONE_PATTERN = any_pattern.NOT_ONE_PATTERN
Steps = list[dict[str, Any]]


def can_be_placed(base: PretokenSplitter) -> bool:
    """Whether a token may span pretokens of this original tokenizer: GPT-2's own pattern, or any one pattern."""
    return base.is_gpt2 or any_pattern.can_be_placed(base)


def place_superwords(steps: Steps, superwords: Sequence[Sequence[str]], base: PretokenSplitter) -> Steps:
    """The steps (of a tokenizer.json) in which these superwords, the pretokens of each, are taken whole.

    `base` splits as the original tokenizer. Raises ConfigError for steps that `ivr distill-tokenizer` did not write so.
    """
    if not superwords or not base.is_gpt2:
        return any_pattern.with_any_superwords(steps, superwords, base)
    return with_patterns(steps, lambda text: pattern.with_superwords(text, superwords, base))


def take_out_superwords(steps: Steps, superwords: Sequence[Sequence[str]], base: PretokenSplitter) -> Steps:
    """The inverse of `place_superwords` for the same superwords."""
    if not superwords or not base.is_gpt2:
        return any_pattern.without_any_superwords(steps, superwords, base)
    return with_patterns(steps, lambda text: pattern.without_superwords(text, superwords, base))


def has_superwords(tokenizer_json: str) -> bool:
    """Is this the text of a tokenizer.json whose pre-tokenizer takes superwords?"""
    return pattern.has_superwords(tokenizer_json) or any_pattern.takes_superwords(tokenizer_json)


def with_patterns(steps: Steps, change: Callable[[str], str]) -> Steps:
    """The steps with every pattern that splits changed."""
    return [
        {**step, "pattern": {"Regex": change(step["pattern"]["Regex"])}}
        if step["type"] == "Split" and "Regex" in step["pattern"]
        else step
        for step in steps
    ]
