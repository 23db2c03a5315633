"""Checks a proof that a Unigram model segments as a BPE does. Shares no code with what finds the proof.

A proof is a number F(p, j) for every token p that BPE can return and every place j inside it: an upper bound of how far
another segmentation can be ahead of BPE's when its last border lies j bytes into p, before p itself is counted. If F
satisfies the three inequalities of THEOREM.md and stays small enough at the end of every token, then BPE's segmentation
scores strictly more than any other, on every string in which BPE meets no odd run of a token that it merges with
itself. So nothing needs to be searched: every inequality is looked at once.

A proof may be of the strings over some bytes only. For these the tokens and merges over these bytes are all there is.

BPE itself is asked in the plainest way, merge after merge over a list; integers, no floats.

    python -m ivr.tokenizer.proof.checker BASE/tokenizer.json DISTILLED/tokenizer.json DISTILLED/universal_proof.json
"""

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ivr.tokenizer.proof.checker_bpe import Pair, PlainBpe

# beside the distilled tokenizer.json: {"proofs": [{"strings": name, "bytes": [...], "F": {id: [F(p, 1), ...]}}]}
NAME = "universal_proof.json"
WIDEST = 2**62  # of a sum of scores
NOTHING = -(2**62)


@dataclass
class Verdict:
    """`accepted`, or the first inequality that does not hold, in words; how many were looked at."""

    accepted: bool
    reason: str
    inequalities: int


class NoProof(ValueError):
    """A file that does not hold proofs as `check_files` reads them."""


def check_files(base: Path, distilled: Path, proof: Path) -> dict[str, Verdict]:
    """Check every proof of a file for a BPE tokenizer.json and a Unigram tokenizer.json; the verdicts by name.

    Raises NoProof for a file of another form, with two proofs of one name, or of no bytes.
    """
    symbols = _byte_symbols()

    def string(name: str) -> bytes:
        return bytes(symbols[symbol] for symbol in name)

    try:
        bpe, unigram = (json.loads(file.read_text(encoding="utf-8")) for file in (base, distilled))
        pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in bpe["model"]["merges"]]
        # what is not in the byte alphabet (many an added token) fits no text
        merges = [(string(left), string(right)) for left, right in pairs if symbols.keys() >= {*left, *right}]
        names = [name for name, _ in unigram["model"]["vocab"]]
        scores = {string(name): score for name, score in unigram["model"]["vocab"] if symbols.keys() >= set(name)}
        if not all(type(score) in (int, float) for score in scores.values()):
            raise ValueError("a score is no number")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NoProof(f"{base} or {distilled} is no tokenizer.json of that kind ({error!r})") from None
    verdicts: dict[str, Verdict] = {}
    for name, alphabet, rows_by_id in _read_proofs(proof, len(names)):
        told = f"{name} ({ranges(alphabet)})"
        if told in verdicts:
            raise NoProof(f"{proof} holds two proofs of {told}")
        if not all(symbols.keys() >= set(names[token_id]) for token_id in rows_by_id):
            raise NoProof(f"{proof} gives numbers for a token that stands for no bytes")
        rows = {string(names[token_id]): row for token_id, row in rows_by_id.items()}
        verdicts[told] = _check_over(alphabet, merges, scores, rows)
    if not verdicts:
        raise NoProof(f"{proof} holds no proof")
    return verdicts


def _read_proofs(file: Path, num_ids: int) -> Iterator[tuple[str, frozenset[int], dict[int, list[int | None]]]]:
    """(name, bytes, F by id) of each."""
    try:
        for one in json.loads(file.read_text(encoding="utf-8"))["proofs"]:
            alphabet = frozenset(one["bytes"])
            rows = {int(token_id): list(row) for token_id, row in one["F"].items()}
            if not alphabet or not alphabet.issubset(range(256)) or not set(rows).issubset(range(num_ids)):
                raise ValueError("bytes or ids that there are none of")
            kinds = {type(value) for row in rows.values() for value in row} | {type(byte) for byte in alphabet}
            if not kinds <= {int, type(None)} or None in alphabet:
                raise ValueError("what is neither a whole number nor null")
            yield str(one["strings"]), alphabet, rows
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NoProof(f"{file} is no proof file of this version ({error!r})") from None


def ranges(alphabet: frozenset[int]) -> str:
    """Bytes in hexadecimal, runs of them as ranges: `20 61-66`."""
    firsts = [byte for byte in sorted(alphabet) if byte - 1 not in alphabet]
    lasts = [byte for byte in sorted(alphabet) if byte + 1 not in alphabet]
    spans = zip(firsts, lasts, strict=True)
    return " ".join(f"{first:02x}" if first == last else f"{first:02x}-{last:02x}" for first, last in spans)


def _check_over(
    alphabet: frozenset[int],
    merges: Sequence[Pair],
    scores: Mapping[bytes, float],
    rows: Mapping[bytes, Sequence[int | None]],
) -> Verdict:
    known: dict[bytes, int] = {}
    for token, score in scores.items():
        if alphabet.issuperset(token) or len(token) == 1:
            if not math.isfinite(score) or score != int(score):
                return Verdict(False, f"the score {score} of {token!r} is no integer", 0)
            known[token] = int(score)
    over = [(left, right) for left, right in merges if alphabet.issuperset(left + right)]
    return check_proof(over, known, {**{token: [] for token in known if len(token) == 1}, **rows}, alphabet)


