"""The fit on small random BPEs, every string of which can be tried.

The theorem (shared/design/distillation.md): BPE returns the segmentation whose vector of merge counts is
lexicographically largest, but for runs of a token that merges with itself. So scores exist for all others.
"""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_bpe import Merges, bpe_history, bpe_of, letters_of, merge_lists, one_difference, strings_over
from tokenizers import Tokenizer

from ivr.encoding.batch import Batch
from ivr.encoding.bpe import read_bpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.errors import ConfigError, CorruptInputError
from ivr.tokenizer.scores.constraints import Constraints, solve
from ivr.tokenizer.scores.encoded import Encoded, Parts
from ivr.tokenizer.scores.merge_counts import INVERSION, TIE, merge_differences, segmentations
from ivr.tokenizer.scores.merge_weights import (
    EXACT_IN_FILE,
    Fit,
    Prior,
    ScoresTooLarge,
    fit,
    prior_weights,
    token_scores,
)
from ivr.tokenizer.unigram_file import read_unigram, unigram_tokenizer

EXPONENT = 2.0
# `tokenizers` writes 123 as 123.0 and reads that as 1230 / 10: 1230, an even integer, must be one that float64 holds
FILE_EXACT = 2**54 // 10


def fitted(base: Tokenizer, strings: list[str], exponent: float = EXPONENT) -> Fit:
    bpe = read_bpe(base)
    unigram = UnigramEncoder(bpe.token_bytes(), np.zeros(bpe.num_ids, np.int64))
    encoded = Encoded.of([string.encode() for string in strings], BpeEncoder(bpe))
    return fit(bpe, unigram, encoded, Prior(prior_weights(len(bpe.merges_R3), exponent)))


def saved_and_reloaded(base: Tokenizer, scores_V: np.ndarray, path: Path) -> Tokenizer:
    bpe = read_bpe(base)
    unigram_tokenizer(base, bpe.tokens, scores_V, sorted(bpe.unmade_ids)).save(str(path))
    return Tokenizer.from_file(str(path))


def pieces(tokenizer: Tokenizer, string: str) -> list[str]:
    return [piece.value for piece in tokenizer.model.tokenize(string)]


@cache
def own_ranks(merges: tuple[tuple[str, str], ...]) -> dict[str, int]:
    """Product -> rank of the merge by which BPE makes it of its own string; of those that never happen the first."""
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        tokens, happened = bpe_history(left + right, merges)
        ranks.setdefault(left + right, happened[-1] if len(tokens) == 1 else rank)
    return ranks


def merge_counts(segmentation: list[str], merges: Merges) -> Counter[int]:
    """How often each merge rank is used in the trees of these tokens."""
    ranks = own_ranks(tuple(merges))
    counts: Counter[int] = Counter()
    open_tokens = list(segmentation)
    while open_tokens:
        token = open_tokens.pop()
        if token in ranks:
            counts[ranks[token]] += 1
            open_tokens += merges[ranks[token]]
    return counts


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fit") / "tokenizer.json"


@settings(max_examples=25, deadline=None)
@given(merge_lists("abc", most=20, self_merges=False))
def test_without_self_merges_every_string_to_length_8_is_segmented_as_bpe_does(file: Path, merges: Merges) -> None:
    base = bpe_of(merges)
    strings = list(strings_over(letters_of(merges), 8))
    result = fitted(base, strings)
    unigram = saved_and_reloaded(base, result.scores_V, file)
    assert [string for string in strings if pieces(unigram, string) != pieces(base, string)] == []
    assert result.unmended == {}


@settings(max_examples=25, deadline=None)
@given(merge_lists("abc", most=20))
def test_what_remains_are_ties_and_run_inversions(file: Path, merges: Merges) -> None:
    assume(any(left == right for left, right in merges))
    base = bpe_of(merges)
    strings = list(strings_over(letters_of(merges), 7))
    result = fitted(base, strings)
    unigram = saved_and_reloaded(base, result.scores_V, file)
    wrong = {}
    for row, string in enumerate(strings):
        bpe_pieces, other = pieces(base, string), pieces(unigram, string)
        if bpe_pieces == other:
            continue
        difference = merge_counts(bpe_pieces, merges)
        difference.subtract(merge_counts(other, merges))
        first = min((rank for rank, count in difference.items() if count), default=None)
        assert first is None or difference[first] < 0  # scores that grow with BPE's vector cannot mend it
        wrong[row] = TIE if first is None else INVERSION
    assert result.unmended == wrong


