"""Neighbours that a third token lies across: against every pair of tokens of small BPEs; fitted until none is lost."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bpe import Merges, any_scores, bpe_of, meets_odd_run, merge_lists, naive_bpe, named

from ivr.encoding.bpe import ByteLevelBpe, read_bpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.fit.straddling import StraddlingTokens
from ivr.tokenizer.scores.encoded import Encoded
from ivr.tokenizer.scores.merge_weights import Prior, fit, prior_weights, token_scores


def crossings_of(bpe: ByteLevelBpe) -> StraddlingTokens:
    return StraddlingTokens(bpe, BpeEncoder(bpe), UnigramEncoder(bpe.token_bytes(), np.zeros(bpe.num_ids, np.int64)))


def best(string: str, scores: dict[str, int]) -> int:
    found = [0, *[-(10**18)] * len(string)]
    for begin, end in itertools.combinations(range(len(string) + 1), 2):
        if string[begin:end] in scores:
            found[end] = max(found[end], found[begin] + scores[string[begin:end]])
    return found[-1]


def losing(merges: Merges, scores: dict[str, int]) -> set[str]:
    """Strings p0 + m + p of BPE's tokens, without an odd run, that score no more than the best with a token q that
    reaches from p0 (or a part of it) over m to p (or a part of it).
    """
    own = {token for token in scores if naive_bpe(token, merges) == [token] and not meets_odd_run(token, merges)}
    found = set()
    for q in scores:
        for head, body in itertools.combinations_with_replacement(range(1, len(q)), 2):
            middle = naive_bpe(q[head:body], merges)
            for p0 in own:
                if not p0.endswith(q[:head]):
                    continue
                for p in own:
                    tokens = [p0, *middle, p]
                    string = "".join(tokens)
                    if not p.startswith(q[body:]) or naive_bpe(string, merges) != tokens:
                        continue
                    other = best(p0.removesuffix(q[:head]), scores) + scores[q] + best(p[len(q) - body :], scores)
                    if other >= sum(scores[token] for token in tokens) and not meets_odd_run(string, merges):
                        found.add(string)
    return found


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(merge_lists("abcd", most=20), st.data())
def test_those_that_lose_are_found(merges: Merges, data: st.DataObject) -> None:
    bpe = read_bpe(bpe_of(merges))
    scores_V = data.draw(any_scores(bpe))
    expected = losing(merges, named(bpe, scores_V))
    found = crossings_of(bpe).lost(scores_V)
    regular = {text for string in found if not meets_odd_run(text := string.decode(), merges)}
    assert len(set(found)) == len(found) and regular <= expected
    if expected:
        assert found


def test_fitting_what_is_lost_leaves_nothing_lost() -> None:
    merges = [
        ("r", "i"),
        ("b", "i"),
        ("i", "n"),
        ("s", "t"),
        ("in", "st"),
        ("ri", "n"),
        ("bi", "n"),
        ("rin", "g"),
        ("st", "ring"),
    ]
    bpe = read_bpe(bpe_of(merges))
    crossings, encoder = crossings_of(bpe), BpeEncoder(bpe)
    unigram = UnigramEncoder(bpe.token_bytes(), np.zeros(bpe.num_ids, np.int64))
    scores_V = token_scores(prior_weights(len(merges), 0.0), *bpe.derivations())
    assert set(crossings.lost(scores_V)) == {b"rinst", b"binst", b"instring"}
    constraints = None
    while lost := crossings.lost(scores_V):
        prior = Prior(prior_weights(len(merges), 0.0))
        fitted = fit(bpe, unigram, Encoded.of(lost, encoder), prior, constraints)
        scores_V, constraints = fitted.scores_V, fitted.constraints
    assert losing(merges, named(bpe, scores_V)) == set()
