"""Closing the fit: scores that prefer BPE's answer on every string without odd runs, or how far they can go.

`worst_pair` finds strings that these scores get wrong; each is a constraint d . b >= 1 whose first difference is
positive (THEOREM.md), so the triangular solve of `bonuses` meets it; and again, until no counterexample is left. Then F
is a proof. It need not end: the bonuses may outgrow float64 first, and a circle that gains can be beyond any bonuses.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ivr.console import LOG
from ivr.encoding.bpe import ByteLevelBpe
from ivr.tokenizer.bonuses import EXACT_IN_FILE, Constraints, cause_of, merge_difference, solve, token_scores
from ivr.tokenizer.walk_graph import WalkGraph, walk_graph
from ivr.tokenizer.worst_pair import NOWHERE, Counterexample, PairSearch, WorstPairs

MAX_ROUNDS = 200
# reasons for stopping
PROVED = "proved"
RANGE = "range"  # the bonuses have outgrown what a file holds exactly
CIRCLE = "circle"  # a repeated part gains, and no bonus that comes first in it can stop it
TIME = "time"  # the time allowed is over


@dataclass(frozen=True)
class Universal:
    """Outcome of `close`. With `ended` = PROVED, `pairs.F` is a proof for `scores_V`."""

    ended: str
    graph: WalkGraph
    bonuses_R: np.ndarray
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
) -> Universal:
    """Raise bonuses from `prior_R` until no string without odd runs is a counterexample.

    `constraints`: rows to keep to besides; they are not changed. Stops when a score reaches `limit` or after `seconds`.
    """
    begun = time.monotonic()
    graph = graph or walk_graph(bpe)
    search = PairSearch(graph)
    starts, ranks = bpe.derivations()
    constraints = constraints.copy() if constraints else Constraints()
    for rounds in range(1, MAX_ROUNDS + 1):
        bonuses_R = solve(prior_R, constraints)
        scores_V = token_scores(bonuses_R, starts, ranks)
        pairs = search.worst_pairs(scores_V)
        added, hopeless = 0, 0
        for row in differences(pairs.counterexamples, starts, ranks):
            if cause_of(row):
                hopeless += 1
            else:
                added += constraints.add(row)
        spent = time.monotonic() - begun
        LOG.info(
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
            return Universal(ended, graph, bonuses_R, scores_V, pairs, constraints, rounds, spent)
    return Universal(TIME, graph, bonuses_R, scores_V, pairs, constraints, rounds, spent)


def differences(
    counterexamples: list[Counterexample], starts: np.ndarray, ranks: np.ndarray
) -> Iterator[dict[int, int]]:
    """n(BPE) - n(other) of each, as {rank: difference}."""
    for found in counterexamples:
        yield merge_difference(np.array(found.bpe), np.array(found.other), starts, ranks)


def proof_of(
    bpe: ByteLevelBpe, result: Universal
) -> tuple[list[tuple[bytes, bytes]], dict[bytes, int], dict[bytes, list[int | None]]]:
    """(merges, scores by token, F by token) as `proof_check.check_proof` takes them."""
    tokens, graph, F = bpe.token_bytes(), result.graph, result.pairs.F.tolist()
    merges = [(tokens[left], tokens[right]) for left, right, _ in bpe.merges_R3.tolist()]
    scores = {token: score for token, score in zip(tokens, result.scores_V.tolist(), strict=True) if token}
    states = graph.states_P.tolist()
    proof = {
        tokens[token_id]: [None if value == NOWHERE else value for value in F[states[row] : states[row + 1]]]
        for row, token_id in enumerate(graph.ids_P.tolist())
    }
    return merges, scores, proof
