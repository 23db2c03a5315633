"""Sequences of pretokens that may become superwords: counted level by level, and found again in any stream.

A sequence is frequent only if its beginning and its end are, so each level counts no more than what the one before
left: time and memory grow with the stream, not with the number of distinct sequences.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import regex

from ivr.encoding.batch import Batch
from ivr.tokenizer.superwords.stream import PretokenStream


@dataclass(frozen=True)
class SuperwordRules:
    """What a superword must be."""

    max_words: int  # pretokens
    min_count: int
    min_documents: int  # documents that hold the whole string
    max_bytes: int
    exclude: str  # a pattern searched in its text; empty: nothing is excluded


@dataclass(frozen=True)
class SuperwordCandidates:
    """S sequences of pretokens, those that may save most first."""

    rows: list[tuple[int, ...]]  # numbers of their pretokens
    strings: list[bytes]
    counts_S: np.ndarray  # occurrences in the stream, one inside another counted too
    bounds_S: np.ndarray  # tokens saved if each were the only one, at most
    documents_S: np.ndarray  # that hold it


@dataclass(frozen=True)
class _Level:
    """The frequent sequences of n pretokens."""

    size: int
    counts: np.ndarray
    documents: np.ndarray
    first: np.ndarray  # a position where each stands


def find_superwords(
    stream: PretokenStream,
    pretokens: Batch,
    lengths_P: np.ndarray,
    known: frozenset[bytes],
    rules: SuperwordRules,
    limit: int,
) -> SuperwordCandidates:
    """The `limit` candidates that may save most. `lengths_P`: tokens of every pretoken now; `known`: tokens' bytes."""
    levels = _levels(stream, len(pretokens), rules)
    sums = np.concatenate([[0], np.cumsum(lengths_P[stream.rows_T], dtype=np.int64)])
    found = []
    for level in levels:
        bounds = level.counts * (sums[level.first + level.size] - sums[level.first] - 1)
        kept = np.flatnonzero((level.documents >= rules.min_documents) & (bounds > 0))
        found.append(
            np.stack(
                [
                    bounds[kept],
                    level.counts[kept],
                    level.first[kept],
                    np.full(len(kept), level.size),
                    level.documents[kept],
                ],
                axis=1,
            )
        )
    rows_R5 = np.concatenate(found) if found else np.zeros((0, 5), np.int64)
    order = np.lexsort((rows_R5[:, 2], -rows_R5[:, 3], -rows_R5[:, 0]))
    excluded = regex.compile(rules.exclude) if rules.exclude else None
    starts, data = pretokens.starts, pretokens.data.tobytes()
    rows: list[tuple[int, ...]] = []
    strings: list[bytes] = []
    places = []
    for place in order.tolist():
        if len(rows) >= limit:
            break
        first, size = int(rows_R5[place, 2]), int(rows_R5[place, 3])
        parts = stream.rows_T[first : first + size].tolist()
        string = b"".join(data[starts[row] : starts[row + 1]] for row in parts)
        if len(string) > rules.max_bytes or string in known:
            continue
        if excluded is not None and excluded.search(string.decode("utf-8")):
            continue
        rows.append(tuple(parts))
        strings.append(string)
        places.append(place)
    bounds_S, counts_S, _, _, documents_S = rows_R5[places].T
    return SuperwordCandidates(rows, strings, counts_S, bounds_S.astype(np.float64), documents_S)


def _levels(stream: PretokenStream, num_pretokens: int, rules: SuperwordRules) -> list[_Level]:
    """The frequent sequences of every length from 2 on."""
    rows_T, size = stream.rows_T.astype(np.int64), len(stream)
    before_T = np.where(stream.joined_T, rows_T, -1)  # number of the sequence that begins here and lacks its last part
    pairs_T = np.ones(size, bool)
    levels = []
    for length in range(2, rules.max_words + 1):
        last = length - 1
        at = np.flatnonzero(before_T >= 0)
        at = at[at + last < size]
        at = at[stream.joined_T[at + last - 1] & pairs_T[at + last - 1]]
        keys = before_T[at] * num_pretokens + rows_T[at + last]
        _, first, numbers, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        frequent = counts >= rules.min_count
        renumbered = np.where(frequent, np.cumsum(frequent) - 1, -1)
        before_T = np.full(size, -1, np.int64)
        before_T[at] = renumbered[numbers]
        if length == 2:
            pairs_T = before_T >= 0
        levels.append(
            _Level(
                length, counts[frequent], _documents(stream, at, before_T[at], int(frequent.sum())), at[first[frequent]]
            )
        )
        if not frequent.any():
            break
    return levels


def _documents(stream: PretokenStream, at: np.ndarray, numbers: np.ndarray, distinct: int) -> np.ndarray:
    """In how many documents each number stands; -1 is none. int64 (distinct,)."""
    at, numbers = at[numbers >= 0], numbers[numbers >= 0]
    order = np.argsort(numbers, kind="stable")
    numbers, documents = numbers[order], stream.documents_T[at[order]]
    new = np.ones(len(numbers), bool)
    new[1:] = (numbers[1:] != numbers[:-1]) | (documents[1:] != documents[:-1])
    return np.bincount(numbers[new], minlength=distinct)


class SuperwordTrie:
    """S sequences of pretoken numbers, to be found in streams."""

    def __init__(self, rows: Sequence[tuple[int, ...]], num_pretokens: int) -> None:
        self._num_pretokens = num_pretokens
        self.sizes_S = np.array([len(parts) for parts in rows], np.int64)
        self.max_words = int(self.sizes_S.max(initial=2))
        nodes: dict[tuple[int, ...], int] = {}  # beginnings of two parts or more -> number within their level
        levels: list[dict[int, int]] = [{} for _ in range(self.max_words - 1)]  # key -> number
        whole: list[dict[int, int]] = [{} for _ in range(self.max_words - 1)]  # number -> which of the S
        for number, parts in enumerate(rows):
            before = parts[0]
            for length in range(2, len(parts) + 1):
                level = levels[length - 2]
                key = before * num_pretokens + parts[length - 1]
                before = nodes.setdefault(parts[:length], len(level))
                level[key] = before
            whole[len(parts) - 2][before] = number
        self._levels = []
        for level, ends in zip(levels, whole, strict=True):
            keys = np.array(sorted(level), np.int64)
            numbers = np.array([level[key] for key in keys.tolist()], np.int64)
            found = np.full(len(level), -1, np.int32)
            found[list(ends)] = list(ends.values())
            self._levels.append((keys, numbers, found))

    def lookup(self, rows_T: np.ndarray, joined_T: np.ndarray) -> np.ndarray:
        """Which of the S begins at t and holds n pretokens, at [t, n - 2]; -1 for none. int32 (T, N - 1)."""
        size = len(rows_T)
        found = np.full((size, self.max_words - 1), -1, np.int32)
        at, before = np.arange(size), rows_T.astype(np.int64)
        for place, (keys, numbers, whole) in enumerate(self._levels):
            last = place + 1
            kept = at + last < size
            at, before = at[kept], before[kept]
            kept = joined_T[at + last - 1]
            at, before = at[kept], before[kept]
            if not len(keys) or not len(at):
                break
            wanted = before * self._num_pretokens + rows_T[at + last]
            slots = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            kept = keys[slots] == wanted
            at, before = at[kept], numbers[slots[kept]]
            found[at, place] = whole[before]
        return found
