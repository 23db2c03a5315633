"""Why two segmentations differ: what no scores can tell apart, or what the fit left. Needs only the reference's file.

Every token of a BPE is a byte or the product of a merge; n_r counts how often a segmentation uses merge r in the trees
of its tokens. BPE's vector (n_0, n_1, ...) is lexicographically the largest of all segmentations but in runs of a token
that merges with itself. So, between two borders that both segmentations have, with d = n(BPE) - n(other):

* d = 0: a tie. Scores that add up merges are equal.
* the lowest rank with d != 0 has d < 0: a run inversion. Scores that respect the order of merges prefer the other.
* it has d > 0: scores exist that tell them apart, and these do not.

A token that spans several pretokens of the reference (a superword) is none of these: no such token is BPE's.
"""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from ivr.encoding.merge_order import own_merges

TIE = "tie"
INVERSION = "run inversion"
SCORE = "score"
SUPERWORD = "superword"  # a token of the tokenizer spans several pretokens of the reference
CUT = "cut"  # the tokenizer's pre-tokenizer parts a token of the reference
UNKNOWN = "unknown"  # the reference is no BPE, or the difference lies not in segmentation
SCORES_CANNOT = frozenset({TIE, INVERSION})
MEANING = {
    TIE: "the same merges at another place of a run: no sum over merges can tell the two apart",
    INVERSION: "inside a run the other segmentation has the larger vector of merge counts: ordered scores prefer it",
    SCORE: "scores could tell the two apart, and these do not",
    SUPERWORD: "one token of the tokenizer spans several pretokens of the reference: a superword that was swapped in",
    CUT: "the pre-tokenizer cuts inside a token of the reference",
    UNKNOWN: "the reference is no BPE, or the texts split differently",
}


class MergeTrees:
    """Merge counts of the tokens of one BPE, from the text of its tokenizer.json; empty for another model."""

    def __init__(self, reference_json: str) -> None:
        model = json.loads(reference_json)["model"]
        merges = model["merges"] if model["type"] == "BPE" else ()
        pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
        tokens = [*dict.fromkeys(part for left, right in pairs for part in (*left, *right, left, right, left + right))]
        numbers = {token: number for number, token in enumerate(tokens)}
        made_by = own_merges(tokens, [(numbers[left], numbers[right], numbers[left + right]) for left, right in pairs])
        # token -> (rank, left, right)
        self._made = {tokens[product]: (rank, *pairs[rank]) for product, rank in made_by.items()}

    def counts(self, tokens: Sequence[str]) -> Counter[int]:
        """merge rank -> how often it is used in the trees of these tokens."""
        found: Counter[int] = Counter()
        waiting = list(tokens)
        while waiting:
            if (made := self._made.get(waiting.pop())) is not None:
                found[made[0]] += 1
                waiting += made[1:]
        return found

    def cause(self, ours: Sequence[str], theirs: Sequence[str], pieces: Sequence[str]) -> str:
        """Why `ours` is not `theirs`, two lists of tokens that join to one string; `pieces`: how `ours` is cut first.

        Of several places the worst counts: CUT, then SCORE, INVERSION, TIE.
        """
        if not self._made or "".join(ours) != "".join(theirs):
            return UNKNOWN
        if "".join(pieces) == "".join(ours) and not _borders(pieces) <= _borders(theirs):
            return CUT
        found = {self._of_region(*region) for region in differing_regions(ours, theirs)}
        return next((cause for cause in (SCORE, INVERSION, TIE) if cause in found), UNKNOWN)

    def _of_region(self, ours: Sequence[str], theirs: Sequence[str]) -> str:
        difference = self.counts(theirs)
        difference.subtract(self.counts(ours))
        ranks = [rank for rank, count in difference.items() if count]
        if not ranks:
            return TIE
        return SCORE if difference[min(ranks)] > 0 else INVERSION


def differing_regions(first: Sequence[str], second: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """The parts of two segmentations of one string that differ, cut at every border that both have."""
    regions: list[tuple[list[str], list[str]]] = []
    a: list[str] = []
    b: list[str] = []
    left, right = iter(first), iter(second)
    size_a = size_b = 0
    while True:
        if size_a == size_b:
            if a != b:
                regions.append((a, b))
            a, b, size_a, size_b = [], [], 0, 0
        # the shorter side takes its next token
        side, tokens = (a, left) if size_a <= size_b else (b, right)
        token = next(tokens, None)
        if token is None:
            return regions
        side.append(token)
        if side is a:
            size_a += len(token)
        else:
            size_b += len(token)


def _borders(tokens: Sequence[str]) -> set[int]:
    return set(accumulate(map(len, tokens)))
