"""Which superwords a text is split into while they come and go: longest match from the left, as the pattern takes them.

Only the parts of a stream that some candidate covers are kept, each distinct one once, with how often it occurs. A
candidate that comes or goes changes the splitting from one of its places to where old and new meet again.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ivr.encoding.compiler import compiled
from ivr.encoding.string_table import StringTable
from ivr.tokenizer.superwords.ngrams import SuperwordTrie
from ivr.tokenizer.superwords.stream import PretokenStream


@compiled
def _longest(at, candidates, active):  # type: ignore[no-untyped-def]
    """Pretokens that the longest superword in use takes here; 1 where there is none."""
    for place in range(candidates.shape[1] - 1, -1, -1):
        number = candidates[at, place]
        if number >= 0 and active[number]:
            return place + 2
    return 1


class Splitting(NamedTuple):
    """T positions of segments, S superwords, and how the text is split now."""

    candidates_TN: np.ndarray
    rows_T: np.ndarray
    weights_T: np.ndarray  # what one token here counts in the objective, float64
    active_S: np.ndarray  # bool: in use
    taken_T: np.ndarray  # int8: pretokens of the piece that begins here, 0 inside one


@compiled
def _toggle(number, on, places, splitting, keep, lengths_P, alone_P):  # type: ignore[no-untyped-def]
    """Weighted change in tokens when superword `number` comes into use (or goes); with `keep` it is carried out.

    `alone_P`: weighted pieces of one pretoken.
    """
    candidates, rows, weights, active, taken = splitting
    active[number] = on
    change = 0.0
    done = 0
    for i in places:
        if i < done or taken[i] == 0 or _longest(i, candidates, active) == taken[i]:
            continue
        new, old = i, i
        while new == i or new != old:
            if new <= old:
                step = _longest(new, candidates, active)
                change += weights[new] * (lengths_P[rows[new]] if step == 1 else 1)
                new += step
            else:
                step = taken[old]
                change -= weights[old] * (lengths_P[rows[old]] if step == 1 else 1)
                if keep and step == 1:
                    alone_P[rows[old]] -= weights[old]
                old += step
        done = new
        if keep:
            at = i
            while at < done:
                step = _longest(at, candidates, active)
                taken[at] = step
                for inner in range(at + 1, at + step):
                    taken[inner] = 0
                if step == 1:
                    alone_P[rows[at]] += weights[at]
                at += step
    if not keep:
        active[number] = not on
    return change


@compiled
def _count(splitting, weights, uses_S, covered_P):  # type: ignore[no-untyped-def]
    """Uses of every superword, and the occurrences of every pretoken that lie in one."""
    candidates, rows = splitting.candidates_TN, splitting.rows_T
    for at in range(len(rows)):
        size = splitting.taken_T[at]
        if size > 1:
            uses_S[candidates[at, size - 2]] += weights[at]
            for inner in range(at, at + size):
                covered_P[rows[inner]] += weights[at]


@dataclass(frozen=True)
class Segments:
    """The distinct parts of streams that candidates cover, one behind another: T positions."""

    rows_T: np.ndarray  # int32
    candidates_TN: np.ndarray  # int32, as `SuperwordTrie.lookup`
    domain_T: np.ndarray  # how often the part that holds the position occurs in the domain, int64
    protected_T: np.ndarray

    def occurrences(self, weights_T: np.ndarray, num_superwords: int) -> np.ndarray:
        """How often each superword stands there, one inside another counted too, int64; `weights_T`: of positions."""
        at, place = np.nonzero(self.candidates_TN >= 0)
        found = np.bincount(self.candidates_TN[at, place], weights_T[at], num_superwords)
        return found.astype(np.int64)

    @classmethod
    def of(cls, domain: PretokenStream, protected: PretokenStream, trie: SuperwordTrie) -> "Segments":
        """What the superwords of `trie` cover in the two streams."""
        table = StringTable()
        parts = []
        numbers, new_rows, new_candidates = [], [], []
        for stream in (domain, protected):
            found = trie.lookup(stream.rows_T, stream.joined_T)
            begins, ends = _covered(found)
            lengths = ends - begins
            inside = _ranges(begins, lengths)
            known = len(table)
            rows = np.ascontiguousarray(stream.rows_T[inside])
            part = table.numbers(rows.view(np.uint8), 4 * np.cumsum(lengths))
            numbers.append(part)
            # new ones are numbered in the order in which they are met: the first of each
            _, first = np.unique(part, return_index=True)
            first = first[part[first] >= known]
            inside = _ranges(begins[first], lengths[first])
            new_rows.append(stream.rows_T[inside])
            new_candidates.append(found[inside])
            parts.append(lengths[first])
        lengths = np.concatenate(parts)
        domain_T, protected_T = (np.repeat(np.bincount(part, minlength=len(table)), lengths) for part in numbers)
        return cls(np.concatenate(new_rows), np.concatenate(new_candidates), domain_T, protected_T)


def _covered(candidates_TN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(begins, ends) of the longest parts in which candidates overlap or stand in one another, int64."""
    links = np.zeros(len(candidates_TN) + 1, np.int64)  # does a candidate hold both t and t + 1?
    for place in range(candidates_TN.shape[1]):
        at = np.flatnonzero(candidates_TN[:, place] >= 0)
        links[at] += 1
        links[at + place + 1] -= 1
    linked = np.concatenate([[False], np.cumsum(links) > 0])
    edges = np.diff(linked.astype(np.int8))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) + 1


