"""The computed worst pairs against every string of small random BPEs; closing the fit; the checker of proofs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bpe import (
    Merges,
    any_scores,
    bpe_of,
    letters_of,
    meets_odd_run,
    merge_lists,
    naive_bpe,
    named,
    one_difference,
    strings_over,
)

from ivr.encoding.bpe import ByteLevelBpe, read_bpe
from ivr.tokenizer.fit import closed_subsets as closed_parts
from ivr.tokenizer.fit.closed_subsets import ALPHABETS, ClosedParts, slack_of_merges
from ivr.tokenizer.proof.checker import check_proof
from ivr.tokenizer.proof.checker_bpe import Pair
from ivr.tokenizer.proof.closure import CIRCLE, PROVED, RANGE, TIME, Universal, close, proof_by_id
from ivr.tokenizer.proof.walk_graph import walk_graph
from ivr.tokenizer.proof.worst_case import PairSearch
from ivr.tokenizer.scores.constraints import Constraints, solve
from ivr.tokenizer.scores.merge_weights import prior_weights, token_scores

LONGEST = 8


def rivals(string: str, scores: dict[str, int], own: list[str]) -> int:
    """The score of the best segmentation other than `own`, less than any when there is none."""
    none = -(10**18)
    # best score of a prefix: [following `own` so far, having left it]
    at, best = 0, [[0, none]] + [[none, none] for _ in string]
    borders = {0}
    for token in own:
        at += len(token)
        borders.add(at)
    for end in range(1, len(string) + 1):
        for begin in range(end):
            token = string[begin:end]
            if token not in scores:
                continue
            follows = begin in borders and end in borders and not borders & set(range(begin + 1, end))
            for left in (0, 1):
                if best[begin][left] > none:
                    now = left or not follows
                    best[end][now] = max(best[end][now], best[begin][left] + scores[token])
    return best[-1][1]


def brute_force(merges: Merges, scores: dict[str, int], longest: int = LONGEST) -> list[str]:
    """Strings without an odd run for which BPE's segmentation is not the only best one."""
    found = []
    for string in strings_over(letters_of(merges), longest):
        own = naive_bpe(string, merges)
        if rivals(string, scores, own) >= sum(scores[token] for token in own) and not meets_odd_run(string, merges):
            found.append(string)
    return found


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(merge_lists("abc", most=14), st.data(), st.booleans())
def test_a_counterexample_is_found_exactly_when_there_is_one(
    merges: Merges, data: st.DataObject, falling: bool
) -> None:
    bpe = read_bpe(bpe_of(merges))
    scores_V = data.draw(any_scores(bpe, falling=falling))
    scores = named(bpe, scores_V)
    result = PairSearch(walk_graph(bpe)).worst_pairs(scores_V)
    assert result.settled or any(pair.turns for pair in result.counterexamples)
    for pair in result.counterexamples:
        own, other = [[bpe.tokens[token_id] for token_id in ids] for ids in (pair.bpe, pair.other)]
        if pair.turns:
            continue
        string = "".join(own)
        assert "".join(other) == string and own != other
        assert naive_bpe(string, merges) == own and not meets_odd_run(string, merges)
        assert sum(scores[token] for token in other) - sum(scores[token] for token in own) >= pair.excess >= 0
    wrong = brute_force(merges, scores)
    if wrong:
        assert result.counterexamples
    if not result.counterexamples:
        assert result.settled and not wrong


def as_checked(
    bpe: ByteLevelBpe, result: Universal
) -> tuple[list[Pair], dict[bytes, int], dict[bytes, list[int | None]]]:
    """What `check_proof` takes: merges, scores and F by token."""
    tokens = bpe.token_bytes()
    merges = [(tokens[left], tokens[right]) for left, right, _ in bpe.merges_R3.tolist()]
    scores = {token: score for token, score in zip(tokens, result.scores_V.tolist(), strict=True) if token}
    bytes_of_bpe: dict[bytes, list[int | None]] = {token: [] for token in scores if len(token) == 1}
    proof = {tokens[token_id]: row for token_id, row in proof_by_id(result.graph, result.pairs.F).items()}
    return merges, scores, bytes_of_bpe | proof


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(merge_lists("abc", most=14), st.sampled_from([0.0, 2.0]))
def test_a_closed_fit_is_right_on_every_string_and_its_proof_is_accepted(merges: Merges, exponent: float) -> None:
    bpe = read_bpe(bpe_of(merges))
    result = close(bpe, prior_weights(len(bpe.merges_R3), exponent), seconds=5)
    assert result.ended in {PROVED, CIRCLE, TIME, RANGE}
    if not result.proved:
        return
    assert brute_force(merges, named(bpe, result.scores_V)) == []
    _, scores, proof = as_checked(bpe, result)
    assert check_proof([(left.encode(), right.encode()) for left, right in merges], scores, proof).accepted