def test_a_tie_and_an_inversion_by_hand(file: Path) -> None:
    merges = [("y", "y"), ("q", "y")]
    base, strings = bpe_of(merges), ["yyy", "qyy", "qyyy", "yy", "qy"]
    result = fitted(base, strings)
    unigram = saved_and_reloaded(base, result.scores_V, file)
    wrong = {strings[row]: (cause, pieces(base, strings[row])) for row, cause in result.unmended.items()}
    assert wrong["yyy"] == (TIE, ["yy", "y"])
    assert pieces(unigram, "yyy") == ["y", "yy"]
    assert wrong["qyyy"] == (INVERSION, ["q", "yy", "y"])
    assert pieces(unigram, "qyyy") == ["qy", "yy"]
    assert set(wrong) == {"yyy", "qyyy"}


def test_a_constraint_moves_only_its_own_merge() -> None:
    merges = [("a", "b"), ("c", "d"), ("b", "cd"), ("b", "c")]
    base = bpe_of(merges)
    result = fitted(base, list(strings_over("abcd", 5)), exponent=0.0)  # every merge starts at 1
    assert (result.weights_R >= prior_weights(4, 0.0)).all()
    assert result.weights_R[0] > 1  # ab against b+cd
    assert result.weights_R[-1] == 1  # the last outweighs nothing


@pytest.mark.parametrize("first", [True, False])
def test_of_the_tokens_own_rows_only_one_of_those_that_contradict_others_is_given_up(first: bool) -> None:
    constraints = Constraints()
    constraints.add_all(one_difference({0: 1, 3: -1}))
    contradicting, possible = ({0: -1, 3: 1}, 3), ({1: -1, 4: 1}, 4)
    for row, last_merge in (contradicting, possible) if first else (possible, contradicting):
        constraints.add_own(row, last_merge)
    weights_R = solve(np.array([9, 8, 7, 6, 5]), constraints)
    assert constraints.given_up == {((0, -1), (3, 1))} and list(constraints.own.values()) == [4]
    assert weights_R[4] > weights_R[1] and weights_R[0] > weights_R[3]


def test_a_margin_is_a_share_of_what_is_asked() -> None:
    constraints = Constraints()
    constraints.add_all(one_difference({0: 1, 2: -1, 3: -1}))
    constraints.add_all(one_difference({1: 2, 2: -3}))
    prior_R = np.array([1, 1, 1_000, 1_000])
    assert solve(prior_R, constraints).tolist() == [2_001, 1_501, 1_000, 1_000]
    assert solve(prior_R, constraints, np.array([0.1, 0.0, 0.5, 0.5])).tolist() == [2_201, 1_501, 1_000, 1_000]
    prior_R[0] = 5_000  # it asks for nothing
    assert solve(prior_R, constraints, np.full(4, 0.1)).tolist() == [5_000, 1_651, 1_000, 1_000]


@settings(max_examples=30, deadline=None)
@given(merge_lists("abc", most=15), st.randoms(use_true_random=False))
def test_differences_are_those_of_the_trees(merges: Merges, draw: Random) -> None:
    bpe = read_bpe(bpe_of(merges))
    starts, ranks = bpe.derivations()
    sides = [[draw.choices(range(bpe.num_ids), k=draw.randrange(4)) for _ in range(5)] for _ in range(2)]
    found = merge_differences(*(segmentations(side) for side in sides), starts, ranks)
    for number, (first, second) in enumerate(zip(*sides, strict=True)):
        counts = Counter(rank for token in first for rank in ranks[starts[token] : starts[token + 1]].tolist())
        counts.subtract(rank for token in second for rank in ranks[starts[token] : starts[token + 1]].tolist())
        expected = {rank: count for rank, count in sorted(counts.items()) if count}
        assert found.row(number) == expected
        cause = "" if expected and next(iter(expected.values())) > 0 else INVERSION if expected else TIE
        assert found.causes()[number] == cause
    constraints = Constraints()
    distinct = {tuple(found.row(number).items()) for number in range(len(found))}
    assert constraints.add_all(found) == len(constraints) == len(distinct)
    assert constraints.add_all(found) == 0 and constraints.copy().add_all(found) == 0
    again = [tuple(constraints.rows.row(number).items()) for number in range(len(constraints))]
    assert again == list(dict.fromkeys(tuple(found.row(number).items()) for number in range(len(found))))


