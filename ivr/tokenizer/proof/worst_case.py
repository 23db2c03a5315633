"""The worst pair of segmentations, computed: do these scores prefer BPE's answer on *every* string without odd runs?

F(p, j) is the largest value of S(v so far) - S(u before p) over all walks of `walk_graph` to the state (p, j). From
there v can always finish inside p, at best with the score rest(p, j): so a walk whose value reaches

    H(p, j) = s(p) - rest(p, j)

is a *counterexample*, a string for which another segmentation scores at least as much as BPE's. Such a walk is written
down and not continued: each one found is minimal, and F stays below H everywhere, so the computation ends whether or
not there are cycles that gain. When nothing is found, F is a proof (THEOREM.md; `checker` checks it).
"""

from dataclasses import dataclass

import numpy as np

from ivr.tokenizer.proof.relaxation import (
    INNER,
    NOWHERE,
    Crossings,
    Ends,
    InnerEdges,
    Scores,
    TokensOfU,
    Walks,
    across,
    again,
    limits,
    within,
)
from ivr.tokenizer.proof.walk_graph import MIDDLE, NO_MIDDLE, START, TOKEN, WalkGraph

MAX_SWEEPS = 1_000


@dataclass(frozen=True)
class Counterexample:
    """A string for which another segmentation scores `excess` >= 0 more than BPE's; no shorter part of it is one.

    `turns`: instead, one period of strings that gain with every repetition.
    """

    bpe: tuple[int, ...]
    other: tuple[int, ...]
    excess: int
    turns: bool = False


@dataclass(frozen=True)
class WorstPairs:
    """Outcome for some scores. Without counterexamples, and settled, `F` proves that there are none."""

    F: np.ndarray  # int64 (S,): NOWHERE where no walk leads
    largest: int  # the largest S(v) - S(u) of a complete pair that is no counterexample: negative
    counterexamples: list[Counterexample]
    sweeps: int
    settled: bool  # False: given up after MAX_SWEEPS; F is no proof then


