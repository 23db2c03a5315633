"""Fits the bonuses of one BPE to text, again and again as the pieces that runs are cut into change."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ivr.console import LOG
from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.bonuses import Fit, ScoresTooLarge, fit, prior_bonuses
from ivr.tokenizer.closed_parts import closed_parts
from ivr.tokenizer.constraints import Constraints
from ivr.tokenizer.universal import is_attempted

EXPONENT_STEP = 0.4  # by which the prior is flattened where scores outgrow the file
SMALLEST_EXPONENT = 3.0


@dataclass(frozen=True)
class _Encoded:
    """Strings and BPE's answers."""

    batch: Batch
    truth: Segmentations

    @classmethod
    def of(cls, strings: Iterable[bytes], encoder: BpeEncoder) -> "_Encoded":
        batch = Batch.of(list(strings))
        return cls(batch, encoder.encode(batch))

    def __add__(self, other: "_Encoded") -> "_Encoded":
        return _Encoded(
            Batch(*_one_after_another(self.batch.data, self.batch.starts, other.batch.data, other.batch.starts)),
            Segmentations(*_one_after_another(self.truth.ids, self.truth.starts, other.truth.ids, other.truth.starts)),
        )


def _one_after_another(
    data: np.ndarray, starts: np.ndarray, more: np.ndarray, more_starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([data, more]), np.concatenate([starts, starts[-1] + more_starts[1:]])


class TextFitter:
    """`strings` are always fitted, and every token; `optional` ones as long as scores allow."""

    def __init__(self, bpe: ByteLevelBpe, exponent: float) -> None:
        self._bpe, self.exponent = bpe, exponent
        self.tokens = bpe.token_bytes()
        self.names = [name for token_id, name in enumerate(bpe.tokens) if token_id not in bpe.special_ids]
        self.encoder = BpeEncoder(bpe)
        self.unigram = UnigramEncoder(self.tokens, np.zeros(bpe.num_ids, np.int64))
        self._strings = self._optional = _Encoded.of([], self.encoder)
        self.optional_fitted = True
        self._known: Constraints | None = None  # what the parts that close, and then these strings, ask for

    def take(self, strings: Iterable[bytes], optional: Iterable[bytes] = ()) -> None:
        """The strings to fit, each once."""
        known = dict.fromkeys([*filter(None, self.tokens), *strings])
        self._strings = _Encoded.of(known, self.encoder)
        self._optional = _Encoded.of((string for string in optional if string not in known), self.encoder)

    @property
    def prior_R(self) -> np.ndarray:
        return prior_bonuses(len(self._bpe.merges_R3), self.exponent)

    def fit(self, pieces: Iterable[bytes] = ()) -> Fit:
        """Scores for the strings and these pieces, from the steepest prior that leaves them room in a file."""
        while True:
            try:
                if self._known is None:
                    self._known = self.fit_beside([], self._close()).constraints
                return self.fit_beside(pieces, self._known)
            except ScoresTooLarge as error:
                lower = max(self.exponent - EXPONENT_STEP, SMALLEST_EXPONENT)
                self._known = None
                if lower < self.exponent:
                    LOG.info("%s; trying %.3g", error, lower)
                    self.exponent = lower
                elif self.optional_fitted and len(self._optional.batch):
                    LOG.warning("short numbers beyond the corpus are not fitted: %s", error)
                    self.optional_fitted = False
                else:
                    raise

    def fit_beside(self, pieces: Iterable[bytes], constraints: Constraints) -> Fit:
        """The same with these constraints besides, from the prior as it is."""
        every = self._strings + _Encoded.of(dict.fromkeys(pieces), self.encoder)
        if self.optional_fitted:
            every += self._optional
        return fit(self._bpe, self.unigram, every.batch, every.truth, self.exponent, constraints.copy())

    def _close(self) -> Constraints:
        if is_attempted(self._bpe):
            return Constraints()  # all merges are closed later
        own = _Encoded.of(dict.fromkeys(filter(None, self.tokens)), self.encoder)
        if self.optional_fitted:
            own += self._optional

        def refit(constraints: Constraints) -> Constraints:
            return fit(self._bpe, self.unigram, own.batch, own.truth, self.exponent, constraints.copy()).constraints

        return closed_parts(self._bpe, self.prior_R, refit)
