"""What is fitted besides the text, and in which order it gives way where a file cannot hold the scores."""

from dataclasses import dataclass, replace

import numpy as np

from ivr.console import LOG
from ivr.tokenizer.fit.closed_subsets import slack_of_merges
from ivr.tokenizer.scores.merge_weights import Prior, ScoresTooLarge, prior_weights

EXPONENT_STEP = 0.4  # by which the prior is flattened
SMALLEST_EXPONENT = 3.0


@dataclass(frozen=True)
class Plan:
    """What a fit tries to hold, besides every string of the text.

    >>> plan = Plan(3.2, names=True, numbers=True, closed=False)
    >>> plan.giving_way(ScoresTooLarge("too large"), text_fits=True)
    Plan(exponent=3.2, names=False, numbers=True, closed=False)
    """

    exponent: float  # of the prior
    names: bool  # short names, as soft constraints
    numbers: bool  # short numbers beyond the corpus
    closed: bool  # slack, and parts that are right on every string

    def prior(self, num_merges: int) -> Prior:
        """What the weights of so many merges begin with."""
        slack_R: np.ndarray | None = slack_of_merges(num_merges) if self.closed else None
        return Prior(prior_weights(num_merges, self.exponent), slack_R)

    def giving_way(self, error: ScoresTooLarge, *, text_fits: bool) -> "Plan":
        """This plan without the first that is left of: short names, a steep prior, numbers, slack and closed parts.

        text_fits: whether scores had room for the text and the straddling tokens; if not, names are not to blame.

        Raises the error when nothing is left: what the text itself needs does not give way.
        """
        lower = max(self.exponent - EXPONENT_STEP, SMALLEST_EXPONENT)
        if text_fits and self.names:
            LOG.info("%s; trying without short names", error)
            return replace(self, names=False)
        if lower < self.exponent:
            LOG.info("%s; trying %.3g", error, lower)
            return replace(self, exponent=lower)
        if self.numbers:
            LOG.warning("short numbers beyond the corpus are not fitted: %s", error)
            return replace(self, numbers=False)
        if self.closed:
            LOG.warning("no slack, and no part is made right on every string: %s", error)
            return replace(self, closed=False)
        mend = "try a smaller --prior-exponent" if self.exponent > SMALLEST_EXPONENT else "nothing is left to give way"
        raise ScoresTooLarge(
            f"no scores that a file holds keep these merges in their order: {error}; {mend}"
        ) from error
