"""Merge bonuses: integers b_r, one a merge rank, so that a Unigram model returns BPE's segmentation.

Every token t scores s(t) = sum of b_r over the merge ranks r in its derivation tree T(t). A segmentation then scores
sum_r b_r n_r, where n_r counts the uses of merge r in it. BPE returns the segmentation whose vector (n_0, n_1, ...) is
lexicographically largest, ties and runs of a self-merging unit aside (README, Method): with d = n(BPE) - n(other), the
lowest rank r* with d != 0 has d > 0. So every mismatch is mended by raising b_{r*} alone, which involves only ranks
above r*: a triangular system, solved in one pass from the highest r* to the lowest.

Bonuses are integers and path sums stay below 2^53: exact in float64, in JSON and in any order of addition.
"""

from dataclasses import dataclass, field

import numpy as np

from ivr.console import LOG
from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.compiler import compiled
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.errors import ConfigError

EXACT = 2**53  # float64 holds every integer up to here
# `tokenizers` reads 123.0 as 1230 / 10, so a score in a file is exact up to here
EXACT_IN_FILE = EXACT // 10
MAX_ROUNDS = 60
SHIFT = 0.014  # of the merges: what the prior's power law is flat below

TIE = "tie"  # the same merges at another place of a run: no scores can tell them apart
INVERSION = "run inversion"  # inside a run, another place of the odd unit has the larger vector


def prior_bonuses(num_merges: int, exponent: float) -> np.ndarray:
    """b_r = ceil(((R + c) / (r + 1 + c))^exponent) with c = SHIFT * R, int64 (R,): smallest 1.

    The bits of a float64 are to go where they decide unseen text. A merge is displaced by two later ones together, so
    it should outweigh both: their ranks then differ the less, the steeper the prior is there. A plain power law spends
    half of its bits on the first 1 % of the merges; few as these are, constraints order them with far fewer bits. So
    the prior is flat there, and twice as steep for the rest (Mandelbrot's shift of Zipf's law).
    """
    ranks = np.arange(1, num_merges + 1)
    shift = SHIFT * num_merges
    return np.ceil(np.minimum(((num_merges + shift) / (ranks + shift)) ** exponent, EXACT)).astype(np.int64)


Row = tuple[tuple[int, int], ...]  # (rank, d), ranks ascending


class ScoresTooLarge(ConfigError):
    """Scores that fit the text pass what a file holds exactly."""


