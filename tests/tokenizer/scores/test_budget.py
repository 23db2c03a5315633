"""Soft constraints that drive the largest score are dropped, and as few others as can be."""

from dataclasses import replace

import numpy as np
import pytest
from small_bpe import Merges, bpe_of

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.batch import Batch
from ivr.encoding.bpe import read_bpe
from ivr.tokenizer.fit.fitter import TextFitter
from ivr.tokenizer.fit.strings import NAME_LETTERS, short_names
from ivr.tokenizer.scores.budget import affordable
from ivr.tokenizer.scores.constraints import Constraints, meet, solve
from ivr.tokenizer.scores.merge_counts import Differences
from ivr.tokenizer.scores.merge_weights import ScoresTooLarge, fit, token_scores

NUM_MERGES = 8
DERIVATIONS = np.arange(NUM_MERGES + 1), np.arange(NUM_MERGES)  # a token for each merge, of this merge alone


def differences(*rows: dict[int, int]) -> Differences:
    ranks = [rank for row in rows for rank in sorted(row)]
    values = [row[rank] for row in rows for rank in sorted(row)]
    return Differences(np.cumsum([0, *map(len, rows)]), np.array(ranks), np.array(values))


def scores(constraints: Constraints) -> list[int]:
    return token_scores(solve(np.ones(NUM_MERGES, np.int64), constraints), *DERIVATIONS).tolist()


def afford(known: Differences, soft: Differences, limit: int) -> Constraints:
    constraints = Constraints()
    constraints.add_all(known)
    return affordable(np.ones(NUM_MERGES, np.int64), constraints, soft, DERIVATIONS, limit)


def test_all_wishes_are_kept_where_there_is_room() -> None:
    soft = differences({2: 1, 3: -2}, {4: 1, 5: -1, 6: -1})
    assert scores(afford(differences({6: 1, 7: -3}), soft, 100)) == [1, 1, 3, 1, 6, 1, 4, 1]


def test_the_wish_that_drives_the_largest_score_is_dropped_and_no_other() -> None:
    """Rank 0 doubles what rank 1 needs, and a soft constraint makes that dear; 3 and 5 have cheap ones of their own."""
    known = differences({0: 1, 1: -2})
    dear, cheap = {1: 1, 2: -9}, [{3: 1, 4: -2}, {5: 1, 6: -2}]
    assert scores(afford(known, differences(dear, *cheap), 100))[:2] == [21, 10]
    kept = afford(known, differences(dear, *cheap), 20)
    assert scores(kept) == [3, 1, 1, 3, 1, 3, 1, 1]
    assert len(kept) == 3


def test_of_a_chain_of_wishes_the_first_goes_and_the_rest_stays() -> None:
    chain = [{rank: 1, rank + 1: -2} for rank in range(NUM_MERGES - 1)]
    assert scores(afford(differences(), differences(*chain), 1000))[0] == 2**NUM_MERGES - 1
    kept = afford(differences(), differences(*chain), 127)
    assert scores(kept) == [1, 127, 63, 31, 15, 7, 3, 1] and len(kept) == NUM_MERGES - 2


def test_the_constraints_alone_remain_where_they_leave_no_room() -> None:
    known, soft = differences({0: 1, 1: -50}), differences({3: 1, 4: -2})
    assert scores(afford(known, soft, 40)) == [51, 1, 1, 1, 1, 1, 1, 1]


def test_a_weight_is_as_large_as_it_is_for_one_row() -> None:
    rows = differences({0: 1, 1: -1}, {0: 1, 1: -3}, {2: 1, 3: -1})
    weights_R, asking_R = meet(np.array([1, 1, 9, 1]), rows, np.array([2, 0, 1]))
    assert weights_R.tolist() == [4, 1, 9, 1] and asking_R.tolist() == [1, -1, -1, -1]


@pytest.mark.slow
@pytest.mark.parametrize("capitals", range(NAME_LETTERS + 1))
def test_short_names_are_every_string_of_four_letters_without_a_run(capitals: int) -> None:
    names = short_names(capitals)
    few = names.select(np.arange(0, len(names), 997))
    texts = [few.string(row).decode() for row in range(len(few))]
    for text in texts:
        name = text.removeprefix(" ")
        assert len(name) == NAME_LETTERS and name.isascii() and name.isalpha()
        assert name[:capitals] == name[:capitals].upper() and name[capitals:] == name[capitals:].lower()
    assert len({names.string(row) for row in range(len(names))}) == len(names)
    with_runs = {0: 26 + 2 * 26 * 25, 1: 26**2, 2: 0, 3: 26**2, 4: 26 + 2 * 26 * 25}[capitals]
    assert len(names) == 2 * (26**NAME_LETTERS - with_runs)


