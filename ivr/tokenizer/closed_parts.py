"""Parts of a BPE that are made right on every string, as constraints for the fit of the text.

A universal fit of a large vocabulary does not end within the bits of a float64, and one that is not finished harms
unseen text. But parts of the vocabulary close, at little cost: the first merges, of which all text is made, and what is
made of a few characters only (digits, ASCII punctuation, bytes beyond ASCII), where any string is as likely as any.
Text of these needs not to have been seen.
"""

import string
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ivr.console import LOG
from ivr.encoding.bpe import ByteLevelBpe
from ivr.tokenizer.bonuses import Constraints, solve
from ivr.tokenizer.universal import close

FIRST = 0.04  # of the merges
PUNCTUATION = frozenset(string.punctuation.encode())
DIGITS = frozenset(string.digits.encode())
PARTS: dict[str, Callable[[bytes], bool]] = {
    "bytes beyond ASCII": lambda token: min(token, default=0) >= 0x80,
    "punctuation": lambda token: PUNCTUATION.issuperset(token),
    "digits": lambda token: DIGITS.issuperset(token),
}


def closed_parts(bpe: ByteLevelBpe, prior_R: np.ndarray) -> Constraints:
    """Constraints under which every string without odd runs is right, of the first merges and of each of `PARTS`.

    A part that does not close asks for nothing.
    """
    constraints = Constraints()
    num_merges = len(bpe.merges_R3)
    close_part(bpe, prior_R, np.arange(round(FIRST * num_merges)), "the first merges", constraints)
    tokens = bpe.token_bytes()
    for name, belongs in PARTS.items():
        inside = [belongs(tokens[product].removeprefix(b" ")) for product in bpe.merges_R3[:, 2].tolist()]
        close_part(bpe, prior_R, np.flatnonzero(inside), name, constraints)
    return constraints


def close_part(bpe: ByteLevelBpe, prior_R: np.ndarray, ranks: np.ndarray, name: str, constraints: Constraints) -> None:
    """Close the BPE of these merges, beside what the constraints ask for, and add to them."""
    if not len(ranks):
        return
    part = part_of(bpe, ranks)
    result = close(part, solve(prior_R, constraints)[ranks])
    LOG.info("every string of %s (%s merges): %s, %d rounds", name, f"{len(ranks):,}", result.ended, result.rounds)
    if result.proved:
        for row in result.constraints.rows:
            constraints.add({int(ranks[rank]): count for rank, count in row})


def part_of(bpe: ByteLevelBpe, ranks: np.ndarray) -> ByteLevelBpe:
    """The BPE of these merges alone (their parts among them); other tokens are as added ones, never produced."""
    merges = bpe.merges_R3[ranks]
    others = frozenset(bpe.merges_R3[:, 2].tolist()) - frozenset(merges[:, 2].tolist())
    return replace(bpe, merges_R3=merges, special_ids=bpe.special_ids | others)