@dataclass
class Constraints:
    """Rows d with sum_r d_r b_r >= 1, sparse: ranks ascending, the first one's d positive.

    `own`: rows that a token needs to be produced for its own string although a run in it has a lexicographically larger
    split (` ...` against ` .`,`..`), by the rank of the token's last merge, the bonus that is raised for it.
    """

    rows: dict[Row, None] = field(default_factory=dict)
    own: dict[Row, int] = field(default_factory=dict)
    given_up: set[Row] = field(default_factory=set)  # those of `own` that contradict others

    def __len__(self) -> int:
        return len(self.rows) + len(self.own)

    def copy(self) -> "Constraints":
        return Constraints(dict(self.rows), dict(self.own), set(self.given_up))

    def add(self, difference: dict[int, int]) -> bool:
        """Add {rank: d}; False when it was known."""
        row = tuple(sorted(difference.items()))
        if row in self.rows:
            return False
        self.rows[row] = None
        return True

    def add_own(self, difference: dict[int, int], last_merge: int) -> bool:
        """Add {rank: d} for a token whose last merge has this rank; False when it was known."""
        row = tuple(sorted(difference.items()))
        if row in self.own or row in self.given_up:
            return False
        self.own[row] = last_merge
        return True

    def give_up_newest_own(self) -> None:
        """Do without the row of `own` that was added last; the certificate names the tokens that suffer."""
        self.given_up.add(self.own.popitem()[0])

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(starts, ranks, values) with rows in descending order of their first rank."""
        rows = sorted(self.rows, key=lambda row: -row[0][0])
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=starts[1:])
        flat = np.array([pair for row in rows for pair in row], np.int64).reshape(-1, 2)
        return starts, flat[:, 0].copy(), flat[:, 1].copy()


@compiled
def _solve(bonuses, starts, ranks, values):  # type: ignore[no-untyped-def]
    for row in range(len(starts) - 1):
        rest = np.int64(0)
        for i in range(starts[row] + 1, starts[row + 1]):
            rest += values[i] * bonuses[ranks[i]]
        first = starts[row]
        need = (1 - rest + values[first] - 1) // values[first]
        bonuses[ranks[first]] = max(bonuses[ranks[first]], need)


def solve(prior_R: np.ndarray, constraints: Constraints) -> np.ndarray:
    """The smallest bonuses >= prior that meet every constraint, int64 (R,)."""
    arrays = constraints.arrays()
    floor_R = prior_R.copy()
    for _ in range(MAX_ROUNDS):
        bonuses_R = floor_R.copy()
        _solve(bonuses_R, *arrays)
        met = True
        for row, last_merge in constraints.own.items():
            missing = 1 - sum(d * int(bonuses_R[rank]) for rank, d in row)
            if missing > 0:
                floor_R[last_merge] = max(floor_R[last_merge], bonuses_R[last_merge] + missing)
                met = False
        if met:
            return bonuses_R
    constraints.give_up_newest_own()
    return solve(prior_R, constraints)


def token_scores(bonuses_R: np.ndarray, starts: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """s(t) for every id, int64 (V,); a byte or an added token scores 0."""
    running = np.concatenate([[0], np.cumsum(bonuses_R[ranks])])
    return running[starts[1:]] - running[starts[:-1]]


@dataclass
class Fit:
    """The outcome of `fit`: bonuses and scores, and the rows that scores cannot mend."""

    bonuses_R: np.ndarray
    scores_V: np.ndarray
    constraints: Constraints
    rounds: int
    unmended: dict[int, str]  # row -> TIE or INVERSION


def fit(
    bpe: ByteLevelBpe,
    unigram: UnigramEncoder,
    batch: Batch,
    truth: Segmentations,
    exponent: float,
    constraints: Constraints | None = None,
) -> Fit:
    """Find bonuses under which every string of `batch` is segmented as in `truth` (BPE's answer).

    Ends when a round brings no new constraint. Time grows with strings x rounds (5 to 8), memory with their bytes.
    Raises ScoresTooLarge when the scores leave the range that float64 holds exactly.
    """
    starts, ranks = bpe.derivations()
    prior_R = prior_bonuses(len(bpe.merges_R3), exponent)
    constraints = Constraints() if constraints is None else constraints
    for rounds in range(1, MAX_ROUNDS + 1):
        bonuses_R = solve(prior_R, constraints)
        scores_V = token_scores(bonuses_R, starts, ranks)
        answers = unigram.with_scores(scores_V).encode(batch)
        unmended: dict[int, str] = {}
        added = 0
        wrong = differing_rows(truth, answers)
        for row in wrong.tolist():
            difference = merge_difference(truth.row(row), answers.row(row), starts, ranks)
            cause = cause_of(difference)
            if cause and len(truth.row(row)) == 1 and difference:
                added += constraints.add_own(difference, int(ranks[starts[truth.row(row)[0] + 1] - 1]))
            elif cause:
                unmended[row] = cause
            else:
                added += constraints.add(difference)
        LOG.info(
            "fit round %d: %s of %s strings differ, %s new constraints",
            rounds,
            f"{len(wrong):,}",
            f"{len(batch):,}",
            f"{added:,}",
        )
        if scores_V.max(initial=0) >= EXACT_IN_FILE:
            raise ScoresTooLarge(f"token scores pass 2^53 / 10 ({scores_V.max():.3g}); try a smaller --prior-exponent")
        if not added:
            return Fit(bonuses_R, scores_V, constraints, rounds, unmended)
    raise ConfigError(f"the fit found new constraints for {MAX_ROUNDS} rounds; please report this tokenizer")


def cause_of(difference: dict[int, int]) -> str:
    """Why scores cannot mend a mismatch with this difference of merge counts; empty when they can."""
    if not difference:
        return TIE
    return "" if difference[min(difference)] > 0 else INVERSION


def merge_difference(
    bpe_ids: np.ndarray, other_ids: np.ndarray, starts: np.ndarray, ranks: np.ndarray
) -> dict[int, int]:
    """n(bpe) - n(other) as {rank: difference}, zeros left out."""
    counts: dict[int, int] = {}
    for ids, sign in ((bpe_ids, 1), (other_ids, -1)):
        for token_id in ids.tolist():
            for rank in ranks[starts[token_id] : starts[token_id + 1]].tolist():
                counts[rank] = counts.get(rank, 0) + sign
    return {rank: count for rank, count in counts.items() if count}


def differing_rows(first: Segmentations, second: Segmentations) -> np.ndarray:
    """Rows whose ids differ, ascending."""
    same_length = first.lengths() == second.lengths()
    rows = np.flatnonzero(same_length)
    lengths = first.lengths()[rows]
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    differs = (
        first.ids[np.repeat(first.starts[rows], lengths) + within]
        != second.ids[np.repeat(second.starts[rows], lengths) + within]
    )
    wrong = np.zeros(len(first.starts) - 1, bool)
    wrong[np.repeat(rows, lengths)[differs]] = True
    return np.flatnonzero(wrong | ~same_length)