@pytest.fixture(scope="module")
def closed() -> tuple[ByteLevelBpe, Merges]:
    merges = [("a", "b"), ("c", "d"), ("b", "cd"), ("b", "c"), ("ab", "cd"), ("d", "a"), ("y", "y"), ("q", "y")]
    return read_bpe(bpe_of(merges)), merges


@pytest.mark.slow
def test_a_proof_that_was_tampered_with_is_refused(closed: tuple[ByteLevelBpe, Merges]) -> None:
    bpe, _ = closed
    result = close(bpe, prior_weights(len(bpe.merges_R3), 0.0))
    assert result.proved
    merges, scores, proof = as_checked(bpe, result)
    accepted = check_proof(merges, scores, proof)
    assert accepted.accepted and accepted.inequalities > 0
    for token, row in proof.items():
        for place, value in enumerate(row):
            if value is not None:
                lower = {**proof, token: [*row[:place], value - 1, *row[place + 1 :]]}
                assert not check_proof(merges, scores, lower).accepted
            higher = {**proof, token: [*row[:place], scores[token], *row[place + 1 :]]}
            assert not check_proof(merges, scores, higher).accepted
    assert not check_proof(merges, {**scores, b"bcd": scores[b"abcd"]}, proof).accepted
    missing = {token: row for token, row in proof.items() if token != b"ab"}
    assert "ab" in check_proof(merges, scores, missing).reason