@settings(max_examples=20, deadline=None)
@given(merge_lists("abc", most=15))
def test_scores_survive_the_file(file: Path, merges: Merges) -> None:
    base = bpe_of(merges)
    scores_V = np.random.default_rng(len(merges)).integers(-FILE_EXACT + 1, FILE_EXACT, read_bpe(base).num_ids)
    saved_and_reloaded(base, scores_V, file).save(str(file))  # once more through the library
    tokenizer, tokens, scores = read_unigram(file)
    special = tokenizer.token_to_id("<|endoftext|>")
    assert np.delete(scores, special).tolist() == np.delete(scores_V, special).tolist()
    assert tokens == read_bpe(base).tokens
    assert json.loads(file.read_text())["model"]["type"] == "Unigram"


@pytest.mark.parametrize("score", ["9007199254740994", "-9007199254740992", "Infinity", "NaN", "0.5", "1e400"])
def test_a_file_with_scores_that_are_no_exact_integers_is_refused(file: Path, score: str) -> None:
    base = bpe_of([("a", "b")])
    for value in ("9007199254740991", score):
        unigram_tokenizer(base, read_bpe(base).tokens, np.zeros(258, np.int64), [257]).save(str(file))
        file.write_text(re.sub(r'("ab",\s*)0\.0', rf"\g<1>{value}", file.read_text()))
        if value == score:
            with pytest.raises(CorruptInputError, match=r"not integers below 2\^53"):
                read_unigram(file)
        else:
            assert read_unigram(file)[2].max() == 2**53 - 1


def test_scores_beyond_float64_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"pass 2\^54"):
        fitted(bpe_of([("a", "b"), ("c", "d"), ("ab", "cd"), ("b", "a")]), ["abcd"], exponent=30.0)


def test_the_fit_allows_no_score_that_the_file_cannot_hold() -> None:
    assert EXACT_IN_FILE <= FILE_EXACT


@settings(max_examples=50, deadline=None)
@given(merge_lists("abc", most=20))
def test_strings_that_leave_no_room_are_named_and_leave_none_by_themselves(merges: Merges) -> None:
    bpe = read_bpe(bpe_of(merges))
    strings = [string.encode() for string in strings_over(letters_of(merges), 6)]
    unigram = UnigramEncoder(bpe.token_bytes(), np.zeros(bpe.num_ids, np.int64))
    every, prior = Encoded.of(strings, BpeEncoder(bpe)), Prior(prior_weights(len(bpe.merges_R3), 0))
    limit = int(fit(bpe, unigram, every, prior).scores_V.max())
    assume(limit > int(token_scores(prior.weights_R, *bpe.derivations()).max()))  # the prior alone has room
    half = len(every) // 2
    rows = np.arange(len(every))
    with pytest.raises(ScoresTooLarge) as raised:
        fit(bpe, unigram, Parts([every.select(rows[:half]), every.select(rows[half:])]), prior, limit=limit)
    losing = raised.value.losing
    assert losing is not None and 0 < len(losing) < len(every)
    assert {losing.batch.string(row) for row in range(len(losing))} <= set(strings)
    with pytest.raises(ScoresTooLarge):
        fit(bpe, unigram, losing, prior, limit=limit)


@settings(max_examples=25, deadline=None)
@given(merge_lists("abc", most=20))
def test_rows_that_differ_are_those_whose_segmentations_do(merges: Merges) -> None:
    bpe = read_bpe(bpe_of(merges))
    strings = [string.encode() for string in ["", *strings_over(letters_of(merges), 6)]]
    unigram = UnigramEncoder(bpe.token_bytes(), np.arange(bpe.num_ids) % 7)
    batch = Batch.of(strings)
    truth, found = BpeEncoder(bpe).encode(batch), unigram.encode(batch)
    expected = [row for row in range(len(batch)) if truth.row(row).tolist() != found.row(row).tolist()]
    assert unigram.differing(batch, truth).tolist() == expected
    rows = np.array(expected, np.int64)
    some = unigram.encode(batch.select(rows))
    assert [row.tolist() for row in map(found.select(rows).row, range(len(rows)))] == [
        some.row(number).tolist() for number in range(len(rows))
    ]
