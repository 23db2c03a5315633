"""Parts of a BPE that are made right on every string, as constraints for the fit of the text, and proved in the end.

A universal fit of a large vocabulary does not end within the bits of a float64, and one that is not finished harms
unseen text. But parts of the vocabulary close, at little cost: the first merges, of which all text is made, and what is
made of a few bytes only. Words of any language are made of short tokens, and those of two letters close too. BPE's
answer for a string over an alphabet of bytes is that of the merges over this alphabet, so these alone are to be closed,
and their proof is one for all such strings (THEOREM.md, 3).

What text asks for can undo a part, so the parts are closed again beside it, until nothing is left to ask for.
"""

import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ivr.console import LOG
from ivr.encoding.bpe import NO_ID, ByteLevelBpe
from ivr.tokenizer.proof.closure import Proof, close, proof_by_id
from ivr.tokenizer.proof.walk_graph import WalkGraph, walk_graph
from ivr.tokenizer.proof.worst_case import PairSearch
from ivr.tokenizer.scores.constraints import Constraints, solve
from ivr.tokenizer.scores.merge_weights import EXACT_IN_FILE

FIRST = 0.04  # of the merges
SLACK = 0.02  # of what is asked of a weight, by which it is larger
SHORT = 2  # letters of which tokens any words are made
MOST_MERGES = 4_000  # of one part, its first ones: time grows faster than they do, and half a vocabulary can be Korean
TURNS = 4  # of closing and fitting what the parts' own strings need
BLANK = frozenset(b" ")
SMALL_LETTERS = frozenset(string.ascii_lowercase.encode())
# one that is held in another is closed where the other is too large, or does not close
ALPHABETS: dict[str, frozenset[int]] = {
    "all bytes but ASCII letters": frozenset(range(256)) - frozenset(string.ascii_letters.encode()),
    "bytes beyond ASCII and blanks": BLANK | frozenset(range(0x80, 0x100)),
    "ASCII punctuation and blanks": BLANK | frozenset(string.punctuation.encode()),
    "ASCII digits and blanks": BLANK | frozenset(string.digits.encode()),
    "letters a to f and blanks": BLANK | frozenset(b"abcdef"),
    "letters A to F and blanks": BLANK | frozenset(b"ABCDEF"),
}


@dataclass
class _Part:
    """Merges of the vocabulary; `closes` until an attempt fails."""

    name: str
    ranks: np.ndarray
    bpe: ByteLevelBpe
    alphabet: frozenset[int]  # empty: these are not all the merges over an alphabet
    closes: bool = True

    @cached_property
    def graph(self) -> WalkGraph:
        return walk_graph(self.bpe)

    def close(self, prior_R: np.ndarray, constraints: Constraints, slack_R: np.ndarray, limit: int) -> int:
        """Add what makes every string without odd repeats right; how many rows are new.

        Nothing, if it does not close beside the constraints below the limit; it is not tried again then.
        """
        weights_R = solve(prior_R, constraints, slack_R)
        result = close(self.bpe, weights_R[self.ranks], graph=self.graph, limit=limit, slack_R=slack_R[self.ranks])
        told = self.name, f"{len(self.ranks):,}", result.ended, result.rounds
        LOG.info("every string of %s (%s merges): %s, %d rounds", *told)
        self.closes = result.proved
        return constraints.add_all(result.constraints.rows.with_ranks(self.ranks)) if result.proved else 0


def slack_of_merges(num_merges: int) -> np.ndarray:
    """`slack_R` as `solve` takes it, float64 (R,): none for the first merges, which are closed.

    >>> slack_of_merges(50)[:4].tolist()
    [0.0, 0.0, 0.02, 0.02]
    """
    return np.where(np.arange(num_merges) < round(FIRST * num_merges), 0.0, SLACK)


class ClosedParts:
    """The first merges of a BPE, those of two letters, and the merges over each of `ALPHABETS`."""

    def __init__(self, bpe: ByteLevelBpe, slack_R: np.ndarray) -> None:
        self._slack_R = slack_R
        tokens = bpe.token_bytes()
        products = [tokens[left] + tokens[right] for left, right, _ in bpe.merges_R3.tolist()]
        there = frozenset(np.flatnonzero(bpe.byte_ids() != NO_ID).tolist())
        none = frozenset[int]()
        parts = [
            ("the first merges", np.arange(round(FIRST * len(products))), none),
            (f"tokens of {SHORT} small letters", _ranks(_is_short(product) for product in products), none),
        ]
        for name, letters in ALPHABETS.items():
            alphabet = letters & there
            ranks = _ranks(alphabet.issuperset(product) for product in products)
            parts.append((name, ranks, alphabet if len(ranks) <= MOST_MERGES else none))
        cut = [(name, ranks[:MOST_MERGES], alphabet) for name, ranks, alphabet in parts if len(ranks[:MOST_MERGES])]
        self._parts = [_Part(name, ranks, part_of(bpe, ranks), alphabet) for name, ranks, alphabet in cut]

    def close(
        self, prior_R: np.ndarray, constraints: Constraints, refit: Callable[[Constraints], Constraints]
    ) -> Constraints:
        """These constraints and more, under which every string without odd repeats is right, of each part.

        A part that does not close asks for nothing, now or later. `refit`: adds what strings with odd repeats ask for
        (a token like ` 000` for itself); the parts are closed again beside these.
        """
        for part in self._parts:
            part.closes = True
        constraints = constraints.copy()
        for _ in range(TURNS):
            self.close_again(prior_R, constraints)
            known = len(constraints)
            if len(constraints := refit(constraints)) == known:
                break
        return constraints

    def close_again(self, prior_R: np.ndarray, constraints: Constraints, limit: int = EXACT_IN_FILE) -> int:
        """Add to the constraints what the parts ask for beside them; how many rows are new.

        A part whose own tokens' scores would reach the limit asks for nothing, now or later.
        """
        return sum(part.close(prior_R, constraints, self._slack_R, limit) for part in self._closing())

    def _closing(self) -> Iterator[_Part]:
        """The parts that close, but those that lie in another one; lazily, as an attempt may fail in between."""
        for part in self._parts:
            others = (other for other in self._parts if other.closes and other.alphabet)
            if part.closes and not (part.alphabet and any(part.alphabet < other.alphabet for other in others)):
                yield part

    def proofs(self, scores_V: np.ndarray) -> list[Proof]:
        """Of the parts over an alphabet, those that these scores get right on every string without odd repeats."""
        found: list[Proof] = []
        for part in self._parts:
            if not part.alphabet or any(part.alphabet < proof.alphabet for proof in found):
                continue
            pairs = PairSearch(part.graph).worst_pairs(scores_V)
            if pairs.settled and not pairs.counterexamples:
                found.append(Proof(part.name, part.alphabet, proof_by_id(part.graph, pairs.F)))
        return found


def _ranks(inside: Iterable[bool]) -> np.ndarray:
    return np.flatnonzero(np.fromiter(inside, bool))


def _is_short(product: bytes) -> bool:
    letters = product.removeprefix(b" ")
    return len(letters) <= SHORT and SMALL_LETTERS.issuperset(letters)


def part_of(bpe: ByteLevelBpe, ranks: np.ndarray) -> ByteLevelBpe:
    """The BPE of these merges alone (their parts among them); other tokens are never made."""
    merges = bpe.merges_R3[ranks]
    others = frozenset(bpe.merges_R3[:, 2].tolist()) - frozenset(merges[:, 2].tolist())
    return replace(bpe, merges_R3=merges, unmade_ids=bpe.unmade_ids | others)
