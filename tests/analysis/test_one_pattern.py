"""Several steps as one pattern split like the steps, in the library itself."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pre_tokenizers_of_others import BY_THE_LIBRARY, OTHERS, by_patterns
from tokenizers import Regex, Tokenizer, models
from tokenizers.pre_tokenizers import PreTokenizer, Split

from ivr.analysis.one_pattern import one_pattern
from ivr.analysis.pretokens import PretokenSplitter

MORE = {
    "a run cut by a counted repeat": lambda: by_patterns(r"\p{N}+", r"\p{N}{1,5}| ?\p{L}+|\s+|[^\s\p{L}\p{N}]+"),
}
NOT_ONE = {"a string"}  # GPT-2's pattern behind it would see its ends
TEXTS = st.text(
    st.sampled_from(
        "aBzZéßaǅʰ中か・゛カ１12३½\u0300\u200d\r\n\t \u00a0\u3000.!'/-’sSdltvreRE<|>{}\U0001f600\U00011de1"
    ),
    max_size=24,
)


@cache
def both(name: str) -> tuple[PreTokenizer, Split]:
    pre_tokenizer = {**OTHERS, **MORE}[name]()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    one = one_pattern(PretokenSplitter(tokenizer).steps)
    assert one is not None
    return pre_tokenizer, Split(Regex(one.pattern), "isolated")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*OTHERS, *MORE} - NOT_ONE))
def test_it_splits_as_the_steps_do(name: str) -> None:
    steps, one = both(name)

    @settings(max_examples=400, deadline=None)
    @given(TEXTS | st.text(max_size=12))
    def check(text: str) -> None:
        text = text.replace("3", "1234567")
        assert [span for _, span in one.pre_tokenize_str(text)] == [span for _, span in steps.pre_tokenize_str(text)]

    check()


@pytest.mark.parametrize("name", [*sorted(NOT_ONE), *BY_THE_LIBRARY])
def test_what_is_no_pattern_is_told(name: str) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = {**OTHERS, **BY_THE_LIBRARY}[name]()
    assert one_pattern(PretokenSplitter(tokenizer).steps) is None


def test_a_pattern_of_longer_words_than_contractions_is_told() -> None:
    """What follows a superword is asked about three characters deep."""
    tokenizer = Tokenizer(models.BPE())
    for pattern, known in ((r"(?i:'ll)| ?\p{L}+|[^']", True), (r"(?i:'clock)|'|[^']+", False)):
        tokenizer.pre_tokenizer = by_patterns(pattern)
        assert (one_pattern(PretokenSplitter(tokenizer).steps) is not None) == known
