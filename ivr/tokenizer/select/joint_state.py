"""Words and superwords in one selection: the state of both, with the interface of `VocabularyState`.

A text's tokens are those of its pieces of one pretoken, which depend on words and old ids alone, and one for each
superword, where those stand depends on superwords alone. So each side is recounted by itself, under what the other
leaves: superwords take occurrences of pretokens away, and words make pretokens shorter.
"""

from collections.abc import Sequence

import numpy as np

from ivr.encoding.batch import Segmentations
from ivr.tokenizer.select.vocabulary_state import VocabularyState
from ivr.tokenizer.superwords.parse import Segments, SuperwordParse


class JointState:
    """Ids 0..V-1 are the distilled tokens, then come C candidates inside pretokens, then S superwords."""

    def __init__(
        self,
        words: VocabularyState,
        superwords: Sequence[tuple[int, ...]],
        segments: Segments,
        weights_T: np.ndarray,
    ) -> None:
        """`superwords`: numbers of their pretokens; `segments`: where they may stand, with these weights.

        `words`: distilled tokens and candidates inside pretokens, none in use yet; its weights become this state's.
        """
        words.weights_P = words.weights_P.astype(np.float64)
        self._words = words
        self._parse = SuperwordParse(segments, len(superwords), weights_T)
        self._superwords = superwords
        self.num_old, self.first_superword = words.num_old, words.num_tokens
        self.num_tokens = self.first_superword + len(superwords)
        self._weighted_uses = 0.0
        self._of_pretoken: dict[int, list[int]] = {}
        for place, parts in enumerate(superwords):
            for row in set(parts):
                self._of_pretoken.setdefault(row, []).append(place)

    def is_superword(self, token: int) -> bool:
        return token >= self.first_superword

    def scores(self) -> np.ndarray:
        """Scores of old tokens and words now, int64 (V + C,): superwords get theirs at the end."""
        return self._words.scores()

    def score_of(self, token: int) -> int:
        return self._words.score_of(token)

    def total(self) -> float:
        """The objective."""
        return self._words.total() + self._weighted_uses

    def segmentations(self) -> Segmentations:
        """Current segmentations of every distinct pretoken."""
        return self._words.segmentations()

    def uses(self) -> np.ndarray:
        """Weighted uses of old tokens and words in pieces of one pretoken, float (V + C,)."""
        return self._words.uses()

    def counts(self, weights_T: np.ndarray, counts_P: np.ndarray) -> tuple[np.ndarray, int]:
        """(uses of every token, all of them), of the text with these occurrences of pretokens, `weights_T` of segments.

        int64 (V + C + S,).
        """
        uses_S, covered_P = self._parse.counts(weights_T, len(counts_P))
        segmentations = self.segmentations()
        alone = np.repeat(counts_P - covered_P, segmentations.lengths())
        uses = np.bincount(segmentations.ids, alone, minlength=self.first_superword).astype(np.int64)
        every = np.concatenate([uses, uses_S])
        return every, int(every.sum())

    def rows_of(self, token: int) -> np.ndarray:
        """The distinct pretokens that hold a word; those that a superword is made of."""
        if self.is_superword(token):
            return np.unique(np.array(self._superwords[token - self.first_superword], np.int64))
        return self._words.rows_of(token)

    def candidates_in(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """For every candidate: does it lie in, or hold, any of these pretokens? bool (C + S,)."""
        held = np.zeros(self.num_tokens - self.first_superword, bool)
        for row in {int(row) for part in rows for row in part}:
            held[self._of_pretoken.get(row, [])] = True
        return np.concatenate([self._words.candidates_in(rows), held])

    def enter_best(self, token: int) -> tuple[float, int]:
        """(weighted change in tokens, score) if the candidate entered; a superword's score is 0 until the end."""
        if not self.is_superword(token):
            return self._words.enter_best(token)
        return self._parse.change(token - self.first_superword, True, self._words.lengths_P), 0

    def enter(self, token: int, score: int) -> float:
        """Use a candidate; returns the weighted change in tokens."""
        return self._switch(token, True) if self.is_superword(token) else self._words.enter(token, score)

    def eviction_cost(self, token: int) -> float:
        """Weighted tokens lost if a token in use left."""
        if not self.is_superword(token):
            return self._words.eviction_cost(token)
        return self._parse.change(token - self.first_superword, False, self._words.lengths_P)

    def leave(self, token: int) -> float:
        """Stop using a token; returns the weighted tokens lost."""
        return self._switch(token, False) if self.is_superword(token) else self._words.leave(token)

    def come_back(self, token: int, score: int) -> float:
        """Use an old token again."""
        return self._words.come_back(token, score)

    def _switch(self, token: int, on: bool) -> float:
        words = self._words
        before = words.total()
        change = self._parse.switch(token - self.first_superword, on, words.lengths_P, words.weights_P)
        self._weighted_uses += change - (words.total() - before)
        return change