def _byte_symbols() -> dict[str, int]:
    """GPT-2's character for every byte: itself when it prints, else the next free one from 256 on."""
    printing = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in printing]
    return {chr(byte): byte for byte in printing} | {chr(256 + place): byte for place, byte in enumerate(others)}


def check_proof(
    merges: Sequence[Pair],
    scores: Mapping[bytes, int],
    proof: Mapping[bytes, Sequence[int | None]],
    alphabet: Iterable[int] = range(256),
) -> Verdict:
    """Check `proof`: for every token that BPE returns without an odd run, F(p, 1), ..., F(p, |p| - 1).

    None says that no pair of segmentations comes there. `scores`: every token that the Unigram model may use.
    `alphabet`: the bytes of the strings; `merges` and tokens of two bytes or more are over these.
    """
    checker = _Checker(merges, scores, proof, alphabet)
    for reason in checker.violations():
        return Verdict(False, reason, checker.looked_at)
    return Verdict(True, "", checker.looked_at)


class _Checker:
    def __init__(
        self,
        merges: Sequence[Pair],
        scores: Mapping[bytes, int],
        proof: Mapping[bytes, Sequence[int | None]],
        alphabet: Iterable[int],
    ) -> None:
        self._merges, self._scores, self._proof = merges, scores, proof
        self._bytes = [bytes([byte]) for byte in alphabet]
        self.looked_at = 0

    def violations(self) -> Iterator[str]:
        """What is wrong with the proof, one by one."""
        needed = [*self._bytes, *(left + right for left, right in self._merges)]
        for token in needed:
            if token not in self._scores:
                yield f"the token {token!r} has no score"
                return
        numbers = [*self._scores.values(), *(value for row in self._proof.values() for value in row if value)]
        widest = WIDEST // (max(map(len, self._scores)) + 3)  # F, two scores and those of a string inside a token
        if any(not isinstance(number, int) or abs(number) >= widest for number in numbers):
            yield "a number is no integer, or too large to be added up exactly"
            return
        self._bpe = PlainBpe(self._merges, list(self._scores))
        if late := [token for token in self._scores if not self._bpe.goes_in_order(token)]:
            yield f"in {late[0]!r} a merge follows one of higher rank, and the theorem is of merges in order"
            return
        self._of_bpe = [token for token in self._scores if self._bpe(token) == ([self._bpe.numbers[token]], False)]
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
        ending = self._ending({q[:size] for q in self._scores for size in range(1, len(q))})
        beginning = self._beginning({q[size:] for q in self._scores for size in range(1, len(q))})
        score_of = list(self._scores.values())
        for q, score in self._scores.items():
            for head in range(1, len(q)):
                for body in range(head, len(q)):
                    if q[:head] not in ending or q[body:] not in beginning:
                        continue
                    middle, odd = self._bpe(q[head:body]) if body > head else ([], False)
                    if odd:
                        continue
                    values, before = ending[q[:head]]
                    after, bounds = beginning[q[body:]]
                    values = values + (score - sum(score_of[token] for token in middle))
                    self.looked_at += len(before) * len(after)
                    place, behind = self._bpe.violation(values, before, middle, after, bounds)
                    if place >= 0:
                        yield self._wrong(self._bpe.tokens[after[place]], len(q) - body, int(values[behind]), q)

    def _ending(self, strings: set[bytes]) -> dict[bytes, tuple[np.ndarray, np.ndarray]]:
        """String -> (how far ahead a segmentation is that has a border before it, BPE's token that ends in it)."""
        found: dict[bytes, list[tuple[int, int]]] = {}
        for p0 in self._of_bpe:
            for begin in range(len(p0)):
                ahead = self._proof[p0][begin - 1] if begin else 0
                if ahead is not None and p0[begin:] in strings:
                    row = ahead - self._scores[p0], self._bpe.numbers[p0]
                    found.setdefault(p0[begin:], []).append(row)
        tables = {string: np.array(sorted(rows, reverse=True), np.int64) for string, rows in found.items()}
        return {string: (table[:, 0].copy(), table[:, 1].copy()) for string, table in tables.items()}

    def _beginning(self, strings: set[bytes]) -> dict[bytes, tuple[np.ndarray, np.ndarray]]:
        """String -> (BPE's tokens that begin with it, what may be reached in each)."""
        found: dict[bytes, list[bytes]] = {}
        for p in self._of_bpe:
            for size in range(1, len(p) + 1):
                if p[:size] in strings:
                    found.setdefault(p[:size], []).append(p)
        return {
            c: (
                np.array([self._bpe.numbers[p] for p in tokens], np.int64),
                np.array([self._bound(p, len(c)) for p in tokens], np.int64),
            )
            for c, tokens in found.items()
        }


def main(arguments: Sequence[str]) -> int:
    """0: all accepted, 1: one refused, 2: usage, or a file that holds no proofs."""
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        verdicts = check_files(*(Path(argument) for argument in arguments))
    except (NoProof, OSError) as error:
        print(f"proof_check: {error}", file=sys.stderr)
        return 2
    for name, verdict in verdicts.items():
        told = f"{verdict.inequalities:,} inequalities" if verdict.accepted else verdict.reason
        print(f"every string of {name}: {'accepted' if verdict.accepted else 'refused'}, {told}")
    return 0 if all(verdict.accepted for verdict in verdicts.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
