"""Several steps as one pattern split like the steps, in the library itself."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pre_tokenizers_of_others import BY_THE_LIBRARY, OTHERS
from tokenizers import Regex, Tokenizer, models
from tokenizers.pre_tokenizers import PreTokenizer, Split

from ivr.analysis.one_pattern import one_pattern
from ivr.analysis.pretokens import PretokenSplitter

NOT_ONE = {"a string"}  # GPT-2's pattern behind it would see its ends
TEXTS = st.text(
    st.sampled_from(
        "aBzZéßaǅʰ中か・゛カ１12३½\u0300\u200d\r\n\t \u00a0\u3000.!'/-’sSdltvreRE<|>{}\U0001f600\U00011de1"
    ),
    max_size=24,
)


@cache
def both(name: str) -> tuple[PreTokenizer, Split]:
    pre_tokenizer = OTHERS[name]()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    one = one_pattern(PretokenSplitter(tokenizer).steps)
    assert one is not None
    return pre_tokenizer, Split(Regex(one.pattern), "isolated")


@pytest.mark.parametrize("name", sorted(set(OTHERS) - NOT_ONE))
def test_it_splits_as_the_steps_do(name: str) -> None:
    steps, one = both(name)

    @settings(max_examples=400, deadline=None)
    @given(TEXTS | st.text(max_size=12))
    def check(text: str) -> None:
        assert [span for _, span in one.pre_tokenize_str(text)] == [span for _, span in steps.pre_tokenize_str(text)]

    check()


@pytest.mark.parametrize("name", [*sorted(NOT_ONE), *BY_THE_LIBRARY])
def test_what_is_no_pattern_is_told(name: str) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = {**OTHERS, **BY_THE_LIBRARY}[name]()
    assert one_pattern(PretokenSplitter(tokenizer).steps) is None
