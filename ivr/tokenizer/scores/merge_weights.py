"""Merge weights: integers b_r, one a merge rank, so that a Unigram model returns BPE's segmentation.

Every token t scores s(t) = sum of b_r over the merge ranks r in its derivation tree T(t). A segmentation then scores
sum_r b_r n_r, where n_r counts the uses of merge r in it. BPE returns the segmentation whose vector (n_0, n_1, ...) is
lexicographically largest, ties and runs of a self-merging unit aside (METHOD.md): with d = n(BPE) - n(other), the
lowest rank r* with d != 0 has d > 0. So every mismatch is mended by raising b_{r*} alone, which involves only ranks
above r*: a triangular system, solved in one pass from the highest r* to the lowest.

Weights are integers: scores survive JSON, and sums of them are exact in float64 below 2^53, in any order of addition.
No token scores a fifth of that.
"""

import logging
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ivr.console import LOG
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.errors import ConfigError
from ivr.tokenizer.scores.constraints import LARGEST, Constraints, solve
from ivr.tokenizer.scores.encoded import Encoded, Parts
from ivr.tokenizer.scores.merge_counts import merge_differences
from ivr.tokenizer.unigram_file import EXACT

# `tokenizers` reads 123.0 as 1230 / 10, and a float64 holds every even integer up to 2^54
EXACT_IN_FILE = 2 * EXACT // 10
TOO_LARGE = 1 << 62  # what stands for scores that 64 bits do not hold: far beyond every limit
MAX_ROUNDS = 60
SHIFT = 0.014  # of the merges: what the prior's power law is flat below

AT_A_TIME = 100_000  # strings that differ, for memory


def prior_weights(num_merges: int, exponent: float) -> np.ndarray:
    """b_r = ceil(((R + c) / (r + 1 + c))^exponent) with c = SHIFT * R, int64 (R,): smallest 1.

    The bits of a float64 are to go where they decide unseen text. A merge is displaced by two later ones together, so
    it should outweigh both: their ranks then differ the less, the steeper the prior is there. A plain power law spends
    half of its bits on the first 1 % of the merges; few as these are, constraints order them with far fewer bits. So
    the prior is flat there, and twice as steep for the rest (Mandelbrot's shift of Zipf's law).
    """
    ranks = np.arange(1, num_merges + 1)
    shift = SHIFT * num_merges
    return np.ceil(np.minimum(((num_merges + shift) / (ranks + shift)) ** exponent, EXACT)).astype(np.int64)


class ScoresTooLarge(ConfigError):
    """Scores that fit the text pass what a file holds exactly. largest: of them; 0 where it is not known."""

    def __init__(self, message: str, largest: int = 0) -> None:
        super().__init__(message)
        self.largest = largest
        self.losing: Encoded | None = None  # the strings that differed in any round of the fit

    @property
    def is_contradiction(self) -> bool:
        """Whether weights ran to the largest there is: what is asked for goes round in a circle, at any prior."""
        return self.largest >= LARGEST


