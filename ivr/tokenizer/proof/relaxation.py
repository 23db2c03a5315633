"""The compiled sweeps of `worst_case`: one pass over the edges of the graph each, in integers.

P tokens of u, S states (a token of u and a place inside it), E inner edges, X crossings, Y ends of u-tokens.
"""

from typing import NamedTuple

import numpy as np

from ivr.encoding.compiler import compiled
from ivr.tokenizer.proof.merge_trees import ADJACENT, LATEST, MergeTables, border
from ivr.tokenizer.proof.walk_graph import GROUP, HIGH, LOW, MIDDLE, NO_MIDDLE, START, TAIL, TOKEN

NOWHERE = -(2**62)
# how a walk came to a state: the state before (START), v's token q, u's token p0 and the number of the middle;
# INNER for p0 where q lies within one token of u
INNER = -1


class TokensOfU(NamedTuple):
    """The P tokens that u may hold."""

    ids_P: np.ndarray
    lengths_P: np.ndarray  # bytes
    states_P: np.ndarray  # the first state of each


class InnerEdges(NamedTuple):
    """Tokens of v that lie within one token of u; those of token p: starts[p] to starts[p + 1], by first border."""

    starts: np.ndarray  # (P + 1,)
    begin_E: np.ndarray  # bytes
    end_E: np.ndarray
    token_E: np.ndarray


class Scores(NamedTuple):
    """Integer scores of tokens, and their sums over the middles."""

    tokens_V: np.ndarray
    middles_M: np.ndarray


class Crossings(NamedTuple):
    """Tokens of v that lie across a border of u (see `walk_graph`), and what of them is to be looked at."""

    table_X6: np.ndarray
    due_X: np.ndarray  # bool: wholly; others only where they lead to due rows
    next_row: np.ndarray  # (P + 2,) for every token of u the next one from it on that is due
    middle_starts: np.ndarray  # (M + 1,)
    middle_ids: np.ndarray
    trees: MergeTables


class Ends(NamedTuple):
    """Ends of u-tokens, those of group g: starts[g] to starts[g + 1], the largest gain first."""

    starts: np.ndarray
    gains_Y: np.ndarray
    ids_Y: np.ndarray
    states_Y: np.ndarray


class Walks(NamedTuple):
    """What is known of the walks to each state, and of those that end where a token of u does."""

    limit_S: np.ndarray  # H
    F_S: np.ndarray  # NOWHERE where no walk leads
    steps_S4: np.ndarray
    bad_S: np.ndarray  # the largest value >= H that came to a state
    bad_steps_S4: np.ndarray
    closed_P: np.ndarray  # the largest value >= s(p) with which a walk ended with p
    closed_steps_P4: np.ndarray


class Step(NamedTuple):
    """One token of v across a border of u."""

    token: int
    middle: int  # NO_MIDDLE, or the number of the tokens of u that lie within it
    gain: int  # its score, less the middle's
    after: int  # the token of u that follows the one it begins in


class Arrival(NamedTuple):
    """Where a step leads: to the end of a token of u (`whole`: its number), or to a state inside one."""

    whole: bool
    place: int


@compiled
def limits(scores_V, tokens, inner, limit_S, follow_S):  # type: ignore[no-untyped-def]
    """H, and the first token of the best way from each state to the end of its token."""
    for p in range(len(tokens.lengths_P)):
        n = tokens.lengths_P[p]
        best = np.full(n + 1, NOWHERE)
        best[n] = 0
        for e in range(inner.starts[p + 1] - 1, inner.starts[p] - 1, -1):  # by falling first border
            i = inner.begin_E[e]
            value = best[inner.end_E[e]] + scores_V[inner.token_E[e]]
            if i > 0 and value > best[i]:
                best[i] = value
                follow_S[tokens.states_P[p] + i - 1] = inner.token_E[e]
        for i in range(1, n):
            limit_S[tokens.states_P[p] + i - 1] = scores_V[tokens.ids_P[p]] - best[i]


@compiled
def again(scores, walks):  # type: ignore[no-untyped-def]
    """The values of the walks that `steps` describe, under new scores, into F; those that reach H go to `bad`."""
    F = walks.F_S
    path = np.empty(len(F), np.int64)
    done = F == NOWHERE
    for first in range(len(F)):
        size = 0
        state = first
        while state != START and not done[state]:
            path[size] = state
            size += 1
            done[state] = True  # a circle ends here too: its values are not used before they are known to be walks
            F[state] = NOWHERE
            state = walks.steps_S4[state, 0]
        for place in range(size - 1, -1, -1):
            state = path[place]
            before, q, p0, m = walks.steps_S4[state]
            value = scores.tokens_V[q]
            if before != START:
                if F[before] == NOWHERE:
                    continue
                value += F[before]
            if p0 != INNER:
                value -= scores.tokens_V[p0]
            if m >= 0:
                value -= scores.middles_M[m]
            if value < walks.limit_S[state]:
                F[state] = value
            elif value > walks.bad_S[state]:
                walks.bad_S[state] = value
                walks.bad_steps_S4[state] = walks.steps_S4[state]


