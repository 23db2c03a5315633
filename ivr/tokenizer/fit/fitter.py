"""Fits the weights of one BPE to text, again and again as the pieces that repeats are cut into change."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

import numpy as np

from ivr.analysis.pretokens import PretokenSplitter
from ivr.console import LOG
from ivr.encoding.batch import Batch
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.string_table import StringTable
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.fit.closed_subsets import ClosedParts
from ivr.tokenizer.fit.plan import SMALLEST_EXPONENT, Plan
from ivr.tokenizer.fit.soft_pairs import SoftPairs
from ivr.tokenizer.fit.straddling import StraddlingTokens
from ivr.tokenizer.fit.strings import LONGEST_CHARACTER, NAME_LETTERS, rows_with_periods, short_names
from ivr.tokenizer.proof.closure import Proof, is_attempted
from ivr.tokenizer.scores.budget import affordable
from ivr.tokenizer.scores.constraints import Constraints, solve
from ivr.tokenizer.scores.encoded import Encoded, Parts
from ivr.tokenizer.scores.merge_weights import (
    EXACT_IN_FILE,
    Fit,
    Prior,
    ScoresTooLarge,
    fit,
    token_scores,
)

ROUNDS = 30  # of fitting the neighbours that a token lies across
CLOSINGS = 8  # turns of fitting the text and closing what is to be right on every string beside it
FEW = 50  # new constraints: the rest is not worth another round
ROOM = EXACT_IN_FILE // 8 * 3  # for names: neighbours that a token lies across ask for more beside them
NO_LIMIT = 1 << 62
MOST_AT_ONCE = 1 << 16  # merges: of a larger vocabulary a file has no room for all pairs of neighbours
ROOM_FOR_PAIRS = EXACT_IN_FILE // 20 * 11  # what the text asks for beside them takes more
LEFT = 5  # times what the text takes, for pairs


class TextFitter:
    """`strings` are always fitted, and every token; `optional` ones as long as scores allow.

    `tested` ones are many, and next to all of them are right: those are fitted that lose, as long as scores allow.
    """

    def __init__(self, bpe: ByteLevelBpe, exponent: float, splitter: PretokenSplitter) -> None:
        self._bpe, self._splitter = bpe, splitter
        self.tokens = bpe.token_bytes()
        self.names = [name for token_id, name in enumerate(bpe.tokens) if token_id not in bpe.unmade_ids]
        self.encoder = BpeEncoder(bpe)
        self.unigram = UnigramEncoder(self.tokens, np.zeros(bpe.num_ids, np.int64))
        self._optional = self._tested = Encoded.of([], self.encoder)
        self._strings = Parts([self._optional])
        self._tested_fitted = np.zeros(0, np.int64)  # rows of the tested that are among the strings
        # a fit that is closed as a whole leaves nothing to be right beyond it
        self.plan = Plan(exponent, names=not is_attempted(bpe), numbers=False, closed=not is_attempted(bpe))
        self._parts: ClosedParts | None = None  # those that are to remain right on every string
        self._parts_kept = True
        self.text_first = False  # before what is to be right beyond it, where that contradicts a token
        self._losing: Encoded | None = None  # strings that a file had no room for under the last prior
        self._known: Constraints | None = None  # what the parts that close, and then these strings, ask for

    def take(self, strings: Batch, optional: Iterable[bytes] = (), tested: Batch | None = None) -> None:
        """The strings to fit, each once."""
        table = StringTable()
        for batch in (Batch.of([*filter(None, self.tokens)]), strings):
            table.numbers(batch.data, batch.starts[1:])
        known, others = table.strings(), Batch.of(list(optional))
        known = Batch(known.data.copy(), known.starts.copy())  # the table has room for twice as many
        new = np.flatnonzero(table.numbers(others.data, others.starts[1:]) >= len(known))
        del table
        self._strings = Parts([Encoded(known, self.encoder.encode(known))])
        others = others.select(new)
        self._optional = Encoded(others, self.encoder.encode(others))
        self.plan = replace(self.plan, numbers=len(self._optional.batch) > 0)
        tested = tested or Batch.of([])
        self._tested = Encoded(tested, self.encoder.encode(tested))
        self._tested_fitted = np.zeros(0, np.int64)

    @property
    def prior_R(self) -> np.ndarray:
        return self._prior.weights_R

    @property
    def _prior(self) -> Prior:
        return self.plan.prior(len(self._bpe.merges_R3))

    def fit(self, pieces: Iterable[bytes] = ()) -> Fit:
        """Scores for the strings and these pieces, from the steepest prior that leaves them room in a file.

        A prior under which the strings that lost last have no room by themselves is passed over.
        """
        self._losing = None
        while True:
            try:
                if self._known is None:
                    self._see_room(Constraints())
                    self._known = self._beside_text(pieces) if self.text_first else self._with_straddling(self._close())
                return self.fit_beside(pieces, self._known)
            except ScoresTooLarge as error:
                if error.is_contradiction and len(self._bpe.merges_R3) > MOST_AT_ONCE and not self.text_first:
                    LOG.info("%s; the text comes first", error)
                    self.text_first, self._known = True, None
                    continue
                before, self.plan = self.plan, self.plan.giving_way(error, text_fits=self._known is not None)
                if self.plan.numbers != before.numbers:
                    self._losing = None  # it may hold some
                self._known = None
                if not self.plan.closed:
                    self._parts = None

    def fit_beside(self, pieces: Iterable[bytes], constraints: Constraints) -> Fit:
        """The same with these constraints besides, from the prior as it is."""
        optional = [self._optional] if self.plan.numbers else []
        self._see_room(constraints)
        every = Parts([*self._strings.parts, Encoded.of(dict.fromkeys(pieces), self.encoder), *optional])
        try:
            fitted = self._fit_closed(every, constraints)
        except ScoresTooLarge as error:
            self._losing = error.losing
            raise
        self._losing = None
        while len(lost := self._lost(fitted.scores_V)):
            LOG.info("%s of %s strings between parts differ", f"{len(lost):,}", f"{len(self._tested):,}")
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

    def _see_room(self, constraints: Constraints) -> None:
        """Raises ScoresTooLarge where what lost last has no room by itself: seconds, where all strings take minutes.

        More strings can ask for less only where one of them raises a weight on which another leans.
        """
        if self._losing is not None:
            self._fit(Parts([self._losing]), constraints)

    def _lost(self, scores_V: np.ndarray) -> np.ndarray:
        """Rows of the strings only tested that differ."""
        found = self._tested.differing(self.unigram.with_scores(scores_V))
        return np.setdiff1d(found, self._tested_fitted)

    def proofs(self, fitted: Fit) -> list[Proof]:
        """Of the parts that are right on every string."""
        return [] if self._parts is None else self._parts.proofs(fitted.scores_V)

    def _fit_closed(self, every: Parts, constraints: Constraints) -> Fit:
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

    def _fit(self, every: Parts, constraints: Constraints) -> Fit:
        return fit(self._bpe, self.unigram, every, self._prior, constraints.copy())

    def _close(self) -> Constraints:
        prior = self._prior
        if prior.slack_R is None or not self._has_parts:
            return Constraints()  # all merges are closed later, or there is no room for parts
        self._parts_kept = True
        self._parts = self._parts or ClosedParts(self._bpe, prior.slack_R)
        return self._parts.close(prior.weights_R, Constraints(), self._fit_own)

    @property
    def _has_parts(self) -> bool:
        """Whether a part can be closed: its walks know merges in their own order alone."""
        return self._bpe.applied_R is None

    def _fit_own(self, constraints: Constraints) -> Constraints:
        """These and what the tokens themselves and the numbers ask for."""
        own = Parts([Encoded.of(dict.fromkeys(filter(None, self.tokens)), self.encoder)])
        return self._fit(own + self._optional if self.plan.numbers else own, constraints).constraints

    def _beside_text(self, pieces: Iterable[bytes]) -> Constraints:
        """What the strings and pieces ask for, and whatever else of a large vocabulary leaves a file's range.

        A part that is closed first can contradict what tokens with repeats ask for, such as ` ------`, and no bits are
        enough. So the text comes first here, then parts, then pairs of neighbours, each only if it loses no string.
        """
        self._parts, self._parts_kept = None, True
        fitted = self.fit_beside(pieces, Constraints())
        largest = int(fitted.scores_V.max())
        if largest * LEFT > ROOM_FOR_PAIRS and self.plan.exponent > SMALLEST_EXPONENT:
            raise ScoresTooLarge(f"scores up to {largest:.3g} leave no room for strings beyond the text")
        prior, constraints = self._prior, fitted.constraints.copy()
        if prior.slack_R is not None and self._has_parts:
            self._parts = ClosedParts(self._bpe, prior.slack_R)
            self._parts.close_again(prior.weights_R, constraints, largest)
            closed = self.fit_beside(pieces, constraints)
            if len(closed.unmended) > len(fitted.unmended):
                LOG.info("no part is made right on every string: %d strings would be lost", len(closed.unmended))
                self._parts = None
            else:
                fitted = closed
        if not self.plan.names:
            return fitted.constraints
        pairs = SoftPairs(self._bpe, self.encoder, self.unigram, self._splitter)
        try:
            beside = self.fit_beside(pieces, pairs.beside(fitted.constraints, self._prior, ROOM_FOR_PAIRS))
        except ScoresTooLarge as error:
            LOG.info("neighbours that a token lies across are not fitted: %s", error)
            return fitted.constraints
        if len(beside.unmended) > len(fitted.unmended):
            LOG.info(
                "neighbours that a token lies across are not fitted: %d strings would be lost", len(beside.unmended)
            )
            return fitted.constraints
        return beside.constraints

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
        if self.plan.names:
            before = self._parts_kept, self._tested
            try:
                with_names = self._straddle(self.fit_beside([], self._with_names(constraints)))
                if (self._parts_kept, self._tested) == before:
                    return with_names
                LOG.info("short names are not fitted: they leave no room for what matters more")
            except ScoresTooLarge as error:
                LOG.info("short names are not fitted: %s", error)
            self.plan = replace(self.plan, names=False)
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
        prior = self._prior
        weights_R = solve(prior.weights_R, constraints, prior.slack_R)
        unigram = self.unigram.with_scores(token_scores(weights_R, *self._bpe.derivations()))
        lost = []
        for capitals in range(NAME_LETTERS + 1):
            names = short_names(capitals)
            batch = names.select(unigram.differing(names, self.encoder.encode(names)))
            lost.append(Encoded(batch, self.encoder.encode(batch)))
        wrong = Parts(lost)
        LOG.info("%s short names differ", f"{len(wrong):,}")
        asking = fit(self._bpe, self.unigram, wrong, prior, constraints.copy(), NO_LIMIT, logging.DEBUG)
        soft = asking.constraints.rows
        return affordable(prior.weights_R, constraints, soft, self._bpe.derivations(), ROOM, prior.slack_R)

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
