"""Checks a proof that a Unigram model segments as a BPE does. Shares no code with what finds the proof.

A proof is a number F(p, j) for every token p that BPE can return and every place j inside it: an upper bound of how far
another segmentation can be ahead of BPE's when its last border lies j bytes into p, before p itself is counted. If F
satisfies the three inequalities of THEOREM.md and stays small enough at the end of every token, then BPE's segmentation
scores strictly more than any other, on every string in which BPE meets no odd run of a token that it merges with
itself. So nothing needs to be searched: every inequality is looked at once.

BPE itself is asked in the plainest way, merge after merge over a list; Python integers, no floats.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Pair = tuple[bytes, bytes]
WIDEST = 2**60
NOTHING = -(2**62)


@dataclass
class Verdict:
    """`accepted`, or the first inequality that does not hold, in words; how many were looked at."""

    accepted: bool
    reason: str
    inequalities: int


class PlainBpe:
    """BPE as it is written down: for every rank in turn, join each occurrence of its pair from left to right."""

    def __init__(self, merges: Sequence[Pair]) -> None:
        self._ranks: dict[Pair, int] = {}
        for rank, pair in enumerate(merges):
            self._ranks.setdefault(pair, rank)
        self._known: dict[bytes, tuple[tuple[bytes, ...], bool]] = {}

    def __call__(self, string: bytes) -> tuple[tuple[bytes, ...], bool]:
        """(the tokens, whether a merge of a token with itself met an odd run of three or more)."""
        if string not in self._known:
            self._known[string] = self._segment(string)
        return self._known[string]

    def _segment(self, string: bytes) -> tuple[tuple[bytes, ...], bool]:
        symbols = [string[place : place + 1] for place in range(len(string))]
        odd = False
        while True:
            pairs = [pair for pair in pairwise(symbols) if pair in self._ranks]
            if not pairs:
                return tuple(symbols), odd
            left, right = min(pairs, key=self._ranks.__getitem__)
            joined, place = [], 0
            while place < len(symbols):
                if symbols[place : place + 2] == [left, right]:
                    joined.append(left + right)
                    place += 2
                else:
                    joined.append(symbols[place])
                    place += 1
            odd = odd or (left == right and _odd_run(symbols, left))
            symbols = joined


def _odd_run(symbols: Sequence[bytes], unit: bytes) -> bool:
    length = 0
    for symbol in [*symbols, b""]:
        if symbol == unit:
            length += 1
            continue
        if length >= 3 and length % 2:
            return True
        length = 0
    return False


def check_proof(
    merges: Sequence[Pair], scores: Mapping[bytes, int], proof: Mapping[bytes, Sequence[int | None]]
) -> Verdict:
    """Check `proof`: for every token that BPE returns without an odd run, F(p, 1), ..., F(p, |p| - 1).

    None says that no pair of segmentations comes there. `scores`: every token that the Unigram model may use.
    """
    checker = _Checker(merges, scores, proof)
    for reason in checker.violations():
        return Verdict(False, reason, checker.looked_at)
    return Verdict(True, "", checker.looked_at)


class _Checker:
    def __init__(
        self, merges: Sequence[Pair], scores: Mapping[bytes, int], proof: Mapping[bytes, Sequence[int | None]]
    ) -> None:
        self._bpe, self._scores, self._proof = PlainBpe(merges), scores, proof
        self._of_bpe = [token for token in scores if self._bpe(token) == ((token,), False)]
        self.looked_at = 0

    def violations(self) -> Iterator[str]:
        """What is wrong with the proof, one by one."""
        missing = [bytes([byte]) for byte in range(256) if bytes([byte]) not in self._scores]
        if missing:
            yield f"the byte {missing[0]!r} has no score"
        numbers = [*self._scores.values(), *(value for row in self._proof.values() for value in row if value)]
        if any(not isinstance(number, int) or abs(number) >= WIDEST for number in numbers):
            yield "a number is no integer, or too large to be added up exactly"
            return
        for token in self._of_bpe:
            if len(self._proof.get(token, ())) != len(token) - 1:
                yield f"the proof lacks numbers for the token {token!r}"
                return
        for token in self._of_bpe:
            yield from self._inside(token)
        yield from self._crossings()

    def _bound(self, p: bytes, j: int) -> int:
        """What may be reached j bytes into p, at most."""
        if j == len(p):
            return self._scores[p] - 1
        bound = self._proof[p][j - 1]
        return NOTHING if bound is None else bound

    def _wrong(self, p: bytes, j: int, value: int, q: bytes) -> str:
        if j == len(p):
            return f"a segmentation that ends with {q!r} comes up to BPE's, which ends with {p!r}"
        return f"F({p!r}, {j}) is less than {value}, which {q!r} reaches"

    def _inside(self, p: bytes) -> Iterator[str]:
        """F(p, j) >= s(p[:j]); F(p, j) >= F(p, i) + s(p[i:j]); s(p) > F(p, i) + s(p[i:])."""
        for i in range(len(p)):
            before = self._proof[p][i - 1] if i else 0
            for j in range(i + 1, len(p) + 1):
                q = p[i:j]
                if before is not None and q in self._scores and q != p:
                    self.looked_at += 1
                    if before + self._scores[q] > self._bound(p, j):
                        yield self._wrong(p, j, before + self._scores[q], q)

    def _crossings(self) -> Iterator[str]:
        """F(p, |c|) >= F(p0, |p0| - |a|) - s(p0) - S(BPE(m)) + s(amc) wherever BPE can return p0, BPE(m), p."""
        heads = {q[:size] for q in self._scores for size in range(1, len(q))}
        tails = {q[size:] for q in self._scores for size in range(1, len(q))}
        ending, beginning = self._ending(heads), self._beginning(tails)
        for q, score in self._scores.items():
            for head in range(1, len(q)):
                for body in range(head, len(q)):
                    if q[:head] not in ending or q[body:] not in beginning:
                        continue
                    middle, odd = self._bpe(q[head:body]) if body > head else ((), False)
                    if odd:
                        continue
                    gain = score - sum(self._scores[token] for token in middle)
                    before, (after, bounds) = ending[q[:head]], beginning[q[body:]]
                    self.looked_at += len(before) * len(after)
                    # most are met whatever stands side by side
                    for place in np.flatnonzero(bounds < before[0][0] + gain).tolist():
                        for value, p0 in before:
                            if value + gain <= bounds[place]:
                                break
                            if self._side_by_side(p0, *middle, after[place]):
                                yield self._wrong(after[place], len(q) - body, value + gain, q)

    def _ending(self, strings: set[bytes]) -> dict[bytes, list[tuple[int, bytes]]]:
        """String -> (how far ahead a segmentation is that has a border before it, BPE's token that ends in it)."""
        found: dict[bytes, list[tuple[int, bytes]]] = {}
        for p0 in self._of_bpe:
            for begin in range(len(p0)):
                ahead = self._proof[p0][begin - 1] if begin else 0
                if ahead is not None and p0[begin:] in strings:
                    found.setdefault(p0[begin:], []).append((ahead - self._scores[p0], p0))
        return {string: sorted(rows, reverse=True) for string, rows in found.items()}

    def _beginning(self, strings: set[bytes]) -> dict[bytes, tuple[list[bytes], np.ndarray]]:
        """String -> (BPE's tokens that begin with it, what may be reached in each)."""
        found: dict[bytes, list[bytes]] = {}
        for p in self._of_bpe:
            for size in range(1, len(p) + 1):
                if p[:size] in strings:
                    found.setdefault(p[:size], []).append(p)
        return {
            c: (tokens, np.array([self._bound(p, len(c)) for p in tokens], np.int64)) for c, tokens in found.items()
        }

    def _side_by_side(self, *tokens: bytes) -> bool:
        """Whether BPE returns these tokens for their joint string, without an odd run."""
        return self._bpe(b"".join(tokens)) == (tokens, False)
