"""Counting tokens of chosen pretokens under changing scores: the inner loop of `select`.

Tokens and candidates are known from the start and only their scores change, so their occurrences in every pretoken, the
arcs of its lattice, are looked up once; a recount is one pass over them.

A pretoken may be cut (a distilled tokenizer cuts runs as BPE does): no token crosses a cut, unless the pretoken holds a
new token's string. Then the remapped tokenizer takes it whole (`whole_pretokens`), and so does this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ivr.analysis.pretokens import Pieces
from ivr.encoding.batch import Batch
from ivr.encoding.compiler import compiled
from ivr.encoding.hash_table import find
from ivr.encoding.unigram_encoder import UnigramEncoder
from ivr.errors import ConfigError
from ivr.tokenizer.unigram_file import NEVER

LARGEST_INT16 = 2**15 - 1


@dataclass(frozen=True)
class CutBatch:
    """Pretokens, and where they are cut: `cuts[i]` is 1 where a piece begins at byte i inside a pretoken."""

    strings: Batch
    cuts: np.ndarray  # uint8, one a byte

    @classmethod
    def of(cls, pieces: list[list[bytes]]) -> "CutBatch":
        """From the pieces of each."""
        flat = Batch.of([piece for row in pieces for piece in row])
        starts = np.cumsum([0, *(len(row) for row in pieces)], dtype=np.int64)
        return cls.cut(Pieces(flat.data, flat.starts[1:], starts))

    @classmethod
    def cut(cls, pieces: Pieces) -> "CutBatch":
        """From the pieces as a splitter gives them."""
        borders = np.concatenate([[0], pieces.ends])
        strings = Batch(pieces.data, borders[pieces.starts])
        cuts = np.zeros(len(strings.data) + 1, np.uint8)
        cuts[borders] = 1
        cuts[strings.starts] = 0
        return cls(strings, cuts[:-1])

    @classmethod
    def whole(cls, strings: Sequence[bytes]) -> "CutBatch":
        """Strings without cuts."""
        batch = Batch.of(strings)
        return cls(batch, np.zeros(len(batch.data), np.uint8))

    def __len__(self) -> int:
        return len(self.strings)

    def is_cut(self) -> np.ndarray:
        """Which pretokens have cuts, bool."""
        sums = np.concatenate([[0], np.cumsum(self.cuts, dtype=np.int64)])
        return sums[self.strings.starts[1:]] > sums[self.strings.starts[:-1]]


class Arcs(NamedTuple):
    """A occurrences of tokens in R rows, ordered by row, begin and end."""

    starts: np.ndarray  # (R + 1,): the arcs of each row
    begins_A: np.ndarray  # bytes of the row, int16 where no row is longer: there are twenty arcs a row and more
    ends_A: np.ndarray
    tokens_A: np.ndarray
    crosses_A: np.ndarray  # bool: a cut of the pretoken lies inside

    @classmethod
    def empty(cls, starts: np.ndarray, size: int, longest: int) -> "Arcs":
        """Room for `size` arcs in rows of up to `longest` bytes."""
        dtype = np.int16 if longest <= LARGEST_INT16 else np.int32
        begins, ends = (np.empty(size, dtype) for _ in range(2))
        return cls(starts, begins, ends, np.empty(size, np.int32), np.empty(size, np.bool_))


class Question(NamedTuple):
    """Which rows to segment, and how."""

    rows: np.ndarray
    whole: np.ndarray  # bool: for each of the rows, may tokens cross its cuts?
    scores_V: np.ndarray
    forced: int  # an id that is used as often as can be, or -1


class Answer(NamedTuple):
    """For each of the rows: tokens, score and uses of the forced id. For each byte, unless empty: which token ends."""

    lengths: np.ndarray
    totals: np.ndarray
    uses: np.ndarray
    used: np.ndarray  # the id of the token that ends at each byte, -1 where none does


@compiled
def _find_arcs(data, starts, cuts, trie, arcs):  # type: ignore[no-untyped-def]
    """Every occurrence of every token; when there is no room for any it only counts."""
    written = 0
    for row in range(len(starts) - 1):
        offset = starts[row]
        for i in range(offset, starts[row + 1]):
            node = np.int64(0)
            crossed = False
            for j in range(i, starts[row + 1]):
                crossed |= j > i and cuts[j] != 0
                node = np.int64(find(trie.keys, trie.values, (node << 8) | data[j]))
                if node < 0:
                    break
                if trie.terminal_N[node] >= 0:
                    if len(arcs.tokens_A) > 0:
                        arcs.begins_A[written] = i - offset
                        arcs.ends_A[written] = j + 1 - offset
                        arcs.tokens_A[written] = trie.terminal_N[node]
                        arcs.crosses_A[written] = crossed
                    written += 1
        arcs.starts[row + 1] = written


@compiled
def _best_paths(starts, arcs, question, answer):  # type: ignore[no-untyped-def]
    """Tokens and score of the best segmentation of `rows`: of those that use the id `forced` most, and how often.

    Ties as in `UnigramEncoder`. Returns the first row that no tokens make, or -1.
    """
    rows, whole, scores_V, forced = question
    used = answer.used
    longest = 0
    for row in rows:
        longest = max(longest, starts[row + 1] - starts[row])
    best = np.empty(longest + 1, np.int64)
    count = np.empty(longest + 1, np.int32)
    times = np.empty(longest + 1, np.int32)  # that `forced` is used
    last = np.empty(longest + 1, np.int64)
    for place in range(len(rows)):
        row = rows[place]
        n = starts[row + 1] - starts[row]
        for i in range(n + 1):
            count[i] = 0
        best[0] = 0
        times[0] = 0
        for arc in range(arcs.starts[row], arcs.starts[row + 1]):
            token = arcs.tokens_A[arc]
            score = scores_V[token]
            begin, end = arcs.begins_A[arc], arcs.ends_A[arc]
            if score == NEVER and end - begin > 1:
                continue
            if (begin > 0 and count[begin] == 0) or (arcs.crosses_A[arc] and not whole[place]):
                continue
            candidate = best[begin] + score
            often = times[begin] + (token == forced)
            if count[end] == 0 or often > times[end] or (often == times[end] and candidate > best[end]):
                best[end] = candidate
                times[end] = often
                count[end] = count[begin] + 1
                last[end] = arc
        if n > 0 and count[n] == 0:
            return row
        answer.lengths[place] = count[n]
        answer.totals[place] = best[n]
        answer.uses[place] = times[n]
        if len(used) > 0:
            for i in range(starts[row], starts[row + 1]):
                used[i] = -1
            at = n
            while at > 0:
                arc = last[at]
                used[starts[row] + at - 1] = arcs.tokens_A[arc]
                at = arcs.begins_A[arc]
    return -1


@compiled
def _using(used, starts, rows, token, found):  # type: ignore[no-untyped-def]
    """found[i]: is `token` in the current segmentation of rows[i]?"""
    for place in range(len(rows)):
        found[place] = False
        for i in range(starts[rows[place]], starts[rows[place] + 1]):
            if used[i] == token:
                found[place] = True
                break


@compiled
def _holders(arcs, starts, rows):  # type: ignore[no-untyped-def]
    """The rows that hold each token of two bytes or more; when `rows` is empty it only counts, into `starts`."""
    seen = np.full(len(starts) - 1, -1, np.int64)
    place = starts.copy()
    for row in range(len(arcs.starts) - 1):
        for arc in range(arcs.starts[row], arcs.starts[row + 1]):
            token = arcs.tokens_A[arc]
            if arcs.ends_A[arc] - arcs.begins_A[arc] > 1 and seen[token] != row:
                seen[token] = row
                if len(rows) > 0:
                    rows[place[token]] = row
                    place[token] += 1
                else:
                    starts[token + 1] += 1


class Lattices:
    """All tokens' occurrences in P strings, and the best segmentations of those strings under given scores."""

    def __init__(self, batch: CutBatch, encoder: UnigramEncoder) -> None:
        """`encoder`: knows the tokens; its scores do not matter."""
        self._num_tokens = len(encoder.scores_V)
        self._strings = batch.strings
        self._starts = batch.strings.starts
        text = (batch.strings.data, self._starts, batch.cuts, encoder.trie)
        longest = int(np.diff(self._starts).max(initial=0))
        self._arcs = Arcs.empty(np.zeros(len(batch) + 1, np.int64), 0, longest)
        _find_arcs(*text, self._arcs)
        if size := int(self._arcs.starts[-1]):
            self._arcs = Arcs.empty(self._arcs.starts, size, longest)
            _find_arcs(*text, self._arcs)

    def measure(
        self, scores_V: np.ndarray, rows: np.ndarray, whole: np.ndarray, used: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(tokens int32, score int64) of each of `rows`.

        `used`: int32, one for every byte; where `rows` lie it gets the id of the token that ends there, or -1.
        """
        answer = self._ask(Question(rows, whole, scores_V, -1), used)
        return answer.lengths, answer.totals

    def measure_forced(
        self, scores_V: np.ndarray, rows: np.ndarray, whole: np.ndarray, forced: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(tokens int32, uses of the id `forced` int32, score int64) of each of `rows`, used as often as can be."""
        answer = self._ask(Question(rows, whole, scores_V, forced), None)
        return answer.lengths, answer.uses, answer.totals

    def _ask(self, question: Question, used: np.ndarray | None) -> Answer:
        size = len(question.rows)
        answer = Answer(
            lengths=np.empty(size, np.int32),
            totals=np.empty(size, np.int64),
            uses=np.empty(size, np.int32),
            used=np.zeros(0, np.int32) if used is None else used,
        )
        unmade = _best_paths(self._starts, self._arcs, question, answer)
        if unmade >= 0:
            raise ConfigError(f"no tokens make {self._strings.string(unmade)!r}: a byte of it has no token of its own")
        return answer

    def using(self, used: np.ndarray, rows: np.ndarray, token: int) -> np.ndarray:
        """For each of `rows`: is the token in the segmentation that `used` tells of? bool."""
        found = np.empty(len(rows), np.bool_)
        _using(used, self._starts, rows, token, found)
        return found

    def holders(self) -> tuple[np.ndarray, np.ndarray]:
        """(starts, rows): token t of two bytes or more lies in the rows `rows[starts[t]:starts[t + 1]]`, ascending."""
        starts = np.zeros(self._num_tokens + 1, np.int64)
        _holders(self._arcs, starts, np.zeros(0, np.int32))
        np.cumsum(starts, out=starts)
        rows = np.empty(starts[-1], np.int32)
        if len(rows):
            _holders(self._arcs, starts, rows)
        return starts, rows