class PairSearch:
    """Computes F for scores, again and again: what a change of scores leaves as it was is not computed anew."""

    def __init__(self, graph: WalkGraph) -> None:
        self.graph = graph
        self._F = np.full(graph.num_states, NOWHERE, np.int64)
        self._steps = np.zeros((graph.num_states, 4), np.int64)
        self._scores: np.ndarray | None = None
        self._middle_scores = np.zeros(0, np.int64)
        self._gains = np.full(len(graph.end_id), NOWHERE, np.int64)
        self._wrong_P = np.zeros(len(graph.ids_P), bool)  # tokens of u where a counterexample was found

    def worst_pairs(self, scores_V: np.ndarray) -> WorstPairs:
        """F for these integer scores (below 2^60), and a counterexample for each state and token that has one.

        Time: sweeps (some tens) x crossings x tokens that share their tail, most of which one comparison rules out.
        """
        graph, states = self.graph, self.graph.num_states
        tokens = TokensOfU(graph.ids_P, graph.lengths_P, graph.states_P)
        inner = InnerEdges(graph.inner_starts, graph.inner_from, graph.inner_to, graph.inner_token)
        sums = np.concatenate([[0], np.cumsum(scores_V.astype(np.int64)[graph.middle_ids])])
        scores = Scores(scores_V.astype(np.int64), sums[graph.middle_starts[1:]] - sums[graph.middle_starts[:-1]])
        limit, follow = np.empty(states, np.int64), np.full(states, -1, np.int64)
        limits(scores.tokens_V, tokens, inner, limit, follow)
        end_scores_P = scores.tokens_V[graph.ids_P]
        walks = Walks(
            limit_S=limit,
            F_S=self._F.copy(),
            steps_S4=self._steps,
            bad_S=np.full(states, NOWHERE, np.int64),
            bad_steps_S4=np.zeros((states, 4), np.int64),
            closed_P=end_scores_P - 1,
            closed_steps_P4=np.zeros((len(graph.ids_P), 4), np.int64),
        )
        again(scores, walks)
        sweeps, settled = self._relax(scores, tokens, inner, walks)
        F, bad_S, at_end = walks.F_S, walks.bad_S, walks.closed_P - end_scores_P
        trace = _Trace(graph, walks.steps_S4, follow)
        found = [
            trace.from_state(state, walks.bad_steps_S4[state], int(bad_S[state] - limit[state]))
            for state in np.flatnonzero(bad_S > NOWHERE).tolist()
        ] + [
            trace.from_end(row, walks.closed_steps_P4[row], int(at_end[row]))
            for row in np.flatnonzero(at_end >= 0).tolist()
        ]
        self._wrong_P = at_end >= 0
        self._wrong_P[np.searchsorted(graph.states_P, np.flatnonzero(bad_S > NOWHERE), side="right") - 1] = True
        self._F, self._scores, self._middle_scores = F, scores.tokens_V, scores.middles_M
        largest = int((F - limit)[F > NOWHERE].max(initial=NOWHERE))
        return WorstPairs(F, largest, sorted(found, key=lambda one: -one.excess), sweeps, settled)

    def _relax(self, scores: Scores, tokens: TokensOfU, inner: InnerEdges, walks: Walks) -> tuple[int, bool]:
        """Sweep until nothing changes; returns (sweeps, whether nothing changed in the last one)."""
        graph, F, rows = self.graph, walks.F_S, len(self.graph.ids_P)
        some_due, next_row = self._due(scores.tokens_V, scores.middles_M, F)
        all_due = np.ones_like(some_due)

        def relax(entries: np.ndarray, due: np.ndarray) -> bool:
            entries = entries[np.lexsort((-gains[entries], graph.end_group[entries]))]
            starts = np.searchsorted(graph.end_group[entries], np.arange(graph.num_groups + 1))
            ends = Ends(starts, gains[entries], graph.end_id[entries], graph.end_state[entries])
            middles = (graph.middle_starts, graph.middle_ids)
            crossings = Crossings(graph.crossings_X6, due, next_row, *middles, graph.trees.tables())
            return bool(across(scores, tokens, crossings, ends, walks))

        changed, sweeps = True, 0
        while changed and sweeps < MAX_SWEEPS:
            sweeps += 1
            within(scores.tokens_V, tokens, inner, walks)
            gains = np.where(graph.end_state == START, 0, F[graph.end_state]) - scores.tokens_V[graph.end_id]
            gains[(graph.end_state != START) & (F[graph.end_state] == NOWHERE)] = NOWHERE
            # of crossings that have not changed themselves, only tokens that are further ahead than before matter
            changed = relax(np.flatnonzero(gains > self._gains), all_due)
            if sweeps == 1 and (some_due.any() or next_row[0] < rows):
                changed |= relax(np.arange(len(gains)), some_due)
            self._gains = gains
        return sweeps, not changed

    def _due(self, scores: np.ndarray, middle_scores: np.ndarray, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(crossings that may have gained, for every row the next one from it on whose values may have fallen)."""
        graph = self.graph
        table = graph.crossings_X6
        if self._scores is None:
            return np.zeros(len(table), bool), np.full(len(graph.ids_P) + 2, len(graph.ids_P), np.int64)
        risen = scores > self._scores
        due = risen[table[:, TOKEN]]
        with_middle = table[:, MIDDLE] != NO_MIDDLE
        less = middle_scores < self._middle_scores
        due[with_middle] |= less[table[with_middle, MIDDLE]]
        rows = self._wrong_P | (scores < self._scores)[graph.ids_P]
        rows[np.searchsorted(graph.states_P, np.flatnonzero(F < self._F), side="right") - 1] = True
        next_row = np.full(len(rows) + 2, len(rows), np.int64)
        next_row[:-2][rows] = np.flatnonzero(rows)
        return due, np.minimum.accumulate(next_row[::-1])[::-1].copy()


class _Trace:
    """Goes back along the steps to the segmentations."""

    def __init__(self, graph: WalkGraph, steps: np.ndarray, follow: np.ndarray) -> None:
        self._graph, self._steps, self._follow = graph, steps, follow

    def from_state(self, state: int, step: np.ndarray, excess: int) -> Counterexample:
        """The pair that comes to this state by `step` and then ends with the state's token, as well as it can."""
        row, j = self._place(state)
        end, tail = int(self._graph.lengths_P[row]), []
        while j < end:
            tail.append(int(self._follow[self._graph.states_P[row] + j - 1]))
            j += len(self._graph.tokens[tail[-1]])
        return self._back(row, step, tail, excess)

    def from_end(self, row: int, step: np.ndarray, excess: int) -> Counterexample:
        """The pair whose last step ends where u's token number `row` ends."""
        return self._back(row, step, [], excess)

    def _place(self, state: int) -> tuple[int, int]:
        row = int(np.searchsorted(self._graph.states_P, state, side="right")) - 1
        return row, state - int(self._graph.states_P[row]) + 1

    def _back(self, row: int, step: np.ndarray, tail: list[int], excess: int) -> Counterexample:
        graph = self._graph
        bpe, other = [int(graph.ids_P[row])], tail[::-1]  # both backwards
        passed: dict[int, tuple[int, int]] = {}
        while True:
            before, token, p0, middle = step.tolist()
            other.append(token)
            if middle != NO_MIDDLE:
                bpe += graph.middle_ids[graph.middle_starts[middle] : graph.middle_starts[middle + 1]][::-1].tolist()
            if p0 != INNER:
                bpe.append(p0)
            if before == START:
                return Counterexample(tuple(bpe[::-1]), tuple(other[::-1]), excess)
            if before in passed:  # steps lead in a circle only when each turn gains
                at_bpe, at_other = passed[before]
                return Counterexample(tuple(bpe[at_bpe:][::-1]), tuple(other[at_other:][::-1]), excess, turns=True)
            passed[before] = len(bpe), len(other)
            step = self._steps[before]