@pytest.mark.parametrize(("score", "accepted"), [((2**62) // 5 - 1, True), ((2**62) // 5, False)])
def test_numbers_whose_sums_64_bits_do_not_hold_are_refused(score: int, accepted: bool) -> None:
    scores = {**{bytes([byte]): 0 for byte in range(256)}, b"ab": score}
    verdict = check_proof([(b"a", b"b")], scores, {**{token: [] for token in scores}, b"ab": [0]})
    assert verdict.accepted == accepted and ("too large" in verdict.reason) == (not accepted)


def test_the_checker_refuses_merges_out_of_order() -> None:
    merges = [(b"a", b"b"), (b"b", b"c"), (b"a", b"bc"), (b"abc", b"ab"), (b"ab", b"c")]
    scores = {**{bytes([byte]): 0 for byte in range(256)}, b"ab": 9, b"bc": 8, b"abc": 16, b"abcab": 40}
    proof = {token: [0] * (len(token) - 1) for token in scores}
    verdict = check_proof(merges, scores, proof)
    assert not verdict.accepted and verdict.reason.startswith("in b'abcab' a merge follows one of higher rank")


def test_without_a_proof_the_flat_scores_are_refused(closed: tuple[ByteLevelBpe, Merges]) -> None:
    bpe, _ = closed
    flat = token_scores(np.ones(len(bpe.merges_R3), np.int64), *bpe.derivations())
    assert PairSearch(walk_graph(bpe)).worst_pairs(flat).counterexamples  # ab,cd against a,bcd


def test_a_second_search_that_starts_from_the_first_finds_the_same() -> None:
    draw = np.random.default_rng(5)
    letters, merges = list("abcd"), []
    tokens = letters[:]
    while len(merges) < 60:
        left, right = draw.choice(tokens), draw.choice(tokens)
        if left + right not in tokens and len(left + right) <= 8:
            merges.append((str(left), str(right)))
            tokens.append(left + right)
    bpe = read_bpe(bpe_of(merges))
    graph = walk_graph(bpe)
    search = PairSearch(graph)
    for _ in range(12):
        weights = np.sort(draw.integers(1, 2_000, len(merges)))[::-1].copy()
        scores_V = token_scores(weights, *bpe.derivations())
        warm, cold = search.worst_pairs(scores_V), PairSearch(graph).worst_pairs(scores_V)
        assert bool(warm.counterexamples) == bool(cold.counterexamples)
        if not cold.counterexamples:
            assert warm.F.tolist() == cold.F.tolist()


def test_the_same_fit_twice_is_the_same(closed: tuple[ByteLevelBpe, Merges]) -> None:
    bpe, _ = closed
    first, second = (close(bpe, prior_weights(len(bpe.merges_R3), 2.0)) for _ in range(2))
    assert first.scores_V.tolist() == second.scores_V.tolist()
    assert first.pairs.F.tolist() == second.pairs.F.tolist()


def same(constraints: Constraints) -> Constraints:
    return constraints


def test_the_first_merges_closed_alone_are_right_on_every_string_of_theirs(
    closed: tuple[ByteLevelBpe, Merges], monkeypatch: pytest.MonkeyPatch
) -> None:
    bpe, merges = closed
    monkeypatch.setattr(closed_parts, "FIRST", 5 / len(merges))
    monkeypatch.setattr(closed_parts, "ALPHABETS", {})
    monkeypatch.setattr(closed_parts, "SHORT", 0)
    prior_R = prior_weights(len(merges), 0.0)
    parts = ClosedParts(bpe, np.zeros(len(bpe.merges_R3)))
    constraints = parts.close(prior_R, Constraints(), same)
    assert len(constraints) and constraints.rows.ranks.max() < 5
    scores_V = token_scores(solve(prior_R, constraints), *bpe.derivations())
    scores = named(bpe, scores_V)
    first = merges[:5]
    known = {token: scores[token] for token in [*"abcd", *(left + right for left, right in first)]}
    assert brute_force(first, known, longest=7) == []
    assert parts.proofs(scores_V) == []  # later merges make other tokens of the same bytes


@pytest.mark.parametrize("slack", [0.0, 0.25])
def test_tokens_of_two_small_letters_are_closed_with_their_margins(
    monkeypatch: pytest.MonkeyPatch, slack: float
) -> None:
    merges: Merges = [("b", "c"), ("a", "b"), ("c", "d"), ("b", "cd"), ("A", "b")]
    bpe = read_bpe(bpe_of(merges))
    monkeypatch.setattr(closed_parts, "ALPHABETS", {})
    monkeypatch.setattr(closed_parts, "FIRST", 0.0)
    monkeypatch.setattr(closed_parts, "SLACK", slack)
    prior_R, slack_R = np.array([1, 100, 100, 100, 100]), slack_of_merges(len(merges))
    constraints = ClosedParts(bpe, slack_R).close(prior_R, Constraints(), same)
    assert set(constraints.rows.ranks.tolist()) == {0, 1, 2}  # of `bcd` and `Ab` nothing is known
    weights_R = solve(prior_R, constraints, slack_R)
    assert weights_R.tolist() == [201 + 201 * slack // 1, *prior_R[1:]]
    scores = named(bpe, token_scores(weights_R, *bpe.derivations()))
    short = [merge for merge in merges if len("".join(merge)) == 2 and "A" not in merge]
    known = {token: scores[token] for token in [*"abcd", *("".join(merge) for merge in short)]}
    assert brute_force(short, known, longest=6) == []


def test_the_first_merges_have_no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_parts, "FIRST", 0.4)
    assert slack_of_merges(5).tolist() == [0, 0, closed_parts.SLACK, closed_parts.SLACK, closed_parts.SLACK]


DIGITS = "ASCII digits and blanks"


@pytest.fixture
def of_digits(monkeypatch: pytest.MonkeyPatch) -> tuple[ByteLevelBpe, Merges]:
    merges: Merges = [
        ("1", "2"),
        ("a", "1"),
        ("2", "3"),
        ("3", "1"),
        ("b", "12"),
        ("12", "31"),
        ("23", "a"),
        ("1", "1"),
    ]
    monkeypatch.setattr(closed_parts, "ALPHABETS", {DIGITS: ALPHABETS[DIGITS]})
    return read_bpe(bpe_of(merges)), [(left, right) for left, right in merges if (left + right).isdigit()]


def test_a_part_of_certain_characters_is_right_on_every_string_of_them(of_digits: tuple[ByteLevelBpe, Merges]) -> None:
    bpe, digits = of_digits
    prior_R = prior_weights(len(bpe.merges_R3), 0.0)
    parts = ClosedParts(bpe, np.zeros(len(bpe.merges_R3)))
    constraints = parts.close(prior_R, Constraints(), same)
    assert len(constraints)
    scores_V = token_scores(solve(prior_R, constraints), *bpe.derivations())
    known = {token: named(bpe, scores_V)[token] for token in [*"123", *(left + right for left, right in digits)]}
    assert brute_force(digits, known, longest=7) == []
    (proof,) = parts.proofs(scores_V)
    assert proof.name == DIGITS and {len(bpe.tokens[token_id]) for token_id in proof.F} == {2, 4}
    assert parts.proofs(token_scores(prior_R, *bpe.derivations())) == []  # for these scores there is none


def test_parts_are_closed_again_beside_what_others_ask_for(of_digits: tuple[ByteLevelBpe, Merges]) -> None:
    bpe, digits = of_digits
    prior_R = prior_weights(len(bpe.merges_R3), 2.0)
    more = one_difference({3: 1, 7: -3})  # `31` is worth more than three `11`

    def refit(constraints: Constraints) -> Constraints:
        again = constraints.copy()
        again.add_all(more)
        return again

    def wrong(constraints: Constraints) -> list[str]:
        scores = named(bpe, token_scores(solve(prior_R, constraints), *bpe.derivations()))
        known = {token: scores[token] for token in [*"123", *(left + right for left, right in digits)]}
        without_runs = [merge for merge in digits if merge != ("1", "1")]
        return brute_force(without_runs, {token: known[token] for token in known if token != "11"}, longest=7)

    parts = ClosedParts(bpe, np.zeros(len(bpe.merges_R3)))
    constraints = parts.close(prior_R, Constraints(), refit)
    assert constraints.copy().add_all(more) == 0 and wrong(constraints) == []
    text = constraints.copy()
    text.add_all(one_difference({3: 1, 6: -1000}))  # a text that asks more of `31` than `23` is worth
    assert wrong(text)
    assert parts.close_again(prior_R, text) and wrong(text) == []
    assert parts.close_again(prior_R, text) == 0
