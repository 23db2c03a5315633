"""Where BPE splits repeats: tables made from the merge list, from which `pattern` makes a pre-tokenizer pattern.

Scores cannot order the pieces of a repeat: `YYY` is `YY`,`Y` for BPE and `Y`,`YY` for Viterbi, at the same score. But
what follows a token border is encoded by BPE as if it stood alone, so a split point at a BPE border is always safe, and
after it the rest of the repeat starts anew. For every unit y that merges with itself BPE is asked about generated
repeats, which tells

* f(j, r): how many y the first token of `y^j r` holds, for every right context r that shares a token with y;
* a(x, k, r): how many y the left context x draws into its own token in `x y^k r`.

Units and contexts are strings of the byte alphabet, one character a byte, as the pattern sees text after ByteLevel.
Contexts begin as single characters of text. `families` finds longer ones; where a text shows that still more of it
decides, `Contexts.extended` looks one byte further; what no text showed is left to the certificate and `ivr verify`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.batch import CHUNK, Batch
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.byte_alphabet import from_alphabet, shortest_period
from ivr.tokenizer.repeats.contexts import BLANK, OTHER, Contexts

NONE = -1
SHORTEST = 3  # units from which a repeat is ambiguous


@dataclass(frozen=True, eq=False)
class RepeatTable:
    """What BPE does to repeats of one unit. Of the contexts that fit the longest holds.

    A left context x that is known beside the right context OTHER only tells nothing of other ones.
    """

    unit: str
    first: dict[str, tuple[int, ...]]  # r -> f(1..K, r), in bytes; NONE: the first token holds r too
    drawn: dict[tuple[str, str], tuple[int, ...]]  # (x, r) -> a(x, 1..K, r), in bytes; NONE: as before

    @property
    def lefts(self) -> list[str]:
        return sorted({x for x, _ in self.drawn})

    @property
    def paired_lefts(self) -> list[str]:
        """Those known beside every right context."""
        return sorted({x for x, r in self.drawn if r != OTHER})

    @property
    def far_first(self) -> tuple[int, int] | None:
        """(K, bytes of the first token) of repeats of K units and more, where it is the same before any context."""
        found = {(len(row), row[-1]) for row in self.first.values()}
        units, size = found.pop()
        return None if found or size <= 0 else (units, size)


def self_merging_units(bpe: ByteLevelBpe) -> list[tuple[str, int]]:
    """(shortest unit, longest repeat of it that is a token) for every token that merges with itself, in merge order.

    A unit that begins within a character stands for that of the same repeat that begins with one, if that is text.
    """
    longest: dict[str, int] = {}
    for left, right, product in bpe.merges_R3.tolist():
        if left == right:
            part = shortest_period(bpe.tokens[left])
            unit = part if text_of(part) else _from_character(part)
            longest[unit] = max(longest.get(unit, 0), len(bpe.tokens[product]) // len(unit))
    return [(unit, length) for unit, length in longest.items() if text_of(unit)]


def _from_character(unit: str) -> str:
    """The same repeat from its last character's beginning on: of `´Ã` `Ã´`."""
    start = next((at for at in reversed(range(len(unit))) if not continues(unit[at])), 0)
    return unit[start:] + unit[:start]


def text_of(alphabet_text: str) -> str:
    """The text these bytes are; empty when they are not whole characters."""
    try:
        return from_alphabet(alphabet_text).decode("utf-8")
    except UnicodeDecodeError:
        return ""


def initial_contexts(bpe: ByteLevelBpe, splitter: PretokenSplitter) -> list[Contexts]:
    """Every self-merging unit whose repeats stay one pretoken, with the characters that share a token with it."""
    found = []
    holding: dict[str, list[str]] = defaultdict(list)
    for token_id, token in enumerate(bpe.tokens):
        if token_id not in bpe.unmade_ids:
            for character in set(token):
                holding[character].append(token)
    for unit, longest in self_merging_units(bpe):
        repeat = text_of(unit) * SHORTEST
        if len(splitter(repeat)) != 1:
            continue
        lefts, rights = _single_characters(unit, [token for end in {unit[0], unit[-1]} for token in holding[end]])
        # a part of a character may belong to one that stays with the repeat, if it is its end (its beginning)
        lefts = {x for x in lefts if (len(splitter(text_of(x) + repeat)) == 1 if text_of(x) else continues(x[0]))}
        rights = {
            r for r in rights if (len(splitter(repeat + 2 * text_of(r))) == 1 if text_of(r) else not continues(r[0]))
        }
        found.append(Contexts(unit, longest, frozenset(lefts), frozenset(rights)))
    return found


