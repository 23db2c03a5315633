"""Which tokens are in use, and what every distinct pretoken takes under them; changes are counted exactly.

A change re-encodes only the distinct pretokens that hold the string. A new token's score is chosen too: by the tokens
its text then takes, in one sweep over all scores that make a difference.
"""

import math
from collections.abc import Sequence

import numpy as np

from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.entry_scores import entry_score
from ivr.tokenizer.recount import PATH_BITS, CutBatch, CutEncoder
from ivr.tokenizer.unigram_file import NEVER

# no new token scores more: room for a score of a few old tokens, and path sums of hundreds of new ones stay exact
HIGHEST_SCORE = 2**47


class VocabularyState:
    """Ids 0..V-1 are the distilled tokens, V..V+C-1 the candidates, unused at first.

    `weights_P`: what one token of pretoken p counts in the objective.
    """

    def __init__(
        self,
        batch: CutBatch,
        weights_P: np.ndarray,
        tokens: Sequence[bytes],
        scores_V: np.ndarray,
        new: Sequence[bytes],
    ) -> None:
        self.batch, self.weights_P = batch, weights_P
        self.num_old, self.num_tokens = len(tokens), len(tokens) + len(new)
        splits = UnigramEncoder(tokens, scores_V).best_totals(Batch.of(new)) if new else np.zeros(0, np.int64)
        self.least_scores = [entry_score(int(split), len(string)) for split, string in zip(splits, new, strict=True)]
        self._encoder = CutEncoder([*tokens, *new], np.concatenate([scores_V, np.full(len(new), NEVER)]))
        self._starts, self._rows = self._encoder.rows_holding(batch.strings, self.num_old)
        self._old = CutBatch.of([[token] for token in tokens])
        self._old_starts, self._old_rows = self._encoder.rows_holding(self._old.strings, self.num_old)
        lengths, _ = self._encoder.measure(self._old, np.arange(len(tokens)), np.ones(len(tokens), bool))
        self._own_V = lengths == 1  # old tokens produced for their own strings
        self._is_cut_P = batch.is_cut()
        self._opens = np.array([_is_text(string) for string in new], bool)
        self._openers_P = np.zeros(len(batch), np.int32)  # new strings in use that a pretoken holds
        self.lengths_P, self._totals_P = self._measure(np.arange(len(batch)))

    def scores(self) -> np.ndarray:
        """Scores of all tokens now, int64 (V + C,)."""
        return self._encoder.scores_V.copy()

    def total(self) -> float:
        """The objective."""
        return float(self.lengths_P @ self.weights_P)

    def segmentations(self, rows: np.ndarray | None = None) -> Segmentations:
        """Current segmentations of every distinct pretoken, or of `rows`."""
        rows = np.arange(len(self.batch)) if rows is None else rows
        return self._encoder.segment(self.batch, rows, self._openers_P[rows] > 0)

    def rows_of(self, token: int) -> np.ndarray:
        """The distinct pretokens that hold a candidate's string."""
        place = token - self.num_old
        return self._rows[self._starts[place] : self._starts[place + 1]]

    def score_of(self, token: int) -> int:
        """The score of a token now."""
        return int(self._encoder.scores_V[token])

    def candidates_in(self, rows: np.ndarray) -> np.ndarray:
        """For every candidate: does its string lie in any of these pretokens? bool (C,)."""
        marked_P = np.zeros(len(self.batch), np.int64)
        marked_P[rows] = 1
        sums = np.concatenate([[0], np.cumsum(marked_P[self._rows])])
        found: np.ndarray = sums[self._starts[1:]] > sums[self._starts[:-1]]
        return found

    def enter_best(self, token: int) -> tuple[float, int]:
        """(weighted change in tokens, score) if the candidate entered with the score that suits best; changes nothing.

        With a rising score more and more pretokens use it. Each has one score from which it does (two uses count as
        one step), so the sum over pretokens below each score is the objective; the lowest one of the best is taken.
        No score is given with which an old token would not be produced for its own string; (inf, 0) when none is left.
        """
        rows = self.rows_of(token)
        floor, highest = self.least_scores[token - self.num_old], self._highest(token)
        if highest < floor:
            return math.inf, 0
        without, totals = self.lengths_P[rows], self._totals_P[rows]
        opened = self._newly_open(token, rows)
        fixed = 0.0
        if len(opened):
            without, totals = without.copy(), totals.copy()
            lengths, scores = self._encoder.measure(self.batch, rows[opened], np.ones(len(opened), bool))
            fixed = float((lengths - without[opened]) @ self.weights_P[rows[opened]])
            without[opened], totals[opened] = lengths, scores
        whole = self._whole(token, rows)
        lengths, uses, rest = self._forced(token, self.batch, rows, whole)
        reachable = uses > 0  # a cut may stand in its way
        steps = (totals - rest)[reachable] // uses[reachable] + 1
        steps = np.maximum(steps, floor)
        gains = ((lengths - without) * self.weights_P[rows])[reachable]
        fits = steps <= highest
        steps, gains = steps[fits], gains[fits]
        if len(steps) == 0:
            return fixed, floor
        order = np.argsort(steps, kind="stable")
        steps, changes = steps[order], np.cumsum(gains[order])
        last = np.concatenate([steps[1:] != steps[:-1], [True]])
        best = int(np.argmin(np.where(last, changes, np.inf)))
        return fixed + float(changes[best]), int(steps[best])

    def _forced(
        self, token: int, batch: CutBatch, rows: np.ndarray, whole: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens, uses of `token`, and score of the rest, of the best segmentations that use it most."""
        before = self._encoder.scores_V[token]
        self._encoder.scores_V[token] = 0
        lengths, forced = self._encoder.measure(batch, rows, whole, token)
        self._encoder.scores_V[token] = before
        return lengths, forced >> PATH_BITS, forced & ((1 << PATH_BITS) - 1)

    def _highest(self, token: int) -> int:
        """The highest score that leaves every old token in use the best segmentation of its own string."""
        place, scores_V = token - self.num_old, self._encoder.scores_V
        rows = self._old_rows[self._old_starts[place] : self._old_starts[place + 1]]
        rows = rows[(scores_V[rows] != NEVER) & self._own_V[rows]]
        lowest = max(HIGHEST_SCORE, self.least_scores[place])
        if len(rows):
            _, uses, rest = self._forced(token, self._old, rows, np.ones(len(rows), bool))
            lowest = min(lowest, int(((scores_V[rows] - rest - 1) // uses).min()))
        return lowest

    def enter(self, token: int, score: int) -> float:
        """Use a candidate with this score; returns the weighted change in tokens."""
        rows = self.rows_of(token)
        if self._encoder.scores_V[token] == NEVER and self._opens[token - self.num_old]:
            self._openers_P[rows] += 1
        self._encoder.scores_V[token] = score
        return self._recount(rows)

    def cost_of_leaving(self, token: int, rows: np.ndarray | None = None) -> float:
        """Weighted tokens lost if a token in use left; `rows`: those that use it, for an old token."""
        before = self._encoder.scores_V[token]
        if rows is None:
            rows = self.rows_of(token)
        self._encoder.scores_V[token] = NEVER
        lengths, _ = self._encoder.measure(self.batch, rows, self._whole_without(token, rows))
        self._encoder.scores_V[token] = before
        return float((lengths - self.lengths_P[rows]) @ self.weights_P[rows])

    def leave(self, token: int, rows: np.ndarray | None = None) -> float:
        """Stop using a token; returns the weighted tokens lost."""
        if rows is None:
            rows = self.rows_of(token)
        if token >= self.num_old and self._opens[token - self.num_old]:
            self._openers_P[rows] -= 1
        self._encoder.scores_V[token] = NEVER
        return self._recount(rows)

    def come_back(self, token: int, score: int, rows: np.ndarray) -> float:
        """Use an old token again, in all `rows` that hold it."""
        self._encoder.scores_V[token] = score
        return self._recount(rows)

    def _recount(self, rows: np.ndarray) -> float:
        lengths, totals = self._measure(rows)
        change = float((lengths - self.lengths_P[rows]) @ self.weights_P[rows])
        self.lengths_P[rows], self._totals_P[rows] = lengths, totals
        return change

    def _measure(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._encoder.measure(self.batch, rows, self._openers_P[rows] > 0)

    def _whole(self, token: int, rows: np.ndarray) -> np.ndarray:
        """Which of the rows would be taken whole with this candidate in use."""
        if self._opens[token - self.num_old]:
            return np.ones(len(rows), bool)
        return self._openers_P[rows] > 0

    def _whole_without(self, token: int, rows: np.ndarray) -> np.ndarray:
        own = int(token >= self.num_old and self._opens[token - self.num_old])
        return self._openers_P[rows] > own

    def _newly_open(self, token: int, rows: np.ndarray) -> np.ndarray:
        """Places in `rows` of those that are cut now and would not be with this candidate."""
        if not self._opens[token - self.num_old]:
            return np.zeros(0, np.int64)
        return np.flatnonzero(self._is_cut_P[rows] & (self._openers_P[rows] == 0))


def _is_text(string: bytes) -> bool:
    try:
        string.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
