"""Unigram (Viterbi) over many short byte strings, compiled, with integer scores.

Ties fall as in `tokenizers`: for each end the candidate that starts earliest is kept, a later one must be strictly
better. The library itself checks the results (tests, and the certificate of every distillation).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ivr.encoding.batch import Batch, Segmentations, in_threads, over_parts
from ivr.encoding.compiler import compiled
from ivr.encoding.hash_table import empty_table, find, insert
from ivr.errors import ConfigError

REBASE = np.int64(1) << 60  # of a sum: half of what 64 bits hold is left for the tokens that may follow
FAR = np.int64(1) << 61  # sums beyond are not told apart


class Trie(NamedTuple):
    """All tokens by their bytes; node 0 is the root. N nodes."""

    keys: np.ndarray  # a hash table from (node << 8) | byte to a node
    values: np.ndarray
    terminal_N: np.ndarray  # int32: the id whose bytes lead here, or -1
    longest: int  # bytes of a token


class Path(NamedTuple):
    """Work space of one segmentation: what is best up to each place of a string."""

    best: np.ndarray  # int64: the score
    begin: np.ndarray  # int64: where its last token begins, -1 where no tokens lead
    token: np.ndarray  # int32: its last token


@compiled
def _grow(data, starts, ids, trie):  # type: ignore[no-untyped-def]
    """Insert every token into the trie; node 0 is the root. Returns the number of nodes."""
    nodes = 1
    for row in range(len(starts) - 1):
        if starts[row] == starts[row + 1]:
            continue
        node = np.int64(0)
        for i in range(starts[row], starts[row + 1]):
            key = (node << 8) | data[i]
            child = find(trie.keys, trie.values, key)
            if child < 0:
                child = nodes
                nodes += 1
                insert(trie.keys, trie.values, key, child)
            node = np.int64(child)
        trie.terminal_N[node] = ids[row]
    return nodes


@compiled
def _room(starts):  # type: ignore[no-untyped-def]
    """Work space for the longest of these strings."""
    longest = 0
    for row in range(len(starts) - 1):
        longest = max(longest, starts[row + 1] - starts[row])
    return Path(np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int32))


@compiled
def _best(text, trie, scores, banned, path):  # type: ignore[no-untyped-def]
    """Best-scoring segmentation of `text` into `path`, which has room for it. `banned` >= 0: an id not to be used.

    Returns its score, within -FAR and FAR. Only differences of scores count, so that those under way are made
    small again where they have grown: a string of any length is segmented by exact sums.
    """
    best, begin = path.best, path.begin
    n = len(text)
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
            for j in range(i, min(i + trie.longest, n) + 1):
                best[j] -= here
            here = np.int64(0)
        node = np.int64(0)
        for j in range(i, n):
            node = np.int64(find(trie.keys, trie.values, (node << 8) | text[j]))
            if node < 0:
                break
            t = trie.terminal_N[node]
            if t >= 0 and t != banned:
                candidate = here + scores[t]
                if begin[j + 1] < 0 or candidate > best[j + 1]:
                    best[j + 1] = candidate
                    begin[j + 1] = i
                    path.token[j + 1] = t
    roughly += best[n]
    if roughly > 2 * FAR or roughly < -2 * FAR:
        return FAR if roughly > 0 else -FAR
    return max(min(taken_off + best[n], FAR), -FAR)


@compiled
def _write(n, path, out, written):  # type: ignore[no-untyped-def]
    """The tokens of the segmentation into `out` from `written` on; returns where they end."""
    count = 0
    at = n
    while at > 0:
        count += 1
        at = path.begin[at]
    place = written + count
    at = n
    while at > 0:
        place -= 1
        out[place] = path.token[at]
        at = path.begin[at]
    return written + count


@compiled
def _viterbi(batch, trie, scores, banned, out, out_starts, totals):  # type: ignore[no-untyped-def]
    """Best-scoring segmentation of every string. `banned` >= 0 is an id that may not be used.

    Returns the first row that no tokens make, or -1.
    """
    data, starts = batch
    path = _room(starts)
    written = 0
    for row in range(len(starts) - 1):
        text = data[starts[row] : starts[row + 1]]
        totals[row] = _best(text, trie, scores, banned, path)
        if path.begin[len(text)] < 0:
            return row
        written = _write(len(text), path, out, written)
        out_starts[row + 1] = written
    return -1


@compiled
def _differing(batch, trie, scores, truth, rows):  # type: ignore[no-untyped-def]
    """Rows whose best segmentation is not the true one, into `rows`; returns their number."""
    data, starts = batch
    ids, id_starts = truth
    path = _room(starts)
    found = 0
    for row in range(len(starts) - 1):
        n = starts[row + 1] - starts[row]
        _best(data[starts[row] : starts[row + 1]], trie, scores, -1, path)
        at = n  # a string that no tokens make differs, too: nothing leads to its end
        if path.begin[n] < 0:
            path.token[n] = -1
        place = id_starts[row + 1] - 1
        while at > 0 and place >= id_starts[row] and ids[place] == path.token[at]:
            at = path.begin[at]
            place -= 1
        if at > 0:  # the tokens' lengths add up alike: either both end here or none
            rows[found] = row
            found += 1
    return found


class UnigramEncoder:
    """Unigram over byte strings with integer scores, by exact sums.

    The library adds float64s, which are exact below 2^53: beyond, on very long strings, it may answer otherwise.

    >>> encoder = UnigramEncoder([b"a", b"b", b"ab"], np.array([0, 0, 5]))
    >>> encoder.encode(Batch.of([b"aab", b"ba"])).ids.tolist()
    [0, 2, 1, 0]
    """

    def __init__(self, tokens: Sequence[bytes], scores_V: np.ndarray) -> None:
        self.scores_V = scores_V.astype(np.int64)
        batch = Batch.of(tokens)
        room = len(batch.data) + 1
        self.trie = Trie(*empty_table(room), np.full(room, -1, np.int32), max(map(len, tokens), default=0))
        _grow(batch.data, batch.starts, np.arange(len(tokens), dtype=np.int32), self.trie)

    def with_scores(self, scores_V: np.ndarray) -> "UnigramEncoder":
        """The same trie under other scores."""
        other = object.__new__(UnigramEncoder)
        other.__dict__.update(self.__dict__)
        other.scores_V = scores_V.astype(np.int64)
        return other

    def encode(self, batch: Batch, banned: int = -1, threads: int | None = None) -> Segmentations:
        """The ids of every string, without the id `banned`. Raises ConfigError where no tokens make one."""
        return in_threads(batch, lambda part: self._encode(part, banned)[0], threads)

    def differing(self, batch: Batch, truth: Segmentations) -> np.ndarray:
        """Rows whose segmentation is not `truth`'s, ascending."""
        return np.concatenate(over_parts(batch, lambda part, first: self._differing(part, truth, first)))

    def _differing(self, part: Batch, truth: Segmentations, first: int) -> np.ndarray:
        rows = np.empty(len(part), np.int64)
        starts = truth.starts[first : first + len(part) + 1]
        found = _differing((part.data, part.starts), self.trie, self.scores_V, (truth.ids, starts), rows)
        return first + rows[:found]

    def best_totals(self, batch: Batch, banned: int = -1) -> np.ndarray:
        """The score of the best segmentation of every string, 2^61 at most, int64 (N,)."""
        return self._encode(batch, banned)[1]

    def _encode(self, batch: Batch, banned: int) -> tuple[Segmentations, np.ndarray]:
        out = np.empty(len(batch.data), np.int32)
        starts = np.zeros(len(batch) + 1, np.int64)
        totals = np.empty(len(batch), np.int64)
        unmade = _viterbi((batch.data, batch.starts), self.trie, self.scores_V, banned, out, starts, totals)
        if unmade >= 0:
            raise ConfigError(f"no tokens make {batch.string(unmade)[:80]!r}: a byte of it has no token of its own")
        return Segmentations(out[: starts[-1]].copy(), starts), totals