def a_large_fitter(monkeypatch: pytest.MonkeyPatch, merges: Merges, exponent: float = 3.0) -> TextFitter:
    """As for a large vocabulary, which is not closed as a whole."""
    monkeypatch.setattr("ivr.tokenizer.proof.closure.MOST_IDS", 0)
    base = bpe_of(merges)
    fitter = TextFitter(read_bpe(base), exponent, PretokenSplitter(base))
    fitter.take(Batch.of([b"123", b"1223"]))
    return fitter


def test_a_vocabulary_without_letters_has_no_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    fitter = a_large_fitter(monkeypatch, [("1", "2"), ("12", "3"), ("2", "3")])
    fitted = fitter.fit()
    batch = Batch.of([b"123", b"1223", b"abcd"])
    found = fitter.unigram.with_scores(fitted.scores_V).encode(batch)
    assert found.ids.tolist() == fitter.encoder.encode(batch).ids.tolist()


# not of A to F, whose merges are closed
NAMES = [("N", "o"), ("N", "O"), ("M", "N"), ("O", "P"), ("o", "p"), ("Ġ", "M")]


@pytest.mark.parametrize("fitted", [True, False])
def test_short_names_are_right_where_they_are_fitted(monkeypatch: pytest.MonkeyPatch, fitted: bool) -> None:
    """`MNOP` is `M`,`NO`,`P`: a flat prior, and neighbours that are not looked at, leave it to the names."""
    monkeypatch.setattr(TextFitter, "_straddle", lambda self, fit: fit.constraints)
    fitter = a_large_fitter(monkeypatch, NAMES, exponent=0.0)
    fitter.plan = replace(fitter.plan, names=fitted)
    found = fitter.unigram.with_scores(fitter.fit().scores_V)
    names = Batch.of([b"MNOP", b" MNOP", b"MNop", b"Mnop"])
    assert (found.encode(names).ids.tolist() == fitter.encoder.encode(names).ids.tolist()) is fitted


@pytest.mark.parametrize("failure", ["too large", "a part is lost"])
def test_without_room_for_names_all_else_is_fitted(monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    plain = a_large_fitter(monkeypatch, NAMES)
    plain.plan = replace(plain.plan, names=False)
    expected = plain.fit().scores_V.tolist()

    def with_names(self: TextFitter, constraints: Constraints) -> Constraints:
        if failure == "too large":
            raise ScoresTooLarge("too large")
        self._parts_kept = False
        dear = constraints.copy()
        dear.add_all(differences({0: 1, 1: -1000}))
        return dear

    monkeypatch.setattr(TextFitter, "_with_names", with_names)
    fitter = a_large_fitter(monkeypatch, NAMES)
    assert fitter.fit().scores_V.tolist() == expected and fitter._parts_kept


@pytest.mark.parametrize("first", [True, False])
def test_strings_that_lost_say_at_once_that_the_next_prior_has_no_room_either(
    monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    few, room, without_room = 2, 1000, []

    def fit_with_room(bpe, unigram, strings, prior, *others, **named):  # type: ignore[no-untyped-def]
        if prior.weights_R.max() > room:
            without_room.append(len(strings))
            error = ScoresTooLarge("too large")
            error.losing = strings.select(np.arange(few))
            raise error
        return fit(bpe, unigram, strings, prior, *others, **named)

    monkeypatch.setattr("ivr.tokenizer.fit.fitter.fit", fit_with_room)
    if not first:
        monkeypatch.setattr(TextFitter, "_see_room", lambda self, constraints: None)
    fitter = a_large_fitter(monkeypatch, NAMES, exponent=6.8)
    fitter.plan = replace(fitter.plan, names=False, closed=False)
    fitter.fit()
    assert fitter.plan.exponent < 6.8 - 2 * 0.4 and len(without_room) >= 3
    assert fitter._losing is None
    assert (set(without_room[1:]) == {few}) is first
    assert without_room[0] > few
