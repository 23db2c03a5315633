"""A large vocabulary: the text is right whatever else is asked for, and pairs of neighbours where they can be."""

from dataclasses import replace

import numpy as np
import pytest
from small_bpe import Merges, bpe_of

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.batch import Batch
from ivr.encoding.bpe import read_bpe
from ivr.tokenizer.fit import fitter as fitting
from ivr.tokenizer.fit.closed_subsets import ClosedParts
from ivr.tokenizer.fit.fitter import TextFitter
from ivr.tokenizer.fit.soft_pairs import SoftPairs, one_pretoken
from ivr.tokenizer.proof import closure
from ivr.tokenizer.scores.constraints import LARGEST, Constraints
from ivr.tokenizer.scores.merge_counts import Differences
from ivr.tokenizer.scores.merge_weights import EXACT_IN_FILE, Fit, Prior, ScoresTooLarge

# `binst` is `bin`,`st` for BPE, and `b`,`inst` where `inst` weighs more than `bin`; nothing else shows it
MERGES = [("r", "i"), ("b", "i"), ("i", "n"), ("s", "t"), ("in", "st"), ("ri", "n"), ("bi", "n")]


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closure, "MOST_IDS", 0)
    monkeypatch.setattr(fitting, "MOST_AT_ONCE", 0)


def a_fitter(merges: Merges, exponent: float = 0.0, closed: bool = False, text_first: bool = True) -> TextFitter:
    base = bpe_of(merges)
    fitter = TextFitter(read_bpe(base), exponent, PretokenSplitter(base))
    fitter.plan, fitter.text_first = replace(fitter.plan, closed=closed), text_first
    fitter.take(Batch.of([b"rist"]))
    return fitter


def wrong(fitter: TextFitter, *strings: bytes) -> list[bytes]:
    batch = Batch.of([*strings])
    found = fitter.unigram.with_scores(fitter.fit().scores_V).differing(batch, fitter.encoder.encode(batch))
    return [strings[row] for row in found.tolist()]


def test_pairs_that_no_text_shows_are_right_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrong(a_fitter(MERGES), b"rist", b"binst", b"rinst") == []
    monkeypatch.setattr(fitting, "ROOM_FOR_PAIRS", 0)
    assert wrong(a_fitter(MERGES), b"rist", b"binst", b"rinst") == [b"binst", b"rinst"]


def test_the_prior_gives_way_for_pairs_and_the_text_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fitter = a_fitter(MERGES, exponent=6.8)
    monkeypatch.setattr(fitting, "ROOM_FOR_PAIRS", 10_000)
    assert wrong(fitter, b"rist", b"binst", b"rinst") == [] and 3.0 <= fitter.plan.exponent < 6.8


def test_where_the_text_does_not_fit_beside_pairs_these_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def beside(self: SoftPairs, known: Constraints, prior: Prior, limit: int) -> Constraints:
        dear = known.copy()
        dear.add_all(Differences(np.array([0, 2]), np.array([0, 1]), np.array([1, -EXACT_IN_FILE])))
        return dear

    monkeypatch.setattr(SoftPairs, "beside", beside)
    fitter = a_fitter(MERGES, exponent=3.4)
    assert wrong(fitter, b"rist") == [] and fitter.plan.exponent == 3.4 and fitter.plan.names


def test_pairs_that_would_lose_a_string_of_the_text_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, calls = TextFitter.fit_beside, []

    def losing(self: TextFitter, pieces: list[bytes], constraints: Constraints) -> Fit:
        calls.append(constraints)
        found = plain(self, pieces, constraints)
        return replace(found, unmended={0: "tie"}) if len(calls) == 2 else found  # that of the pairs

    monkeypatch.setattr(TextFitter, "fit_beside", losing)
    assert wrong(a_fitter(MERGES), b"rist", b"binst", b"rinst") == [b"binst", b"rinst"] and len(calls) == 3


def test_pairs_that_the_pre_tokenizer_splits_ask_for_nothing() -> None:
    """Digits and marks never meet in a pretoken of GPT-2's; what begins or ends within a character may be one."""
    strings = [b"1!", b"!!", b" !", b"  !", b"a\xea\xb0", b"\x80a", "가".encode(), "가1".encode()]
    found = one_pretoken(Batch.of(strings), PretokenSplitter(bpe_of(MERGES)))
    assert found.tolist() == [False, True, True, False, True, True, True, False]


def test_the_text_comes_before_parts_that_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed first, parts of Qwen 3 and its tokens with repeats contradict each other: no bits are enough for both."""

    def too_large(*_: object) -> None:
        raise ScoresTooLarge("too large", LARGEST)

    monkeypatch.setattr(ClosedParts, "close", too_large)
    fitter = a_fitter(MERGES, closed=True, text_first=False)
    assert wrong(fitter, b"rist", b"binst") == [] and fitter.plan.closed and fitter.text_first


def test_what_only_lacks_room_gives_way_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object) -> None:
        raise ScoresTooLarge("too large", LARGEST - 1)

    monkeypatch.setattr(ClosedParts, "close", too_large)
    fitter = a_fitter(MERGES, closed=True, text_first=False)
    assert wrong(fitter, b"rist") == [] and not fitter.text_first and not fitter.plan.closed


def test_a_part_that_takes_more_than_the_text_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []

    def close_again(
        self: ClosedParts, prior_R: np.ndarray, constraints: Constraints, limit: int = EXACT_IN_FILE
    ) -> int:
        limits.append(limit)
        return 0

    monkeypatch.setattr(ClosedParts, "close_again", close_again)
    monkeypatch.setattr(fitting, "ROOM_FOR_PAIRS", 0)
    largest = int(a_fitter(MERGES, closed=False).fit().scores_V.max())
    fitted = a_fitter(MERGES, closed=True)
    fitted.fit()
    assert largest <= limits[0] < 2 * largest and {*limits[1:]} <= {EXACT_IN_FILE}


@pytest.mark.slow
def test_no_part_is_closed_where_a_merge_comes_before_one_that_makes_its_part() -> None:
    """As in Llama 3's: the library's order of merges is not that of their parts, which no part's walks follow."""
    letters = [chr(code) for code in range(0x100, 0x120)]
    others = [(one, other) for one in letters for other in letters]
    base = bpe_of([*others, ("in", "st"), *(merge for merge in MERGES if merge != ("in", "st"))])
    bpe = read_bpe(base)
    assert bpe.applied_R is not None
    fitter = TextFitter(bpe, 0.0, PretokenSplitter(base))
    fitter.plan = replace(fitter.plan, closed=True)
    fitter.take(Batch.of([b"rist", b"inst"]))
    assert wrong(fitter, b"rist", b"inst") == [] and fitter.proofs(fitter.fit()) == []
