"""Fits the weights of one BPE to text, again and again as the pieces that repeats are cut into change."""

import logging
from collections.abc import Iterable
from functools import cached_property

import numpy as np

from ivr.console import LOG
from ivr.encoding.batch import Batch
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.fit.closed_subsets import ClosedParts, slack_of_merges
from ivr.tokenizer.fit.straddling import StraddlingTokens
from ivr.tokenizer.fit.strings import LONGEST_CHARACTER, NAME_LETTERS, rows_with_periods, short_names
from ivr.tokenizer.proof.closure import Proof, is_attempted
from ivr.tokenizer.scores.budget import affordable
from ivr.tokenizer.scores.constraints import Constraints, solve
from ivr.tokenizer.scores.encoded import Encoded
from ivr.tokenizer.scores.merge_weights import (
    EXACT_IN_FILE,
    Fit,
    Prior,
    ScoresTooLarge,
    fit,
    prior_weights,
    token_scores,
)

EXPONENT_STEP = 0.4  # by which the prior is flattened where scores outgrow the file
SMALLEST_EXPONENT = 3.0
ROUNDS = 30  # of fitting the neighbours that a token lies across
CLOSINGS = 8  # turns of fitting the text and closing what is to be right on every string beside it
FEW = 50  # new constraints: the rest is not worth another round
ROOM = EXACT_IN_FILE // 8 * 3  # for names: neighbours that a token lies across ask for more beside them
NO_LIMIT = 1 << 62


