"""Parts of a BPE that are made right on every string, as constraints for the fit of the text.

A universal fit of a large vocabulary does not end within the bits of a float64, and one that is not finished harms
unseen text. But parts of the vocabulary close, at little cost: the first merges, of which all text is made, and what is
made of a few characters only (digits, ASCII punctuation, bytes beyond ASCII), where any string is as likely
as any.
Text of these needs not to have been seen.
"""

import string
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ivr.console import LOG
from ivr.encoding.bpe import ByteLevelBpe
from ivr.tokenizer.constraints import Constraints, solve
from ivr.tokenizer.universal import close
from ivr.tokenizer.walk_graph import WalkGraph, walk_graph

FIRST = 0.04  # of the merges
MOST_MERGES = 4_000  # of one part, its first ones: time grows faster than they do, and half a vocabulary can be Korean
TURNS = 4  # of closing and fitting what the parts' own strings need
PUNCTUATION = frozenset(string.punctuation.encode())
DIGITS = frozenset(string.digits.encode())
HEXADECIMAL = frozenset(b"abcdef"), frozenset(b"ABCDEF")
PARTS: dict[str, Callable[[bytes], bool]] = {
    "bytes beyond ASCII": lambda token: min(token, default=0) >= 0x80,
    "punctuation": lambda token: PUNCTUATION.issuperset(token),
    "digits": lambda token: DIGITS.issuperset(token),
    "hexadecimal letters": lambda token: any(letters.issuperset(token) for letters in HEXADECIMAL),
}


@dataclass
class _Part:
    """A part of the vocabulary; `closes` until an attempt fails."""

    name: str
    ranks: np.ndarray
    bpe: ByteLevelBpe
    closes: bool = True

    @cached_property
    def graph(self) -> WalkGraph:
        return walk_graph(self.bpe)


def closed_parts(
    bpe: ByteLevelBpe, prior_R: np.ndarray, refit: Callable[[Constraints], Constraints] | None = None
) -> Constraints:
    """Constraints under which every string without odd runs is right, of the first merges and of each of `PARTS`.

    A part that does not close asks for nothing. `refit`: adds what strings with odd runs ask for (a token like ` 000`
    for itself); the parts are closed again beside these.
    """
    num_merges, tokens = len(bpe.merges_R3), bpe.token_bytes()
    inside = {"the first merges": np.arange(num_merges) < round(FIRST * num_merges)}
    for name, belongs in PARTS.items():
        products = bpe.merges_R3[:, 2].tolist()
        inside[name] = np.array([belongs(tokens[product].removeprefix(b" ")) for product in products], bool)
    ranks = {name: np.flatnonzero(of)[:MOST_MERGES] for name, of in inside.items()}
    parts = [_Part(name, of, part_of(bpe, of)) for name, of in ranks.items()]
    parts = [part for part in parts if len(part.ranks)]
    constraints = Constraints()
    for _ in range(TURNS):
        for part in parts:
            _close(part, prior_R, constraints)
        known = len(constraints)
        if refit is None or len(constraints := refit(constraints)) == known:
            break
    return constraints


def close_part(bpe: ByteLevelBpe, prior_R: np.ndarray, ranks: np.ndarray, name: str, constraints: Constraints) -> None:
    """Close the BPE of these merges, beside what the constraints ask for, and add to them."""
    if len(ranks):
        _close(_Part(name, ranks, part_of(bpe, ranks)), prior_R, constraints)


def _close(part: _Part, prior_R: np.ndarray, constraints: Constraints) -> None:
    if not part.closes:
        return
    ranks = part.ranks
    result = close(part.bpe, solve(prior_R, constraints)[ranks], graph=part.graph)
    LOG.info("every string of %s (%s merges): %s, %d rounds", part.name, f"{len(ranks):,}", result.ended, result.rounds)
    part.closes = result.proved
    if result.proved:
        for row in result.constraints.rows:
            constraints.add({int(ranks[rank]): count for rank, count in row})


def part_of(bpe: ByteLevelBpe, ranks: np.ndarray) -> ByteLevelBpe:
    """The BPE of these merges alone (their parts among them); other tokens are as added ones, never produced."""
    merges = bpe.merges_R3[ranks]
    others = frozenset(bpe.merges_R3[:, 2].tolist()) - frozenset(merges[:, 2].tolist())
    return replace(bpe, merges_R3=merges, special_ids=bpe.special_ids | others)
