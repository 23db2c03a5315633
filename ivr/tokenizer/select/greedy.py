"""Choosing which strings enter and which ids leave, by exact token counts.

The objective is the number of tokens of the corpus plus `weight` times that of the protected text, under the Unigram
model itself. Entering: lazy greedy (Minoux 1978): what a string saves only shrinks as others are chosen, so a stale
value is an upper bound and only the best few are recounted. Leaving: the same from below, what an id costs grows as
others leave.
"""

import heapq
from collections.abc import Callable, Sequence

import numpy as np

from ivr.tokenizer.select.joint_state import JointState
from ivr.tokenizer.select.vocabulary_state import VocabularyState

DOUBT = 0.3  # standard errors that are taken off a saving when candidates are compared


def shares_to_trust(documents_C: np.ndarray) -> np.ndarray:
    """What part of its saving a candidate that so many documents hold will likely have on other text, float (C,).

    How often a string seen in n documents occurs in others is known to about one part in the square root of n. Of many
    alike those are chosen that chance has favoured, and rare sequences of words are many.

    >>> shares_to_trust(np.array([1, 9, 900])).round(2).tolist()
    [0.7, 0.9, 0.99]
    """
    return 1 - DOUBT / np.sqrt(np.maximum(documents_C, 1))


class Additions:
    """The candidates in use, and what is known of what the others would save."""

    def __init__(
        self, state: VocabularyState | JointState, bounds_C: np.ndarray, later_C: np.ndarray, trust_C: np.ndarray
    ) -> None:
        """`bounds_C`: at most so many weighted tokens each candidate saves while no other is in use.

        `later_C`: candidates that do not enter before `admit_all`. `trust_C`: what part of a saving counts when
        candidates are compared, because other text has it, too.
        """
        self.state = state
        self.chosen: set[int] = set()  # ids
        self._all_bounds_C = bounds_C.astype(np.float64)
        self._first_bounds_C = np.where(later_C, 0.0, self._all_bounds_C)
        self._bounds_C = self._first_bounds_C.copy()
        self._trust_C = trust_C

    def admit_all(self) -> None:
        """From now on every candidate may enter."""
        self._first_bounds_C = self._all_bounds_C
        self._bounds_C = self._first_bounds_C.copy()

    def add(self, wanted: int, min_saved: float, on_choice: Callable[[int], None] = lambda done: None) -> int:
        """Take the best candidates until `wanted` are in use or none saves `min_saved` tokens; returns how many."""
        state, first = self.state, self.state.num_old
        heap = [
            (-bound * trust, place)
            for place, (bound, trust) in enumerate(zip(self._bounds_C.tolist(), self._trust_C.tolist(), strict=True))
            if bound >= min_saved and bound > 0 and first + place not in self.chosen
        ]
        heapq.heapify(heap)
        added = 0
        while heap and len(self.chosen) < wanted:
            _, place = heapq.heappop(heap)
            change, score = state.enter_best(first + place)
            self._bounds_C[place] = -change
            if -change < min_saved:
                continue
            value = change * float(self._trust_C[place])
            if heap and value > heap[0][0]:
                heapq.heappush(heap, (value, place))
                continue
            state.enter(first + place, score)
            self.chosen.add(first + place)
            added += 1
            on_choice(1)
        return added

    def prune(self, wanted: int, min_saved: float) -> int:
        """Drop those worth least, down to `wanted`, then those that do not save `min_saved`; returns how many."""
        dropped = self._drop(self._trust_C, lambda _: len(self.chosen) > wanted)
        dropped += self._drop(np.ones(len(self._trust_C)), lambda cost: cost < min_saved)
        # whatever shares a pretoken with one of them may save more again
        touched_C = self.state.candidates_in([self.state.rows_of(token) for token in dropped])
        self._bounds_C[touched_C] = self._first_bounds_C[touched_C]
        return len(dropped)

    def _drop(self, trust_C: np.ndarray, goes: Callable[[float], bool]) -> list[int]:
        """Drop the one worth least (so much of its cost) as long as it `goes`; returns those dropped."""

        def worth(token: int) -> float:
            return self.state.eviction_cost(token) * float(trust_C[token - self.state.num_old])

        heap = [(worth(token), token) for token in sorted(self.chosen)]
        heapq.heapify(heap)
        dropped: list[int] = []
        while heap:
            _, token = heapq.heappop(heap)
            value = worth(token)
            if heap and (value, token) > heap[0]:
                heapq.heappush(heap, (value, token))
                continue
            if not goes(value):
                break
            self.state.leave(token)
            self.chosen.remove(token)
            dropped.append(token)
        return dropped

    def fill(self, wanted: int, min_saved: float, on_choice: Callable[[int], None] = lambda done: None) -> int:
        """Take further strings for words that were not seen, until `wanted` are in use; returns how many.

        The words that were seen stand for them: additions that live in one distinct pretoken at most go for a while,
        strings enter by what they save in their place, and then those come back.
        """
        state = self.state
        own = sorted(token for token in self.chosen if len(state.rows_of(token)) <= 1)
        for token in own:
            state.leave(token)
        self.chosen.difference_update(own)
        self._bounds_C = self._first_bounds_C.copy()
        self._bounds_C[[token - state.num_old for token in own]] = 0
        added = self.add(wanted - len(own), min_saved, on_choice)
        for token in own:
            change, score = state.enter_best(token)
            if change <= 0:
                state.enter(token, score)
                self.chosen.add(token)
        self.prune(wanted, 0.0)
        return added


def choose_evictions(
    state: VocabularyState | JointState,
    tokens: Sequence[int],
    preference: Sequence[float],
    wanted: int,
    max_cost: Sequence[float] | None = None,
    use_cost: float = 0.0,
    on_choice: Callable[[int], None] = lambda done: None,
) -> list[tuple[int, float]]:
    """(token, weighted tokens lost) of those given up, cheapest first; among equals the smallest preference first.

    A token costs the tokens its text then needs, and `use_cost` for each of its uses: its row has learnt from them.
    `max_cost[i]`: the i-th token given up must cost less than this; the choice ends when the cheapest does not.
    """
    uses = use_cost * state.uses()
    heap = [
        (state.eviction_cost(token) + float(uses[token]), rank, token)
        for token, rank in zip(tokens, preference, strict=True)
    ]
    heapq.heapify(heap)
    chosen: list[tuple[int, float]] = []
    while heap and len(chosen) < wanted:
        _, rank, token = heapq.heappop(heap)
        change = state.eviction_cost(token)
        cost = change + float(uses[token])
        if heap and (cost, rank, token) > heap[0]:
            heapq.heappush(heap, (cost, rank, token))
            continue
        if max_cost is not None and cost >= max_cost[len(chosen)]:
            break
        state.leave(token)
        chosen.append((token, change))
        on_choice(1)
    return chosen