class TextFitter:
    """`strings` are always fitted, and every token; `optional` ones as long as scores allow.

    `tested` ones are many, and next to all of them are right: those are fitted that lose, as long as scores allow.
    """

    def __init__(self, bpe: ByteLevelBpe, exponent: float) -> None:
        self._bpe, self.exponent = bpe, exponent
        self.tokens = bpe.token_bytes()
        self.names = [name for token_id, name in enumerate(bpe.tokens) if token_id not in bpe.unmade_ids]
        self.encoder = BpeEncoder(bpe)
        self.unigram = UnigramEncoder(self.tokens, np.zeros(bpe.num_ids, np.int64))
        self._strings = self._optional = self._tested = Encoded.of([], self.encoder)
        self._tested_fitted = np.zeros(0, np.int64)  # rows of the tested that are among the strings
        self.optional_fitted = True
        # a fit that is closed as a whole leaves nothing to be right beyond it
        self._slack_R = None if is_attempted(bpe) else slack_of_merges(len(bpe.merges_R3))
        self._parts: ClosedParts | None = None  # those that are to remain right on every string
        self._parts_kept = True
        self._names_fitted = not is_attempted(bpe)
        self._known: Constraints | None = None  # what the parts that close, and then these strings, ask for

    def take(self, strings: Iterable[bytes], optional: Iterable[bytes] = (), tested: Iterable[bytes] = ()) -> None:
        """The strings to fit, each once."""
        known = dict.fromkeys([*filter(None, self.tokens), *strings])
        self._strings = Encoded.of(known, self.encoder)
        self._optional = Encoded.of((string for string in optional if string not in known), self.encoder)
        self._tested, self._tested_fitted = Encoded.of(tested, self.encoder), np.zeros(0, np.int64)

    @property
    def prior_R(self) -> np.ndarray:
        return prior_weights(len(self._bpe.merges_R3), self.exponent)

    @property
    def _prior(self) -> Prior:
        return Prior(self.prior_R, self._slack_R)

    def fit(self, pieces: Iterable[bytes] = ()) -> Fit:
        """Scores for the strings and these pieces, from the steepest prior that leaves them room in a file."""
        while True:
            try:
                if self._known is None:
                    self._known = self._with_straddling(self._close())
                return self.fit_beside(pieces, self._known)
            except ScoresTooLarge as error:
                lower = max(self.exponent - EXPONENT_STEP, SMALLEST_EXPONENT)
                names_fitted = self._known is not None and self._names_fitted
                self._known = None
                if names_fitted:
                    LOG.info("%s; trying without short names", error)
                    self._names_fitted = False
                elif lower < self.exponent:
                    LOG.info("%s; trying %.3g", error, lower)
                    self.exponent = lower
                elif self.optional_fitted and len(self._optional.batch):
                    LOG.warning("short numbers beyond the corpus are not fitted: %s", error)
                    self.optional_fitted = False
                elif self._slack_R is not None:
                    LOG.warning("no slack, and no part is made right on every string: %s", error)
                    self._parts = self._slack_R = None
                else:
                    raise

    def fit_beside(self, pieces: Iterable[bytes], constraints: Constraints) -> Fit:
        """The same with these constraints besides, from the prior as it is."""
        every = self._strings + Encoded.of(dict.fromkeys(pieces), self.encoder)
        if self.optional_fitted:
            every += self._optional
        fitted = self._fit_closed(every, constraints)
        while len(lost := self._lost(fitted.scores_V)):
            LOG.info("%s of %s strings between parts differ", f"{len(lost):,}", f"{len(self._tested.batch):,}")
            more = self._tested.select(lost)
            try:
                fitted = self._fit_closed(every := every + more, fitted.constraints)
            except ScoresTooLarge as error:
                LOG.info("characters of which tokens hold parts are not all right beside units: %s", error)
                self._tested = self._tested.select(lost[:0])
                break
            self._strings += more
            self._tested_fitted = np.concatenate([self._tested_fitted, lost])
        return fitted

    def _lost(self, scores_V: np.ndarray) -> np.ndarray:
        """Rows of the strings only tested that differ."""
        found = self.unigram.with_scores(scores_V).differing(self._tested.batch, self._tested.truth)
        return np.setdiff1d(found, self._tested_fitted)

    def proofs(self, fitted: Fit) -> list[Proof]:
        """Of the parts that are right on every string."""
        return [] if self._parts is None else self._parts.proofs(fitted.scores_V)

    def _fit_closed(self, every: Encoded, constraints: Constraints) -> Fit:
        """The parts that are right on every string remain so, or are closed no more."""
        fitted = self._fit(every, constraints)
        if self._parts is None or not self._parts_kept:
            return fitted
        for _ in range(CLOSINGS):
            constraints = fitted.constraints.copy()
            if not self._parts.close_again(self.prior_R, constraints):
                return fitted
            try:
                fitted = self._fit(every, constraints)
            except ScoresTooLarge as error:
                LOG.info("%s", error)
                break
        LOG.warning("what is right on every string by itself is not, as a whole, beside the text")
        self._parts_kept = False  # `proofs` finds those that are
        return fitted

    def _fit(self, every: Encoded, constraints: Constraints) -> Fit:
        return fit(self._bpe, self.unigram, every, self._prior, constraints.copy())

    def _close(self) -> Constraints:
        if self._slack_R is None:
            return Constraints()  # all merges are closed later, or there is no room for parts
        self._parts_kept = True
        self._parts = self._parts or ClosedParts(self._bpe, self._slack_R)
        own = Encoded.of(dict.fromkeys(filter(None, self.tokens)), self.encoder)
        if self.optional_fitted:
            own += self._optional

        def refit(constraints: Constraints) -> Constraints:
            return self._fit(own, constraints).constraints

        return self._parts.close(self.prior_R, Constraints(), refit)

    @cached_property
    def _straddling(self) -> StraddlingTokens:
        return StraddlingTokens(self._bpe, self.encoder, self.unigram)

    def _with_straddling(self, constraints: Constraints) -> Constraints:
        """What the strings ask for, and all pairs of neighbours that a third token lies across, beside these."""
        if is_attempted(self._bpe):
            return self.fit_beside([], constraints).constraints
        constraints, all_right = self._straddled(self.fit_beside([], constraints))
        if not all_right:
            return constraints
        if self._names_fitted:
            before = self._parts_kept, self._tested
            try:
                with_names = self._straddle(self.fit_beside([], self._with_names(constraints)))
                if (self._parts_kept, self._tested) == before:
                    return with_names
                LOG.info("short names are not fitted: they leave no room for what matters more")
            except ScoresTooLarge as error:
                LOG.info("short names are not fitted: %s", error)
            self._names_fitted = False
            self._parts_kept, self._tested = before
        return self._straddled(self.fit_beside([], constraints))[0]

    def _straddled(self, fitted: Fit) -> tuple[Constraints, bool]:
        """As `_straddle`, or what the fit asks for where that outgrows the file; and whether it does not."""
        try:
            return self._straddle(fitted), True
        except ScoresTooLarge as error:
            LOG.info("neighbours that a token lies across are not all right: %s", error)
            return fitted.constraints, False

    def _with_names(self, constraints: Constraints) -> Constraints:
        """These and what short names ask for that lose, as far as scores allow."""
        weights_R = solve(self.prior_R, constraints, self._slack_R)
        unigram = self.unigram.with_scores(token_scores(weights_R, *self._bpe.derivations()))
        wrong = Encoded.of([], self.encoder)
        for capitals in range(NAME_LETTERS + 1):
            names = short_names(capitals)
            batch = names.select(unigram.differing(names, self.encoder.encode(names)))
            wrong += Encoded(batch, self.encoder.encode(batch))
        LOG.info("%s short names differ", f"{len(wrong.batch):,}")
        asking = fit(self._bpe, self.unigram, wrong, self._prior, constraints.copy(), NO_LIMIT, logging.DEBUG)
        soft = asking.constraints.rows
        return affordable(self.prior_R, constraints, soft, self._bpe.derivations(), ROOM, self._slack_R)

    def _straddle(self, fitted: Fit) -> Constraints:
        """Raise what neighbours ask for that lose, in rounds, until one brings little that is new."""
        for rounds in range(1, ROUNDS + 1):
            batch = Batch.of(self._straddling.lost(fitted.scores_V))
            # whole repeats would ask for scores that no cut repeat needs
            repeats = rows_with_periods(batch, range(1, LONGEST_CHARACTER + 1))
            batch = batch.select(np.setdiff1d(np.arange(len(batch)), repeats))
            known, constraints = len(fitted.constraints), fitted.constraints.copy()
            pairs = Encoded(batch, self.encoder.encode(batch))
            fitted = fit(self._bpe, self.unigram, pairs, self._prior, constraints, level=logging.DEBUG)
            added = len(fitted.constraints) - known
            LOG.info("neighbours, round %d: %s lose, %s new constraints", rounds, f"{len(batch):,}", f"{added:,}")
            if added < FEW:
                break
        return fitted.constraints
