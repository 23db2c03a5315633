"""Where BPE cuts runs: tables made from the merge list, from which `run_pattern` makes a pre-tokenizer pattern.

Scores cannot order the pieces of a run: `YYY` is `YY`,`Y` for BPE and `Y`,`YY` for Viterbi, at the same score. But what
follows a token border is encoded by BPE as if it stood alone, so a cut at a BPE border is always safe, and after it the
rest of the run starts anew. For every unit y that merges with itself this module tabulates, by running BPE on generated
runs,

* f(j, r): how many y the first token of `y^j r` holds, for every right neighbour r that shares a token with y;
* a(x, k, r): how many y the left neighbour x draws into its own token in `x y^k r`.

Neighbours begin as single characters. Where a text shows that more of it decides, `Contexts.extended` looks one
character further; what no text showed is left to the certificate and to `ivr verify`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.batch import Batch
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.bpe_encoder import BpeEncoder

NONE = -1
SHORTEST = 3  # units from which a run is ambiguous
LONGEST_CONTEXT = 8  # characters of a neighbour
OTHER = ""  # the right neighbour: the end, or any character that shares no token with the unit


@dataclass(frozen=True)
class RunTable:
    """What BPE does to runs of one unit. Neighbours are strings; the longest that fits holds."""

    unit: str
    first: dict[str, tuple[int, ...]]  # r -> f(1..K, r), in characters; NONE: the first token holds r too
    drawn: dict[tuple[str, str], tuple[int, ...]]  # (x, r) -> a(x, 1..K, r), in characters; NONE: as before

    @property
    def lefts(self) -> list[str]:
        return sorted({x for x, _ in self.drawn})


@dataclass(frozen=True)
class Contexts:
    """The neighbours to tabulate for one unit: single characters, longer ones where a text showed need."""

    unit: str
    longest: int  # the longest run that is one token
    lefts: frozenset[str]
    rights: frozenset[str]

    def extended(self, before: str, after: str) -> "Contexts":
        """With one character more of the text before and after a run, where the neighbour shares a token with it."""
        left = _one_longer(self.lefts, before, lambda size: before[len(before) - size :])
        right = _one_longer(self.rights, after, lambda size: after[:size])
        return replace(self, lefts=self.lefts | left, rights=self.rights | right)


def _one_longer(known: frozenset[str], text: str, part: Callable[[int], str]) -> set[str]:
    sizes = [size for size in range(1, len(text) + 1) if part(size) in known]
    if not sizes or sizes[-1] == len(text) or sizes[-1] == LONGEST_CONTEXT:
        return set()
    return {part(sizes[-1] + 1)}


def self_merging_units(bpe: ByteLevelBpe) -> list[tuple[str, int]]:
    """(shortest unit, longest run of it that is a token) for every token that merges with itself, in merge order.

    Units that are not whole characters are left out: their runs are no text.
    """
    tokens = bpe.token_bytes()
    longest: dict[bytes, int] = {}
    for left, right, product in bpe.merges_R3.tolist():
        if left == right:
            unit = _shortest_unit(tokens[left])
            longest[unit] = max(longest.get(unit, 0), len(tokens[product]) // len(unit))
    units = []
    for unit, length in longest.items():
        try:
            units.append((unit.decode("utf-8"), length))
        except UnicodeDecodeError:
            continue
    return units


def _shortest_unit(string: bytes) -> bytes:
    for size in range(1, len(string) + 1):
        if string[:size] * (len(string) // size) == string:
            return string[:size]
    raise AssertionError("every string is a run of itself")


def initial_contexts(bpe: ByteLevelBpe, splitter: PretokenSplitter) -> list[Contexts]:
    """Every self-merging unit whose runs stay one pretoken, with the characters that share a token with it."""
    tokens = bpe.token_bytes()
    found = []
    for unit, longest in self_merging_units(bpe):
        if len(splitter(unit * SHORTEST)) != 1:
            continue
        lefts, rights = _neighbours(unit, tokens)
        lefts = {x for x in lefts if len(splitter(x + unit * SHORTEST)) == 1}
        rights = {r for r in rights if len(splitter(unit * SHORTEST + r + r)) == 1}
        found.append(Contexts(unit, longest, frozenset(lefts), frozenset(rights)))
    return found


def tabulate(contexts: Contexts, tokens: Sequence[bytes], encoder: BpeEncoder) -> RunTable:
    """Run BPE on `x y^k r` for these neighbours and every k up to K, beyond which the first token stays the same."""
    unit, longest = contexts.unit, 2 * contexts.longest + 2 * SHORTEST
    rights = [OTHER, *sorted(contexts.rights)]
    first = {r: tuple(_first_characters("", unit, longest, r, tokens, encoder)) for r in rights}
    drawn = {
        (x, r): tuple(_first_characters(x, unit, longest, r, tokens, encoder))
        for x in sorted(contexts.lefts)
        for r in rights
    }
    return RunTable(unit, first, drawn)


def _neighbours(unit: str, tokens: Iterable[bytes]) -> tuple[set[str], set[str]]:
    """Characters that stand right before, and right after, the unit inside some token."""
    lefts, rights = set(), set()
    for token in tokens:
        try:
            text = token.decode("utf-8")
        except UnicodeDecodeError:
            continue
        place = text.find(unit)
        while place >= 0:
            if place > 0:
                lefts.add(text[place - 1])
            if place + len(unit) < len(text):
                rights.add(text[place + len(unit)])
            place = text.find(unit, place + 1)
    return (lefts - {unit}, rights - {unit}) if len(unit) == 1 else (lefts, rights)


def _first_characters(
    x: str, unit: str, longest: int, r: str, tokens: Sequence[bytes], encoder: BpeEncoder
) -> list[int]:
    """For k = 1..longest: characters of the run in its first token (after x: in x's last token); see RunTable."""
    before = len(x.encode())
    strings = [(x + unit * k + r).encode() for k in range(1, longest + 1)]
    answers = encoder.encode(Batch.of(strings), threads=1)
    found = []
    for k, string in enumerate(strings, 1):
        end = 0
        for token_id in answers.row(k - 1).tolist():
            end += len(tokens[token_id])
            if end > before or (x and end == before):
                break
        try:
            characters = len(string[before:end].decode("utf-8"))
        except UnicodeDecodeError:
            characters = len(unit) * k + 1  # a border inside a character: nothing that a cut could say
        found.append(characters if characters <= len(unit) * k else NONE)
    return found
