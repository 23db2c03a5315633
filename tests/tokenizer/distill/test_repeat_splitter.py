"""The pattern and the pieces of pretokens with repeats, as it learns."""

import random

from small_bpe import bpe_of
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.bpe import read_bpe
from ivr.tokenizer.distill.repeat_splitter import RepeatSplitter, RepeatStrings
from ivr.tokenizer.fit.fitter import TextFitter
from ivr.tokenizer.fit.strings import pretokens_with_repeats
from ivr.tokenizer.repeats.tables import initial_contexts

MERGES = [("A", "T"), ("A", "A"), ("G", "A"), ("G", "G"), ("GG", "GG"), ("C", "G"), ("T", "C")]


def test_what_learning_leaves_alone_is_split_as_the_last_pattern_splits_it() -> None:
    base = bpe_of(MERGES)
    bpe, splitter, draw = read_bpe(base), PretokenSplitter(base), random.Random(3)
    contexts = initial_contexts(bpe, splitter)
    texts = pretokens_with_repeats(["".join(draw.choices("AGT", k=9)) for _ in range(400)], contexts)
    repeats = RepeatSplitter(splitter, TextFitter(bpe, 3.0, splitter), contexts, RepeatStrings(fitted=texts))
    first = repeats.pattern
    assert repeats.learn() and repeats.pattern != first
    split = Split(Regex(repeats.pattern), "isolated")
    assert [*repeats.pieces] == [
        piece.encode() for text in dict.fromkeys(texts) for piece, _ in split.pre_tokenize_str(text)
    ]
