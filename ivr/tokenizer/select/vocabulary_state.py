"""Which tokens are in use, and what every distinct pretoken takes under them; changes are counted exactly.

A change re-encodes only the distinct pretokens that hold the string. A new token's score is chosen too: by the tokens
its text then takes, in one sweep over all scores that make a difference. Where it would part another new token, that
one's score rises with it.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from ivr.encoding.batch import Segmentations
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.scores.merge_weights import EXACT_IN_FILE
from ivr.tokenizer.select.recount import CutBatch, Lattices
from ivr.tokenizer.unigram_file import NEVER

# no new token scores more, but where its string holds more by itself: room for a score of a few old tokens, and path
# sums of hundreds of new ones stay exact
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
        encoder = UnigramEncoder([*tokens, *new], np.concatenate([scores_V, np.full(len(new), NEVER)]))
        self._scores_V = encoder.scores_V
        self._lattices = Lattices(batch, encoder)
        self._starts, self._rows = self._lattices.holders()
        self._old, self._new = (Lattices(CutBatch.whole(strings), encoder) for strings in (tokens, new))
        self._old_starts, self._old_rows = self._old.holders()
        self._new_starts, self._new_rows = self._new.holders()
        self._new_lengths = np.array([len(string) for string in new], np.int64)
        self._own_V = self._old.measure(self._scores_V, np.arange(len(tokens)), np.ones(len(tokens), bool))[0] == 1
        self._is_cut_P = batch.is_cut()
        self._opens = np.array([_is_text(string) for string in new], bool)
        self._openers_P = np.zeros(len(batch), np.int32)  # new strings in use that a pretoken holds
        self._used = np.full(len(batch.strings.data), -1, np.int32)  # the token that ends at a byte
        self.lengths_P, self._totals_P = np.zeros(len(batch), np.int32), np.zeros(len(batch), np.int64)
        self._recount(np.arange(len(batch)))

    def scores(self) -> np.ndarray:
        """Scores of all tokens now, int64 (V + C,)."""
        return self._scores_V.copy()

    def score_of(self, token: int) -> int:
        """The score of a token now."""
        return int(self._scores_V[token])

    def total(self) -> float:
        """The objective."""
        return float(self.lengths_P @ self.weights_P)

    def segmentations(self) -> Segmentations:
        """Current segmentations of every distinct pretoken."""
        is_end = self._used >= 0
        before = np.concatenate([[0], np.cumsum(is_end, dtype=np.int64)])
        return Segmentations(self._used[is_end], before[self.batch.strings.starts])

    def uses(self) -> np.ndarray:
        """Weighted uses of every token, float (V + C,)."""
        segmentations = self.segmentations()
        weights = np.repeat(self.weights_P, segmentations.lengths())
        return np.bincount(segmentations.ids, weights, minlength=self.num_tokens)

    def rows_of(self, token: int) -> np.ndarray:
        """The distinct pretokens that hold a token's string (of two bytes or more)."""
        return self._rows[self._starts[token] : self._starts[token + 1]]

    def candidates_in(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """For every candidate: does its string lie in any of these pretokens? bool (C,)."""
        marked_P = np.zeros(len(self.batch), np.int64)
        for part in rows:
            marked_P[part] = 1
        starts = self._starts[self.num_old :]
        sums = np.concatenate([[0], np.cumsum(marked_P[self._rows[starts[0] :]])])
        found: np.ndarray = np.diff(sums[starts - starts[0]]) > 0
        return found

    def enter_best(self, token: int) -> tuple[float, int]:
        """(weighted change in tokens, score) if the candidate entered with the score that suits best; changes nothing.

        New tokens in use that hold its string, and would be parted by it, get the least scores that keep them whole.
        No score is given with which an old token would not be produced for its own string; (inf, 0) when none is left.
        """
        rows, highest, floor = self.rows_of(token), self._highest(token), self._split(token) + 1
        if highest < floor:
            return math.inf, 0
        score = self._sweep(token, rows, floor, highest, self.lengths_P[rows], self._totals_P[rows])
        raised = self._raised(token, score)
        if raised == {}:
            return self._change(token, score, {}), score
        found = [] if raised is None else [(self._change(token, score, raised), score)]
        raised = self._raised(token, floor)
        if raised is not None:
            with self._with_scores(raised):
                now = self._lattices.measure(self._scores_V, rows, self._openers_P[rows] > 0)
                score = self._sweep(token, rows, floor, highest, *now)
            raised = self._raised(token, score)
            found += [] if raised is None else [(self._change(token, score, raised), score)]
        return min(found, default=(math.inf, 0))

    def _sweep(
        self, token: int, rows: np.ndarray, floor: int, highest: int, lengths_R: np.ndarray, totals_R: np.ndarray
    ) -> int:
        """The best score from `floor` to `highest`, all others as they are.

        With a rising score more and more pretokens use the token. Each has one score from which it does (two uses are
        taken for one step here), so the sum over pretokens below each score is the objective; the lowest one of the
        best is taken. `lengths_R`, `totals_R`: tokens and score of the rows without it.
        """
        opened, whole = self._newly_open(token, rows), self._whole(token, rows)
        without, totals = lengths_R, totals_R
        if len(opened):
            without, totals = without.copy(), totals.copy()
            lengths, sums = self._lattices.measure(self._scores_V, rows[opened], np.ones(len(opened), bool))
            without[opened], totals[opened] = lengths, sums
        lengths, uses, rest = self._forced(token, self._lattices, rows, whole)
        reachable = uses > 0  # a cut may stand in its way
        steps = np.maximum((totals - rest)[reachable] // uses[reachable] + 1, floor)
        gains = ((lengths - without) * self.weights_P[rows])[reachable]
        fits = steps <= highest
        steps, gains = steps[fits], gains[fits]
        if len(steps) == 0:
            return floor
        order = np.argsort(steps, kind="stable")
        steps, changes = steps[order], np.cumsum(gains[order])
        last = np.concatenate([steps[1:] != steps[:-1], [True]])
        best = int(np.argmin(np.where(last, changes, np.inf)))
        return int(steps[best])

    def _change(self, token: int, score: int, raised: dict[int, int]) -> float:
        """Weighted change in tokens with this score and these others'."""
        rows = self.rows_of(token)  # whatever holds one of the raised strings holds this one, too
        with self._with_scores({**raised, token: score}):
            lengths, _ = self._lattices.measure(self._scores_V, rows, self._whole(token, rows))
        return float((lengths - self.lengths_P[rows]) @ self.weights_P[rows])

    def _forced(
        self, token: int, lattices: Lattices, rows: np.ndarray, whole: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens, uses of `token`, and score of the rest, of the best segmentations that use it most."""
        with self._with_scores({token: 0}):
            return lattices.measure_forced(self._scores_V, rows, whole, token)

    def _highest(self, token: int) -> int:
        """The highest score that leaves every old token in use the best segmentation of its own string."""
        rows = self._old_rows[self._old_starts[token] : self._old_starts[token + 1]]
        rows = rows[(self._scores_V[rows] != NEVER) & self._own_V[rows]]
        highest = min(max(HIGHEST_SCORE, self._split(token) + 1), EXACT_IN_FILE - 1)
        if len(rows):
            _, uses, rest = self._forced(token, self._old, rows, np.ones(len(rows), bool))
            highest = min(highest, int(((self._scores_V[rows] - rest - 1) // uses).min()))
        return highest

    def _split(self, token: int) -> int:
        """The score of the best split of a candidate's string."""
        place = np.array([token - self.num_old])
        with self._with_scores({token: NEVER}):
            return int(self._new.measure(self._scores_V, place, np.ones(1, bool))[1][0])

    def _raised(self, token: int, score: int) -> dict[int, int] | None:
        """New tokens in use that would be split with this score, and the least scores that keep them whole.

        None when such a score would take an old token's string.
        """
        places = self._new_rows[self._new_starts[token] : self._new_starts[token + 1]]
        places = places[(self._scores_V[self.num_old + places] != NEVER) & (places != token - self.num_old)]
        if len(places) == 0:
            return {}
        changed = {token: score}
        with self._with_scores({token: score}):
            lengths, _ = self._new.measure(self._scores_V, places, np.ones(len(places), bool))
            if (lengths == 1).all():
                return {}
        # strings of one length do not hold each other; longer ones see what the shorter ones were given
        for size in np.unique(self._new_lengths[places]).tolist():
            group = places[self._new_lengths[places] == size]
            ids = (self.num_old + group).tolist()
            with self._with_scores(changed):
                before = self._scores_V[ids]
                with self._with_scores(dict.fromkeys(ids, NEVER)):
                    splits = self._new.measure(self._scores_V, group, np.ones(len(group), bool))[1]
                for number in np.flatnonzero(splits >= before).tolist():
                    changed[ids[number]] = int(splits[number]) + 1
                    if changed[ids[number]] > self._highest(ids[number]):
                        return None
        del changed[token]
        return changed

    @contextmanager
    def _with_scores(self, scores: dict[int, int]) -> Iterator[None]:
        """Other scores for a while."""
        ids = list(scores)
        before = self._scores_V[ids]
        self._scores_V[ids] = list(scores.values())
        try:
            yield
        finally:
            self._scores_V[ids] = before

    def enter(self, token: int, score: int) -> float:
        """Use a candidate with this score, raise those that it would part; returns the weighted change in tokens."""
        rows = self.rows_of(token)
        if self._scores_V[token] == NEVER and self._opens[token - self.num_old]:
            self._openers_P[rows] += 1
        self._scores_V[token] = score
        for other, raised in (self._raised(token, score) or {}).items():
            self._scores_V[other] = raised
        return self._recount(rows)

    def eviction_cost(self, token: int) -> float:
        """Weighted tokens lost if a token in use left."""
        rows = self._touched(token)
        with self._with_scores({token: NEVER}):
            lengths, _ = self._lattices.measure(self._scores_V, rows, self._whole_without(token, rows))
        return float((lengths - self.lengths_P[rows]) @ self.weights_P[rows])

    def leave(self, token: int) -> float:
        """Stop using a token; returns the weighted tokens lost."""
        rows = self._touched(token)
        if token >= self.num_old and self._opens[token - self.num_old]:
            self._openers_P[self.rows_of(token)] -= 1
        self._scores_V[token] = NEVER
        return self._recount(rows)

    def come_back(self, token: int, score: int) -> float:
        """Use an old token again."""
        self._scores_V[token] = score
        return self._recount(self.rows_of(token))

    def _recount(self, rows: np.ndarray) -> float:
        lengths, totals = self._lattices.measure(self._scores_V, rows, self._openers_P[rows] > 0, used=self._used)
        change = float((lengths - self.lengths_P[rows]) @ self.weights_P[rows])
        self.lengths_P[rows], self._totals_P[rows] = lengths, totals
        return change

    def _touched(self, token: int) -> np.ndarray:
        """The pretokens that use a token, and those that would be cut again without it."""
        rows = self.rows_of(token)
        touched = self._lattices.using(self._used, rows, token)
        if token >= self.num_old and self._opens[token - self.num_old]:
            touched |= self._is_cut_P[rows] & (self._openers_P[rows] == 1)
        return rows[touched]

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
