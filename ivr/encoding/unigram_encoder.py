"""Unigram (Viterbi) over many short byte strings, compiled, with integer scores.

Ties fall as in `tokenizers`: for each end the candidate that starts earliest is kept, a later one must be strictly
better. The library itself checks the results (tests, and the certificate of every distillation).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ivr.encoding.batch import Batch, Segmentations, in_threads, over_parts
from ivr.encoding.compiler import compiled
from ivr.encoding.hash_table import empty_table, find, insert
from ivr.errors import ConfigError

REBASE = np.int64(1) << 60  # of a sum: half of what 64 bits hold is left for the tokens that may follow
FAR = np.int64(1) << 61  # sums beyond are not told apart


class Trie(NamedTuple):
    """The tokens of a model as a hash table, for compiled loops; node 0 is the root."""

    keys: np.ndarray  # of the table: (node << 8) | byte
    values: np.ndarray  # the node that this byte leads to
    terminal: np.ndarray  # int32 (nodes,), the id of the token that ends at a node, or -1


@compiled
def _grow(data, starts, ids, keys, values, terminal):  # type: ignore[no-untyped-def]
    """Insert every token into the trie; node 0 is the root. Returns the number of nodes."""
    nodes = 1
    for row in range(len(starts) - 1):
        if starts[row] == starts[row + 1]:
            continue
        node = np.int64(0)
        for i in range(starts[row], starts[row + 1]):
            key = (node << 8) | data[i]
            child = find(keys, values, key)
            if child < 0:
                child = nodes
                nodes += 1
                insert(keys, values, key, child)
            node = np.int64(child)
        terminal[node] = ids[row]
    return nodes


@compiled
def _room(starts):  # type: ignore[no-untyped-def]
    """`best`, `begin` and `token` of `_best`, for the longest of these strings."""
    longest = 0
    for row in range(len(starts) - 1):
        longest = max(longest, starts[row + 1] - starts[row])
    return np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int32)


@compiled
def _best(data, offset, n, keys, values, terminal, longest, scores, banned, best, begin, token):  # type: ignore[no-untyped-def]
    """Best-scoring segmentation of data[offset:offset + n]: `begin` and `token` by end, n + 1 long at least.

    Returns its score, within -FAR and FAR. Only differences of scores count, so that those under way are made
    small again where they have grown: a string of any length is segmented by exact sums. `longest`: bytes of a token.
    """
    begin[: n + 1] = -1
    best[0] = 0
    begin[0] = 0
    taken_off = np.int64(0)  # modulo 2^64
    roughly = 0.0
    for i in range(n):
        if begin[i] < 0:
            continue
        here = best[i]
        if here > REBASE or here < -REBASE:
            taken_off += here
            roughly += here
            for j in range(i, min(i + longest, n) + 1):
                best[j] -= here
            here = np.int64(0)
        node = np.int64(0)
        for j in range(i, n):
            node = np.int64(find(keys, values, (node << 8) | data[offset + j]))
            if node < 0:
                break
            t = terminal[node]
            if t >= 0 and t != banned:
                candidate = here + scores[t]
                if begin[j + 1] < 0 or candidate > best[j + 1]:
                    best[j + 1] = candidate
                    begin[j + 1] = i
                    token[j + 1] = t
    roughly += best[n]
    if roughly > 2 * FAR or roughly < -2 * FAR:
        return FAR if roughly > 0 else -FAR
    return max(min(taken_off + best[n], FAR), -FAR)


@compiled
def _write(n, begin, token, out, written):  # type: ignore[no-untyped-def]
    """The tokens of the segmentation into `out` from `written` on; returns where they end."""
    count = 0
    at = n
    while at > 0:
        count += 1
        at = begin[at]
    place = written + count
    at = n
    while at > 0:
        place -= 1
        out[place] = token[at]
        at = begin[at]
    return written + count


@compiled
def _viterbi(data, starts, keys, values, terminal, longest, scores, banned, out, out_starts, totals):  # type: ignore[no-untyped-def]
    """Best-scoring segmentation of every string. `banned` >= 0 is an id that may not be used.

    Returns the first row that no tokens make, or -1.
    """
    best, begin, token = _room(starts)
    written = 0
    for row in range(len(starts) - 1):
        n = starts[row + 1] - starts[row]
        totals[row] = _best(data, starts[row], n, keys, values, terminal, longest, scores, banned, best, begin, token)
        if begin[n] < 0:
            return row
        written = _write(n, begin, token, out, written)
        out_starts[row + 1] = written
    return -1


@compiled
def _differing(data, starts, keys, values, terminal, longest, scores, truth, truth_starts, rows):  # type: ignore[no-untyped-def]
    """Rows whose best segmentation is not the true one, into `rows`; returns their number."""
    best, begin, token = _room(starts)
    found = 0
    for row in range(len(starts) - 1):
        n = starts[row + 1] - starts[row]
        _best(data, starts[row], n, keys, values, terminal, longest, scores, -1, best, begin, token)
        at = n  # a string that no tokens make differs, too: nothing leads to its end
        if begin[n] < 0:
            token[n] = -1
        place = truth_starts[row + 1] - 1
        while at > 0 and place >= truth_starts[row] and truth[place] == token[at]:
            at = begin[at]
            place -= 1
        if at > 0:  # the tokens' lengths add up alike: either both end here or none
            rows[found] = row
            found += 1
    return found


class UnigramEncoder:
    """Unigram over byte strings with integer scores, by exact sums.

    The library adds float64s, which are exact below 2^53: beyond, on very long strings, it may answer otherwise.
    """

    def __init__(self, tokens: Sequence[bytes], scores_V: np.ndarray) -> None:
        self.scores_V = scores_V.astype(np.int64)
        batch = Batch.of(tokens)
        self._longest = max(map(len, tokens), default=0)
        self._keys, self._values = empty_table(len(batch.data) + 1)
        self._terminal = np.full(len(batch.data) + 1, -1, np.int32)
        _grow(
            batch.data, batch.starts, np.arange(len(tokens), dtype=np.int32), self._keys, self._values, self._terminal
        )

    def with_scores(self, scores_V: np.ndarray) -> "UnigramEncoder":
        """The same trie under other scores."""
        other = object.__new__(UnigramEncoder)
        other.__dict__.update(self.__dict__)
        other.scores_V = scores_V.astype(np.int64)
        return other

    def encode(self, batch: Batch, banned: int = -1, threads: int | None = None) -> Segmentations:
        """The ids of every string, without the id `banned`."""
        return in_threads(batch, lambda part: self._encode(part, banned)[0], threads)

    def differing(self, batch: Batch, truth: Segmentations) -> np.ndarray:
        """Rows whose segmentation is not `truth`'s, ascending."""
        return np.concatenate(over_parts(batch, lambda part, first: self._differing(part, truth, first)))

    def _differing(self, part: Batch, truth: Segmentations, first: int) -> np.ndarray:
        rows = np.empty(len(part), np.int64)
        starts = truth.starts[first : first + len(part) + 1]
        trie = (self._keys, self._values, self._terminal, self._longest)
        found = _differing(part.data, part.starts, *trie, self.scores_V, truth.ids, starts, rows)
        return first + rows[:found]

    @property
    def trie(self) -> Trie:
        return Trie(self._keys, self._values, self._terminal)

    @property
    def longest(self) -> int:
        """Bytes of the longest token."""
        return self._longest

    def best_totals(self, batch: Batch, banned: int = -1) -> np.ndarray:
        """The score of the best segmentation of every string, 2^61 at most, int64 (N,)."""
        return self._encode(batch, banned)[1]

    def _encode(self, batch: Batch, banned: int) -> tuple[Segmentations, np.ndarray]:
        out = np.empty(len(batch.data), np.int32)
        starts = np.zeros(len(batch) + 1, np.int64)
        totals = np.empty(len(batch), np.int64)
        kernel: Callable[..., int] = _viterbi  # compiled: its parameters are not for the type checker to count
        trie = (self._keys, self._values, self._terminal, self._longest)
        unmade = kernel(batch.data, batch.starts, *trie, self.scores_V, banned, out, starts, totals)
        if unmade >= 0:
            raise ConfigError(f"no tokens make {batch.string(unmade)[:80]!r}: a byte of it has no token of its own")
        return Segmentations(out[: starts[-1]].copy(), starts), totals