@dataclass(frozen=True, eq=False)
class RepeatEncoder:
    """BPE as the tables ask it.

    token_lengths: int64 (V,), bytes of every token.
    """

    encoder: BpeEncoder
    token_lengths: np.ndarray

    @classmethod
    def of(cls, bpe: ByteLevelBpe, encoder: BpeEncoder | None = None) -> "RepeatEncoder":
        """For a BPE, and its encoder where there is one already."""
        return cls(encoder or BpeEncoder(bpe), np.array([len(token) for token in bpe.token_bytes()], np.int64))

    def first_of_repeats(
        self, contexts: Contexts, pairs: Sequence[tuple[str, str]], longest: int | None = None
    ) -> np.ndarray:
        """Where the first border is in `x y^k r`, for some pairs (x, r) and every length k.

        contexts: of them the unit y and its longest token count.
        pairs: contexts left and right; x empty: f of RepeatTable, else a.
        longest: k at most; if not given K, from which on the first token stays the same.

        Returns int64 (pairs, longest), bytes of the repeat before the border; NONE where it lies behind the repeat.
        """
        longest = longest or 2 * contexts.longest + 2 * SHORTEST
        step = max(1, CHUNK // longest)  # pairs at a time: of a large corpus all strings together have gigabytes
        parts = (pairs[at : at + step] for at in range(0, len(pairs), step))
        none = np.zeros((0, longest), np.int64)
        return np.concatenate([none, *(self._first_of_repeats(contexts.unit, part, longest) for part in parts)])

    def _first_of_repeats(self, unit: str, pairs: Sequence[tuple[str, str]], longest: int) -> np.ndarray:
        repeats = [from_alphabet(unit) * k for k in range(1, longest + 1)]
        bytes_of = {text: from_alphabet(text) for text in {text for pair in pairs for text in pair}}
        sides = [(bytes_of[x], bytes_of[r]) for x, r in pairs]
        answers = self.encoder.encode(
            Batch.of([before + repeat + after for before, after in sides for repeat in repeats])
        )
        befores = np.repeat(np.array([len(before) for before, _ in sides], np.int64), longest)
        lengths = np.tile(np.array([len(repeat) for repeat in repeats], np.int64), len(sides))
        taken = _in_first(befores, lengths, unit, self.token_lengths[answers.ids], answers.starts)
        return taken.reshape(-1, longest)


def tabulate(contexts: Contexts, bpe: RepeatEncoder, known: RepeatTable | None = None) -> RepeatTable:
    """Ask BPE about `x y^k r` for these contexts and every k up to K, beyond which the first token stays the same.

    known: a table of fewer contexts, not to be asked again.
    """
    rights = [OTHER, *sorted(contexts.rights)]
    every_right = [OTHER, *sorted(contexts.rights | contexts.far_rights)]
    pairs = [(x, r) for x in ["", *sorted(contexts.lefts)] for r in (every_right if x in ("", BLANK) else rights)]
    pairs += [(x, OTHER) for x in sorted(contexts.far_lefts - contexts.lefts)]
    rows = {**{("", r): row for r, row in known.first.items()}, **known.drawn} if known else {}
    new = [pair for pair in pairs if pair not in rows]
    counts = bpe.first_of_repeats(contexts, new).tolist() if new else []
    for row in counts:
        if row[-1] == len(row) * len(contexts.unit):
            row[-1] = NONE  # no border between characters, however long the repeat is
    known_rows = {row: row for row in rows.values()}  # most pairs have the answers of others
    for pair, row in zip(new, map(tuple, counts), strict=True):
        rows[pair] = known_rows.setdefault(row, row)
    return RepeatTable(
        contexts.unit,
        first={r: rows[x, r] for x, r in pairs if not x},
        drawn={(x, r): rows[x, r] for x, r in pairs if x},
    )


def _in_first(
    befores: np.ndarray, repeats: np.ndarray, unit: str, lengths: np.ndarray, starts: np.ndarray
) -> np.ndarray:
    """Bytes of each repeat in its first token (after some bytes: in the token of the last of them); see RepeatTable.

    A piece ends where a character does: where a token ends within one, those behind it are counted too, up to the first
    that does not. All int64: `befores`, `repeats` (n,) bytes before the repeat and of it; `lengths` of all tokens of
    all answers, of which row n has `starts[n]:starts[n + 1]`.
    """
    begins_U = np.array([byte & 0xC0 != 0x80 for byte in from_alphabet(unit)])
    ends = np.concatenate([[0], np.cumsum(lengths)])
    base = ends[starts[:-1]]
    places = np.searchsorted(ends, base + np.maximum(befores, 1))
    while True:
        taken = ends[places] - base - befores
        within = (taken <= repeats) & ~begins_U[taken % len(begins_U)]
        if not within.any():
            return np.where(taken <= repeats, taken, NONE)
        places = places + within


def _single_characters(unit: str, tokens: Iterable[str]) -> tuple[set[str], set[str]]:
    """Characters (or what a token holds of them) right before, and right after, the unit inside some token.

    Beside a unit of several bytes also those that a token holds with its beginning (before) or its end (after) alone.
    """
    lefts, rights = set(), set()
    for token in tokens:
        place = token.find(unit)
        while place >= 0:
            end = place + len(unit)
            if place > 0:
                lefts.add(_last_character(token[:place]))
            if end < len(token):
                rights.add(_first_character(token[end:]))
            place = token.find(unit, place + 1)
        for size in range(1, min(len(unit), len(token))):
            if token.endswith(unit[:size]):
                lefts.add(_last_character(token[:-size]))
            if token.startswith(unit[-size:]):
                rights.add(_first_character(token[size:]))
    return (lefts - {unit}, rights - {unit}) if len(unit) == 1 else (lefts, rights)


def continues(alphabet_character: str) -> bool:
    """Whether this byte does not begin a character."""
    return 0x80 <= from_alphabet(alphabet_character)[0] < 0xC0


def _last_character(text: str) -> str:
    start = len(text) - 1
    while start > 0 and continues(text[start]):
        start -= 1
    return text[start:]


def _first_character(text: str) -> str:
    end = 1
    while end < len(text) and continues(text[end]):
        end += 1
    return text[:end]