def _ranges(begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """All positions of these parts, one part behind another, int64."""
    total = int(lengths.sum())
    offsets = np.cumsum(lengths) - lengths
    return np.arange(total) - np.repeat(offsets - begins, lengths)


class SuperwordParse:
    """The splitting of all segments under the superwords in use; none at first."""

    def __init__(self, segments: Segments, num_superwords: int, weights_T: np.ndarray) -> None:
        """`weights_T`: what one token at each position counts in the objective."""
        self.segments = segments
        self._splitting = Splitting(
            candidates_TN=segments.candidates_TN,
            rows_T=segments.rows_T,
            weights_T=weights_T.astype(np.float64),
            active_S=np.zeros(num_superwords, np.bool_),
            taken_T=np.ones(len(segments.rows_T), np.int8),
        )
        at, place = np.nonzero(segments.candidates_TN >= 0)
        numbers = segments.candidates_TN[at, place]
        order = np.argsort(numbers, kind="stable")
        self._places = at[order]
        self._starts = np.searchsorted(numbers[order], np.arange(num_superwords + 1))

    def is_used(self, number: int) -> bool:
        return bool(self._splitting.active_S[number])

    def change(self, number: int, on: bool, lengths_P: np.ndarray) -> float:
        """Weighted change in tokens if a superword came into use, or went; changes nothing."""
        return self._do(number, on, False, lengths_P, np.zeros(0))

    def switch(self, number: int, on: bool, lengths_P: np.ndarray, alone_P: np.ndarray) -> float:
        """Use a superword, or not any more; `alone_P` (weighted pieces of one pretoken) follows. The change."""
        return self._do(number, on, True, lengths_P, alone_P)

    def _do(self, number: int, on: bool, keep: bool, lengths_P: np.ndarray, alone_P: np.ndarray) -> float:
        assert self._splitting.active_S[number] != on
        places = self._places[self._starts[number] : self._starts[number + 1]]
        return float(_toggle(number, on, places, self._splitting, keep, lengths_P, alone_P))

    def counts(self, weights_T: np.ndarray, num_pretokens: int) -> tuple[np.ndarray, np.ndarray]:
        """(uses of every superword, occurrences of every pretoken inside one), int64; `weights_T`: of positions."""
        uses_S, covered_P = np.zeros(len(self._splitting.active_S), np.int64), np.zeros(num_pretokens, np.int64)
        _count(self._splitting, weights_T, uses_S, covered_P)
        return uses_S, covered_P
