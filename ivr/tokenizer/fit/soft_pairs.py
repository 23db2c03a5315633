"""Neighbours that a token lies across, of a vocabulary so large that a file has no room for all of them.

Of GPT-2's 50,000 merges all can be met; of 151,000 a million pairs lose, and what they ask for takes the scores from 46
to 56 bits. So each is a soft constraint here (`scores.capped`), and only pairs that are one pretoken ask for anything:
what the pre-tokenizer splits the model never sees at once.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ivr.analysis.pretokens import PretokenSplitter
from ivr.console import LOG
from ivr.encoding.batch import Batch
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.fit.straddling import StraddlingTokens
from ivr.tokenizer.fit.strings import LONGEST_CHARACTER, rows_with_periods
from ivr.tokenizer.scores.capped import within_bound
from ivr.tokenizer.scores.constraints import Constraints, solve
from ivr.tokenizer.scores.merge_counts import merge_differences
from ivr.tokenizer.scores.merge_weights import Prior, token_scores

ROUNDS = 2  # what the constraints of one round make lose is found in the next
PARTS_OF_CHARACTERS = frozenset(map(chr, range(0xDC80, 0xDD00)))  # as "surrogateescape" decodes them


@dataclass(frozen=True)
class SoftPairs:
    """The pairs of one BPE, and what they need to be encoded and split."""

    bpe: ByteLevelBpe
    encoder: BpeEncoder
    unigram: UnigramEncoder
    splitter: PretokenSplitter

    def beside(self, constraints: Constraints, prior: Prior, limit: int) -> Constraints:
        """These constraints and those of pairs that leave every score at `limit` at most."""
        straddling = StraddlingTokens(self.bpe, self.encoder, self.unigram)
        soft, derivations = Constraints(), self.bpe.derivations()
        result = constraints
        slack_R = np.zeros(len(prior.weights_R)) if prior.slack_R is None else prior.slack_R
        for rounds in range(1, ROUNDS + 1):
            scores_V = token_scores(solve(prior.weights_R, result.copy(), slack_R), *derivations)
            pairs = self._losing(Batch.of(straddling.lost(scores_V)), scores_V)
            expected, answers = self.encoder.encode(pairs), self.unigram.with_scores(scores_V).encode(pairs)
            differences = merge_differences(expected, answers, *derivations)
            causes = differences.causes()
            added = soft.add_all(differences.select(np.flatnonzero([not cause for cause in causes])))
            LOG.info("neighbours, round %d: %s lose, %s constraints", rounds, f"{len(pairs):,}", f"{added:,}")
            if not added:
                break
            result = within_bound(prior.weights_R, constraints, soft.rows, derivations, limit, slack_R)
        return result

    def _losing(self, batch: Batch, scores_V: np.ndarray) -> Batch:
        """Those that are one pretoken, hold no repeat and are encoded unlike BPE under these scores."""
        repeats = rows_with_periods(batch, range(1, LONGEST_CHARACTER + 1))
        batch = batch.select(np.setdiff1d(np.arange(len(batch)), repeats))
        unigram = self.unigram.with_scores(scores_V)
        batch = batch.select(unigram.differing(batch, self.encoder.encode(batch)))
        return batch.select(np.flatnonzero(one_pretoken(batch, self.splitter)))


def one_pretoken(batch: Batch, splitter: PretokenSplitter) -> np.ndarray:
    """Whether the pre-tokenizer leaves each string whole, bool (N,); what begins or ends within a character may be."""
    data = batch.data.tobytes()
    texts = [data[begin:end].decode("utf-8", "surrogateescape") for begin, end in pairwise(batch.starts.tolist())]
    whole = [row for row, text in enumerate(texts) if text.isascii() or PARTS_OF_CHARACTERS.isdisjoint(text)]
    found = np.ones(len(texts), bool)
    pieces = splitter.lists([texts[row] for row in whole])
    found[whole] = [of == [texts[row]] for row, of in zip(whole, pieces, strict=True)]
    return found
