"""Closing the fit: scores that prefer BPE's answer on every string without odd runs, or how far they can go.

`worst_case` finds strings that these scores get wrong; each is a constraint d . b >= 1 whose first difference is
positive (THEOREM.md), so the triangular solve of `merge_weights` meets it; and again, until no counterexample is left.
Then F is a proof. It need not end: the weights may outgrow float64 first, and a circle that gains can be beyond any
weights.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ivr.console import LOG, SECONDS_BETWEEN_LOG_LINES
from ivr.encoding.bpe import NO_ID, ByteLevelBpe
from ivr.errors import ConfigError
from ivr.tokenizer.proof.relaxation import NOWHERE
from ivr.tokenizer.proof.walk_graph import WalkGraph, walk_graph
from ivr.tokenizer.proof.worst_case import PairSearch, WorstPairs
from ivr.tokenizer.scores.constraints import Constraints, solve
from ivr.tokenizer.scores.merge_counts import merge_differences, segmentations
from ivr.tokenizer.scores.merge_weights import EXACT_IN_FILE, Fit, token_scores

MAX_ROUNDS = 2_000
TURNS = 4  # of closing and fitting the text again
MOST_IDS = 5_000  # a vocabulary for which it is tried without being asked: half a minute
# reasons for stopping
PROVED = "proved"
RANGE = "range"  # the weights have outgrown what a file holds exactly
CIRCLE = "circle"  # a repeated part gains, and no weight that comes first in it can stop it
TIME = "time"  # the rounds or the time allowed are over
UNTRIED = "untried"
UNHELPFUL = "text"  # what every string asks for and what the text asks for were not met together
BEYOND = "beyond"  # right for the merges in the order in which they stand, but this BPE does more than apply these
MEANING = {
    PROVED: "proved: the walk values beside this file are a proof, see THEOREM.md in the package",
    RANGE: "tested, not proved: the scores that it takes pass 2^54 / 10",
    CIRCLE: "tested, not proved: a part that repeats gains with every repetition, whatever weight comes first in it",
    TIME: "tested, not proved: counterexamples are left after the rounds allowed",
    UNTRIED: f"tested, not proved: not tried for more than {MOST_IDS:,} ids",
    UNHELPFUL: "tested, not proved: scores for every string disagree with what runs in the text ask for",
    BEYOND: "tested, not proved: a proof knows of merges in the order of the file alone, and here tokens are taken "
    "whole (ignore_merges), or a merge comes before one that makes its part",
}
STRINGS = (
    "every piece, as the pre-tokenizer leaves it when it has cut runs of three and more, "
    "in which BPE meets no odd run of a token that it merges with itself"
)


@dataclass(frozen=True)
class Universal:
    """Outcome of `close`. With `ended` = PROVED, `pairs.F` is a proof for `scores_V`."""

    ended: str
    graph: WalkGraph
    weights_R: np.ndarray
    scores_V: np.ndarray
    pairs: WorstPairs
    constraints: Constraints
    rounds: int
    seconds: float

    @property
    def proved(self) -> bool:
        return self.ended == PROVED


def close(
    bpe: ByteLevelBpe,
    prior_R: np.ndarray,
    constraints: Constraints | None = None,
    graph: WalkGraph | None = None,
    seconds: float = float("inf"),
    limit: int = EXACT_IN_FILE,
    slack_R: np.ndarray | None = None,
) -> Universal:
    """Raise weights from `prior_R` until no string without odd runs is a counterexample.

    `constraints`: rows to keep to besides; they are not changed. `slack_R`: as in `solve`.
    Stops when a score reaches `limit` or after `seconds`.
    """
    begun = time.monotonic()
    graph = graph or walk_graph(bpe)
    search = PairSearch(graph)
    starts, ranks = bpe.derivations()
    constraints = constraints.copy() if constraints else Constraints()
    said = 0.0
    for rounds in range(1, MAX_ROUNDS + 1):
        weights_R = solve(prior_R, constraints, slack_R)
        scores_V = token_scores(weights_R, starts, ranks)
        pairs = search.worst_pairs(scores_V)
        first = segmentations([found.bpe for found in pairs.counterexamples])
        second = segmentations([found.other for found in pairs.counterexamples])
        differences = merge_differences(first, second, starts, ranks)
        mendable = [not cause for cause in differences.causes()]  # the others are circles
        added = constraints.add_all(differences.select(np.flatnonzero(mendable)))
        spent = time.monotonic() - begun
        tell = spent - said >= SECONDS_BETWEEN_LOG_LINES
        said = spent if tell else said
        LOG.log(
            logging.INFO if tell else logging.DEBUG,
            "every string, round %d: %s counterexamples, %s new constraints, largest score %.3g, %.0f s",
            rounds,
            f"{len(pairs.counterexamples):,}",
            f"{added:,}",
            float(scores_V.max(initial=0)),
            spent,
        )
        ended = ""
        if not pairs.counterexamples and pairs.settled:
            ended = PROVED
        elif not added:
            ended = CIRCLE
        elif scores_V.max(initial=0) >= limit or scores_V.min(initial=0) < 0:
            ended = RANGE
        elif spent > seconds:
            ended = TIME
        if ended:
            return Universal(ended, graph, weights_R, scores_V, pairs, constraints, rounds, spent)
    return Universal(TIME, graph, weights_R, scores_V, pairs, constraints, rounds, spent)


@dataclass(frozen=True)
class Proof:
    """F by id: scores are right on every string without odd runs over an alphabet of bytes."""

    name: str
    alphabet: frozenset[int]
    F: dict[int, list[int | None]]  # tokens of one byte are left out

    def entry(self) -> dict[str, object]:
        """As the proof file has it."""
        return {"strings": self.name, "bytes": sorted(self.alphabet), "F": self.F}


@dataclass(frozen=True)
class Attempt:
    """What came of `attempt`."""

    ended: str
    rounds: int = 0
    constraints: int = 0
    proof: Proof | None = None

    def entry(self) -> dict[str, object]:
        """What the certificate says of it."""
        proved = self.proof is not None
        told = {"proved": proved, "strings": STRINGS, "others": MEANING[self.ended]}
        return {**told, "rounds": self.rounds, "constraints": self.constraints}


def is_attempted(bpe: ByteLevelBpe) -> bool:
    """Whether `attempt` tries for this vocabulary."""
    return bpe.num_ids <= MOST_IDS


def is_provable(bpe: ByteLevelBpe) -> bool:
    """Whether what a proof knows of, the merges in the order in which they stand, is all that this BPE does."""
    return not bpe.whole_ids and bpe.applied_R is None


def attempt(
    bpe: ByteLevelBpe, prior_R: np.ndarray, fitted: Fit, refit: Callable[[Constraints], Fit]
) -> tuple[Fit, Attempt]:
    """Try to make `fitted` right on every string without odd runs too; (it or what takes its place, what came of it).

    `refit`: fits the text again with these constraints besides. Bounded by the vocabulary and by rounds, not by time:
    the same inputs give the same scores.
    """
    if not is_attempted(bpe):
        LOG.info("every string: %s", MEANING[UNTRIED])
        return fitted, Attempt(UNTRIED)
    graph, constraints = walk_graph(bpe), fitted.constraints
    for _ in range(TURNS):
        result = close(bpe, prior_R, constraints, graph)
        found = Attempt(result.ended, result.rounds, len(result.constraints))
        if not result.proved:
            break
        try:
            again = refit(result.constraints)
        except ConfigError as error:
            LOG.info("every string: %s", error)
            found = Attempt(RANGE, result.rounds, len(result.constraints))
            break
        if (again.scores_V == result.scores_V).all():
            if not is_provable(bpe):
                LOG.info("every string: %s", MEANING[BEYOND])
                return again, replace(found, ended=BEYOND)
            LOG.info("every string: %s", MEANING[PROVED])
            alphabet = frozenset(np.flatnonzero(bpe.byte_ids() != NO_ID).tolist())
            proof = Proof("all bytes", alphabet, proof_by_id(graph, result.pairs.F))
            return again, replace(found, proof=proof)
        constraints = again.constraints
        found = replace(found, ended=UNHELPFUL)
    LOG.info("every string: %s", MEANING[found.ended])
    return fitted, found


def proof_by_id(graph: WalkGraph, F: np.ndarray) -> dict[int, list[int | None]]:
    """F(p, 1), ..., F(p, |p| - 1) of every token of two bytes or more that BPE returns; None where no walk leads."""
    states, values = graph.states_P.tolist(), F.tolist()
    return {
        token_id: [None if value == NOWHERE else value for value in values[states[row] : states[row + 1]]]
        for row, token_id in enumerate(graph.ids_P.tolist())
        if states[row] < states[row + 1]
    }
