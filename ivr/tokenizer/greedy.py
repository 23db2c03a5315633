"""Choosing which strings enter and which ids leave, by exact token counts.

The objective is the number of tokens of the corpus plus `weight` times that of the protected text, under the Unigram
model itself. Entering: lazy greedy (Minoux 1978): what a string saves only shrinks as others are chosen, so a stale
value is an upper bound and only the best few are recounted. Leaving: the same from below, what an id costs grows as
others leave. A recount re-encodes the distinct pretokens that hold the string, nothing else.
"""

import heapq
from collections.abc import Callable, Sequence

import numpy as np

from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.tokenizer.candidates import Candidates
from ivr.tokenizer.unigram_file import NEVER


def entry_score(split_score: int, num_bytes: int) -> int:
    """s(u) = S(u) + |u|^2, with S(u) the score of u's best split into the distilled tokens.

    Because (a + b)^2 > a^2 + b^2, u beats every split of itself, whatever other new tokens are in use; elsewhere it
    only wins where the best segmentation had borders at its ends, or within |u|^2 of it.
    """
    return split_score + num_bytes**2


class VocabularyState:
    """Which tokens are in use, and how many tokens each distinct pretoken takes under them.

    `weights_P`: what one token of pretoken p counts. Ids 0..V-1 are the distilled tokens, V.. the candidates.
    """

    def __init__(
        self, batch: Batch, weights_P: np.ndarray, tokens: Sequence[bytes], scores_V: np.ndarray, new: Sequence[bytes]
    ) -> None:
        self.batch, self.weights_P = batch, weights_P
        self.num_old = len(tokens)
        self.num_tokens = len(tokens) + len(new)
        old = UnigramEncoder(tokens, scores_V)
        splits = old.best_totals(Batch.of(new)) if new else np.zeros(0, np.int64)
        self.entry_scores = [entry_score(int(split), len(string)) for split, string in zip(splits, new, strict=True)]
        self._encoder = UnigramEncoder([*tokens, *new], np.concatenate([scores_V, np.full(len(new), NEVER)]))
        self.lengths_P = self._encoder.count_tokens(batch, np.arange(len(batch))).astype(np.int64)

    def total(self) -> float:
        """The objective."""
        return float(self.lengths_P @ self.weights_P)

    def segmentations(self, rows: np.ndarray | None = None) -> Segmentations:
        """Current segmentations of every distinct pretoken, or of `rows`."""
        return self._encoder.encode(self.batch if rows is None else self.batch.select(rows))

    def holders(self) -> "Holders":
        """Which distinct pretokens use which token now."""
        return Holders(self)

    def take_out(self, token: int) -> None:
        """Stop using a token, whatever it costs."""
        rows = self.holders().rows_of(token)
        self.set_score(token, NEVER, rows, self.try_score(token, NEVER, rows)[1])

    def try_score(self, token: int, score: int, rows: np.ndarray) -> tuple[float, np.ndarray]:
        """(weighted change in tokens, new lengths of `rows`) if `token` had this score; changes nothing."""
        before = self._encoder.scores_V[token]
        self._encoder.scores_V[token] = score
        lengths = self._encoder.count_tokens(self.batch, rows)
        self._encoder.scores_V[token] = before
        return float((lengths - self.lengths_P[rows]) @ self.weights_P[rows]), lengths

    def set_score(self, token: int, score: int, rows: np.ndarray, lengths: np.ndarray) -> None:
        """Give `token` this score for good; `lengths` are the new lengths of `rows`."""
        self._encoder.scores_V[token] = score
        self.lengths_P[rows] = lengths


def choose_entries(
    state: VocabularyState,
    candidates: Candidates,
    wanted: int,
    min_saved: float,
    on_choice: Callable[[int], None] = lambda done: None,
) -> list[int]:
    """Numbers of the candidates chosen, best first; fewer than `wanted` when none saves `min_saved` tokens any more."""
    heap = [(-float(saved), candidate) for candidate, saved in enumerate(candidates.saved_C.tolist())]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < wanted:
        _, candidate = heapq.heappop(heap)
        token, rows = state.num_old + candidate, candidates.rows_of(candidate)
        change, lengths = state.try_score(token, state.entry_scores[candidate], rows)
        if heap and change > heap[0][0]:
            if -change >= min_saved:
                heapq.heappush(heap, (change, candidate))
            continue
        if -change < min_saved:
            break
        state.set_score(token, state.entry_scores[candidate], rows, lengths)
        chosen.append(candidate)
        on_choice(1)
    return chosen


def choose_leavers(
    state: VocabularyState,
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
    holders = state.holders()
    heap = []
    for token, rank in zip(tokens, preference, strict=True):
        rows = holders.rows_of(token)
        cost = state.try_score(token, NEVER, rows)[0] + use_cost * holders.uses(token) if len(rows) else 0.0
        heap.append((cost, rank, token))
    heapq.heapify(heap)
    chosen: list[tuple[int, float]] = []
    while heap and len(chosen) < wanted:
        _, rank, token = heapq.heappop(heap)
        rows = holders.rows_of(token)
        change, lengths = state.try_score(token, NEVER, rows)
        cost = change + use_cost * holders.uses(token)
        if heap and (cost, rank, token) > heap[0]:
            heapq.heappush(heap, (cost, rank, token))
            continue
        if max_cost is not None and cost >= max_cost[len(chosen)]:
            break
        state.set_score(token, NEVER, rows, lengths)
        holders.update(rows)
        chosen.append((token, change))
        on_choice(1)
    return chosen


class Holders:
    """Which distinct pretokens use a token, kept current while tokens are given up."""

    def __init__(self, state: VocabularyState) -> None:
        self._state = state
        segmentations = state.segmentations()
        num_tokens = state.num_tokens
        rows = np.repeat(np.arange(len(state.batch)), segmentations.lengths())
        order = np.argsort(segmentations.ids, kind="stable")
        ids = segmentations.ids[order]
        self._rows = rows[order]
        self._starts = np.searchsorted(ids, np.arange(num_tokens + 1))
        self._uses = np.bincount(ids, state.weights_P[self._rows], minlength=num_tokens)
        self._more: dict[int, set[int]] = {}  # rows that came to use a token since

    def uses(self, token: int) -> float:
        """Weighted uses of a token when this was made."""
        return float(self._uses[token])

    def rows_of(self, token: int) -> np.ndarray:
        """The distinct pretokens that use a token; some may have ceased to."""
        rows = self._rows[self._starts[token] : self._starts[token + 1]]
        more = self._more.get(token)
        return np.union1d(rows, np.array(sorted(more), np.int64)) if more else np.unique(rows)

    def update(self, rows: np.ndarray) -> None:
        """These rows were just re-encoded: note the tokens they use now."""
        if len(rows) == 0:
            return
        segmentations = self._state.segmentations(rows)
        for row, token in zip(
            np.repeat(rows, segmentations.lengths()).tolist(), segmentations.ids.tolist(), strict=True
        ):
            self._more.setdefault(token, set()).add(row)
