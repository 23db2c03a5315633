"""The compiled sweeps of `worst_case`: one pass over the edges of the graph each, in integers."""

import numpy as np

from ivr.encoding.compiler import compiled
from ivr.tokenizer.proof.merge_trees import ADJACENT, LATEST, border
from ivr.tokenizer.proof.walk_graph import GROUP, HIGH, LOW, MIDDLE, NO_MIDDLE, START, TAIL, TOKEN

NOWHERE = -(2**62)
# how a walk came to a state: the state before (START), v's token q, u's token p0 and the number of the middle;
# INNER for p0 where q lies within one token of u
INNER = -1


@compiled
def limits(scores, ids, lengths, states, starts, begin, end, token, limit, follow):  # type: ignore[no-untyped-def]
    """H, and the first token of the best way from each state to the end of its token."""
    for p in range(len(lengths)):
        n = lengths[p]
        best = np.full(n + 1, NOWHERE)
        best[n] = 0
        for e in range(starts[p + 1] - 1, starts[p] - 1, -1):  # by falling first border
            i = begin[e]
            value = best[end[e]] + scores[token[e]]
            if i > 0 and value > best[i]:
                best[i] = value
                follow[states[p] + i - 1] = token[e]
        for i in range(1, n):
            limit[states[p] + i - 1] = scores[ids[p]] - best[i]


@compiled
def again(scores, middle_scores, limit, F, steps, bad, bad_steps):  # type: ignore[no-untyped-def]
    """The values of the walks that `steps` describe, under new scores, into F; those that reach H go to `bad`."""
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
            state = steps[state, 0]
        for place in range(size - 1, -1, -1):
            state = path[place]
            before, q, p0, m = steps[state]
            value = scores[q]
            if before != START:
                if F[before] == NOWHERE:
                    continue
                value += F[before]
            if p0 != INNER:
                value -= scores[p0]
            if m >= 0:
                value -= middle_scores[m]
            if value < limit[state]:
                F[state] = value
            elif value > bad[state]:
                bad[state] = value
                bad_steps[state] = steps[state]


@compiled
def within(scores, lengths, states, starts, begin, end, token, limit, F, steps, bad, bad_steps):  # type: ignore[no-untyped-def]
    """Relax the inner edges."""
    for p in range(len(lengths)):
        first = states[p] - 1
        for e in range(starts[p], starts[p + 1]):
            if end[e] == lengths[p]:
                continue
            to = first + end[e]
            value = scores[token[e]]
            before = START
            if begin[e] > 0:
                before = first + begin[e]
                if F[before] == NOWHERE:
                    continue
                value += F[before]
            if value >= limit[to]:  # p loses to its own pieces
                if value > bad[to]:
                    bad[to] = value
                    bad_steps[to] = (before, token[e], INNER, NO_MIDDLE)
            elif value > F[to]:
                F[to] = value
                steps[to] = (before, token[e], INNER, NO_MIDDLE)


@compiled
def across(  # type: ignore[no-untyped-def]
    scores, ids, lengths, states, crossings, starts, gains, end_id, end_state, middle_starts, middle_ids, middle_scores,
    left, right, rank, keys, values, due, next_row, limit, F, steps, bad, bad_steps, closed, closed_steps,
):  # fmt: skip
    """Relax crossings; returns whether F changed. Those that are `due` wholly, others only where they lead to due rows.

    `bad`: the largest value >= H that came to a state; `closed`: the largest >= s(p) with which a walk ended with p.
    """
    changed = False
    for x in range(len(crossings)):
        g = crossings[x, GROUP]
        stop = starts[g + 1]
        y0 = starts[g]
        low = crossings[x, LOW]
        high = crossings[x, HIGH]
        if not due[x]:
            low = next_row[low]
        if y0 == stop or gains[y0] == NOWHERE or low >= high:
            continue
        q = crossings[x, TOKEN]
        m = crossings[x, MIDDLE]
        gain = scores[q]
        one = two = np.int64(-1)
        ready = m < 0
        if not ready:
            gain -= middle_scores[m]
            one = middle_ids[middle_starts[m]]
            two = middle_ids[middle_starts[m + 1] - 1]
        size = crossings[x, TAIL]
        at = low
        while at < high:
            p = at
            at = p + 1 if due[x] else next_row[p + 1]
            whole = lengths[p] == size
            state = states[p] + size - 1
            if gains[y0] + gain <= (closed[p] if whole else F[state]):
                continue
            if not ready:  # the best token before the middle, looked for when a crossing may matter
                while y0 < stop and border(end_id[y0], one, LATEST, left, right, rank, keys, values) != ADJACENT:
                    y0 += 1
                if y0 == stop or gains[y0] == NOWHERE:
                    break
                ready = True
                if gains[y0] + gain <= (closed[p] if whole else F[state]):
                    continue
            if m >= 0 and border(two, ids[p], LATEST, left, right, rank, keys, values) != ADJACENT:
                continue
            for y in range(y0, stop):
                value = gains[y] + gain
                if gains[y] == NOWHERE or value <= (closed[p] if whole else F[state]):
                    break
                over = not whole and value >= limit[state]
                if over and value <= bad[state]:
                    continue
                after = ids[p] if m < 0 else one
                if border(end_id[y], after, LATEST, left, right, rank, keys, values) != ADJACENT:
                    continue
                if whole:
                    closed[p] = value
                    closed_steps[p] = (end_state[y], q, end_id[y], m)
                    break
                if over:
                    bad[state] = value
                    bad_steps[state] = (end_state[y], q, end_id[y], m)
                    continue
                F[state] = value
                steps[state] = (end_state[y], q, end_id[y], m)
                changed = True
                break
    return changed