@compiled
def within(scores_V, tokens, inner, walks):  # type: ignore[no-untyped-def]
    """Relax the inner edges."""
    for p in range(len(tokens.lengths_P)):
        first = tokens.states_P[p] - 1
        for e in range(inner.starts[p], inner.starts[p + 1]):
            if inner.end_E[e] == tokens.lengths_P[p]:
                continue
            to = first + inner.end_E[e]
            value = scores_V[inner.token_E[e]]
            before = START
            if inner.begin_E[e] > 0:
                before = first + inner.begin_E[e]
                if walks.F_S[before] == NOWHERE:
                    continue
                value += walks.F_S[before]
            if value >= walks.limit_S[to]:  # p loses to its own pieces
                if value > walks.bad_S[to]:
                    walks.bad_S[to] = value
                    walks.bad_steps_S4[to] = (before, inner.token_E[e], INNER, NO_MIDDLE)
            elif value > walks.F_S[to]:
                walks.F_S[to] = value
                walks.steps_S4[to] = (before, inner.token_E[e], INNER, NO_MIDDLE)


@compiled
def across(scores, tokens, crossings, ends, walks):  # type: ignore[no-untyped-def]
    """Relax the crossings; returns whether F changed."""
    changed = False
    ids_P, trees = tokens.ids_P, crossings.trees
    for x in range(len(crossings.table_X6)):
        g = crossings.table_X6[x, GROUP]
        stop = ends.starts[g + 1]
        y0 = ends.starts[g]
        low = crossings.table_X6[x, LOW]
        high = crossings.table_X6[x, HIGH]
        due = crossings.due_X[x]
        if not due:
            low = crossings.next_row[low]
        if y0 == stop or ends.gains_Y[y0] == NOWHERE or low >= high:
            continue
        q = crossings.table_X6[x, TOKEN]
        m = crossings.table_X6[x, MIDDLE]
        gain = scores.tokens_V[q]
        one = two = np.int64(-1)
        ready = m < 0
        if not ready:
            gain -= scores.middles_M[m]
            one = crossings.middle_ids[crossings.middle_starts[m]]
            two = crossings.middle_ids[crossings.middle_starts[m + 1] - 1]
        size = crossings.table_X6[x, TAIL]
        at = low
        while at < high:
            p = at
            at = p + 1 if due else crossings.next_row[p + 1]
            whole = tokens.lengths_P[p] == size
            state = tokens.states_P[p] + size - 1
            if ends.gains_Y[y0] + gain <= (walks.closed_P[p] if whole else walks.F_S[state]):
                continue
            if not ready:  # the best token before the middle, looked for when a crossing may matter
                while y0 < stop and border(ends.ids_Y[y0], one, LATEST, trees) != ADJACENT:
                    y0 += 1
                if y0 == stop or ends.gains_Y[y0] == NOWHERE:
                    break
                ready = True
                if ends.gains_Y[y0] + gain <= (walks.closed_P[p] if whole else walks.F_S[state]):
                    continue
            if m >= 0 and border(two, ids_P[p], LATEST, trees) != ADJACENT:
                continue
            after = ids_P[p] if m < 0 else one
            arrival = Arrival(whole, p if whole else state)
            changed |= _best_end(y0, stop, Step(q, m, gain, after), arrival, ends, trees, walks)
    return changed


@compiled
def _best_end(first, stop, step, arrival, ends, trees, walks):  # type: ignore[no-untyped-def]
    """Take the best end of a u-token, of those from `first` to `stop`, from which this step can be made.

    Returns whether F changed.
    """
    place = arrival.place
    for y in range(first, stop):
        value = ends.gains_Y[y] + step.gain
        if ends.gains_Y[y] == NOWHERE or value <= (walks.closed_P[place] if arrival.whole else walks.F_S[place]):
            break
        over = not arrival.whole and value >= walks.limit_S[place]
        if over and value <= walks.bad_S[place]:
            continue
        if border(ends.ids_Y[y], step.after, LATEST, trees) != ADJACENT:
            continue
        way = (ends.states_Y[y], step.token, ends.ids_Y[y], step.middle)
        if arrival.whole:
            walks.closed_P[place] = value
            walks.closed_steps_P4[place] = way
            break
        if over:
            walks.bad_S[place] = value
            walks.bad_steps_S4[place] = way
            continue
        walks.F_S[place] = value
        walks.steps_S4[place] = way
        return True
    return False
