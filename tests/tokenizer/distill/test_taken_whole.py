"""Tokens that only a whole pretoken gives (`ignore_merges`): the distilled tokenizer gives them there, nowhere else."""

import json
import random
from typing import Any

import numpy as np
import pytest
from drawn_outcomes import spared
from small_bpe import bpe_of
from tokenizers import Tokenizer

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.bpe import read_bpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.tokenizer.distill.pipeline import distill
from ivr.tokenizer.distill.taken_whole import learn_splits, report, splitting_pattern, with_whole_scores
from ivr.tokenizer.scores.merge_weights import EXACT_IN_FILE
from ivr.tokenizer.unigram_file import SUPERWORD_STEP

MERGES = [
    ("a", "b"),
    ("c", "d"),
    ("d", "e"),
    ("Ġ", "a"),
    ("Ġ", "c"),
    ("ab", "c"),
    ("de", "de"),
    ("a", "a"),
    ("Ġa", "b"),
]
# the last merge never happens: `a`,`b` comes before it
WHOLE = ["Ġab", "abd", "cde", "Ġabe", "eabe", "Ġabecd", "bcab"]
DIGITS = {"type": "Digits", "individual_digits": True}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def tokenizer(*steps: dict[str, Any], whole: list[str] = WHOLE) -> Tokenizer:
    spec = json.loads(bpe_of(MERGES).to_str())
    vocab = spec["model"]["vocab"]
    for token in whole:
        vocab.setdefault(token, len(vocab))
    spec["model"]["ignore_merges"] = True
    if steps:
        spec["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": list(steps)}
    return Tokenizer.from_str(json.dumps(spec))


def strings(number: int, whole: list[str] = WHOLE) -> list[str]:
    draw = random.Random(1)
    pieces = [*(token.replace("Ġ", " ") for token in whole), *"aabbcde", " ", "1", "!"]
    return ["".join(draw.choices(pieces, k=draw.randint(1, 4))) for _ in range(number)]


@pytest.mark.parametrize("steps", [[], [DIGITS, BYTE_LEVEL]], ids=["gpt2", "digits"])
def test_it_gives_the_ids_of_the_base(steps: list[dict[str, Any]]) -> None:
    base = tokenizer(*steps)
    bpe = read_bpe(base)
    assert len(bpe.whole_ids) == len(WHOLE)
    texts = strings(400)
    pretokens = sorted({piece for pieces in PretokenSplitter(base).lists(texts) for piece in pieces})
    with spared():
        result = distill(base, bpe, pretokens, 6.8)
    assert report(result.inside)["tokens"] == len(WHOLE) and not result.proofs
    for text in texts:
        assert result.tokenizer.encode(text).tokens == base.encode(text).tokens, text
    assert result.tokenizer.encode("abd abe1").tokens == ["abd", "Ġabe", "1"]


def test_one_that_is_a_repeat_is_split_as_one_in_longer_pretokens() -> None:
    whole = ["Ġab", "aaaaab", "dedededede"]
    base = tokenizer(whole=whole)
    texts = [*strings(300, whole), "aaaaab", "aaaaabd", "aaaaaaab", "dedededede", "dededededede", "cdedededede"]
    pretokens = sorted({piece for pieces in PretokenSplitter(base).lists(texts) for piece in pieces})
    with spared():
        result = distill(base, read_bpe(base), pretokens, 6.8)
    for text in texts:
        assert result.tokenizer.encode(text).tokens == base.encode(text).tokens, text


def test_pretokens_are_split_inside_only_where_the_base_has_a_border() -> None:
    base = tokenizer()
    bpe = read_bpe(base)
    lengths_V, encoder = np.array([len(token) for token in bpe.token_bytes()]), BpeEncoder(bpe)
    rules = {rule.token: rule for rule in learn_splits(bpe, encoder, lengths_V, ["abdede"])}
    assert rules[b"abd"].border == 2 and b"e" not in rules[b"abd"].not_before, "ab,d and ab,de: the border stays"
    pattern = splitting_pattern([*rules.values()])
    assert pattern.startswith(r"\A(?:") and splitting_pattern([]) == ""


def test_a_score_that_a_file_cannot_hold_as_it_is_becomes_a_multiple() -> None:
    bpe = read_bpe(tokenizer())
    scores_V = np.zeros(bpe.num_ids, np.int64)
    scores_V[bpe.tokens.index("ab")] = EXACT_IN_FILE - 1
    found = with_whole_scores(bpe, scores_V)
    assert found[bpe.tokens.index("cde")] == 1
    high = int(found[bpe.tokens.index("abd")])
    assert high >= EXACT_IN_FILE and high % SUPERWORD_STEP == 0