def token_scores(weights_R: np.ndarray, starts: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """s(t) for every id, int64 (V,), 2^62 at most; a byte or an added token scores 0."""
    merges = weights_R[ranks]
    running = np.concatenate([[0], np.cumsum(merges)])  # modulo 2^64: differences that 64 bits hold are right
    scores_V: np.ndarray = running[starts[1:]] - running[starts[:-1]]
    if int(weights_R.max(initial=0)) * int(np.diff(starts).max(initial=0)) > TOO_LARGE:
        roughly = np.concatenate([[0.0], np.cumsum(merges.astype(np.float64))])
        scores_V[roughly[starts[1:]] - roughly[starts[:-1]] > TOO_LARGE] = TOO_LARGE
    return scores_V


@dataclass
class Fit:
    """The outcome of `fit`: weights and scores, and the rows that scores cannot mend."""

    weights_R: np.ndarray
    scores_V: np.ndarray
    constraints: Constraints
    rounds: int
    unmended: dict[int, str]  # row -> TIE or INVERSION


class Prior(NamedTuple):
    """What the weights of a fit begin with, and by which share more than asked it raises them."""

    weights_R: np.ndarray  # int64
    slack_R: np.ndarray | None = None  # as `solve` takes it


def fit(
    bpe: ByteLevelBpe,
    unigram: UnigramEncoder,
    strings: Encoded | Parts,
    prior: Prior,
    constraints: Constraints | None = None,
    limit: int = EXACT_IN_FILE,
    level: int = logging.INFO,
) -> Fit:
    """Find weights under which every string is segmented as BPE does.

    A round encodes all strings; then those that differed, now or earlier, are fitted by themselves. Ends when a round
    brings no new constraint. Time grows with strings x rounds (3 to 5), memory with their bytes.

    unigram: of the BPE's tokens, under any scores. constraints: to be met besides; new ones are added to them.
    limit: no token's score may reach it; the range that a file holds exactly. level: at which rounds are logged.

    Raises ScoresTooLarge when a score does.
    """
    constraints = Constraints() if constraints is None else constraints
    fitter = _Fitter(bpe, unigram, prior, constraints, limit)
    active = np.zeros(0, np.int64)
    for rounds in range(1, MAX_ROUNDS + 1):
        wrong = fitter.wrong(strings)
        active = np.union1d(active, wrong)
        try:
            added, unmended = fitter.learn(strings, wrong)
            LOG.log(
                level,
                "fit round %d: %s of %s strings differ, %s new constraints",
                *(rounds, f"{len(wrong):,}", f"{len(strings):,}", f"{added:,}"),
            )
            if not added:
                return Fit(fitter.weights_R, fitter.scores_V, constraints, rounds, unmended)
            some = strings.select(active)
            for _ in range(MAX_ROUNDS):
                added, _ = fitter.learn(some, fitter.wrong(some))
                if not added:
                    break
        except ScoresTooLarge as error:
            error.losing = strings.select(active)
            raise
    raise ConfigError(f"the fit found new constraints for {MAX_ROUNDS} rounds; please report this tokenizer")


class _Fitter:
    """Weights and scores that meet all constraints so far."""

    def __init__(
        self, bpe: ByteLevelBpe, unigram: UnigramEncoder, prior: Prior, constraints: Constraints, limit: int
    ) -> None:
        self._starts, self._ranks = bpe.derivations()
        self._prior, self._constraints, self._unigram, self._limit = prior, constraints, unigram, limit
        self._solve()

    def wrong(self, strings: Encoded | Parts) -> np.ndarray:
        """Rows that differ under the scores as they are."""
        return strings.differing(self._unigram)

    def learn(self, strings: Encoded | Parts, wrong: np.ndarray) -> tuple[int, dict[int, str]]:
        """Constraints against the present answers for these rows: (how many are new, the rows without and why)."""
        added, unmended = 0, {}
        for begin in range(0, len(wrong), AT_A_TIME):
            rows = wrong[begin : begin + AT_A_TIME]
            some = strings.select(rows)
            expected, answers = some.truth, self._unigram.encode(some.batch)
            differences = merge_differences(expected, answers, self._starts, self._ranks)
            causes = differences.causes()
            added += self._constraints.add_all(differences.select(np.flatnonzero([not cause for cause in causes])))
            for number in [number for number, cause in enumerate(causes) if cause]:
                tokens, difference = expected.row(number), differences.row(number)
                if len(tokens) == 1 and difference:
                    last_merge = int(self._ranks[self._starts[tokens[0] + 1] - 1])
                    added += self._constraints.add_own(difference, last_merge)
                else:
                    unmended[int(rows[number])] = causes[number]
        if added:
            self._solve()
        return added, unmended

    def _solve(self) -> None:
        self.weights_R = solve(self._prior.weights_R, self._constraints, self._prior.slack_R)
        self.scores_V = token_scores(self.weights_R, self._starts, self._ranks)
        self._unigram = self._unigram.with_scores(self.scores_V)
        largest = self.scores_V.max(initial=0)
        if largest >= self._limit:
            raise ScoresTooLarge(f"token scores pass 2^54 / 10 ({largest:.3g})", int(largest))
