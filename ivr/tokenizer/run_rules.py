"""Cutting runs where BPE cuts them: a pre-tokenizer pattern made from the merge list.

Scores cannot order the pieces of a run: `YYY` is `YY`,`Y` for BPE and `Y`,`YY` for Viterbi, at the same score. But what
follows a token border is encoded by BPE as if it stood alone, so a cut at a BPE border is always safe, and after it the
rest of the run starts anew. For every unit y that merges with itself this module tabulates, by running BPE on generated
runs,

* f(j, r): how many y the first token of `y^j r` holds, for every right neighbour r that shares a token with y;
* a(x, k, r): how many y the left neighbour x draws into its own token in `x y^k r`;

and writes both as alternatives of the pre-tokenizer's own pattern. A word without three equal units in a row takes
the first alternative of its class and costs nothing more. Neighbours are single characters: a run whose left
neighbour behaves otherwise in a longer context is left to the certificate.
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
class CharacterClass:
    """One alternative of GPT-2's pattern: what its pretokens are made of."""

    name: str
    pattern: str  # one character
    lead: str  # an optional blank in front, where the pattern takes one
    end: str  # zero-width: the pretoken ends here
    inside: str  # zero-width after a right neighbour: it belongs to the pretoken


CLASSES = (
    CharacterClass("letters", r"\p{L}", " ?", "", ""),
    CharacterClass("numbers", r"\p{N}", " ?", "", ""),
    CharacterClass("others", r"[^\s\p{L}\p{N}]", " ?", "", ""),
    # of blanks before a word the last one belongs to the word
    CharacterClass("blanks", r"\s", "", r"(?=\s\S|\z)", r"(?=\s|\z)"),
)


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


# --- from tables to a pattern ----------------------------------------------------------------------------------


def cutting_pattern(tables: Sequence[RunTable], splitter: PretokenSplitter) -> str:
    """GPT-2's pattern, cutting the runs of these tables where BPE does (Oniguruma syntax, on text)."""
    # after a cut inside punctuation an apostrophe starts a piece; a contraction never follows punctuation
    alternatives = [r"(?<![^\s\p{L}\p{N}])'(?:s|t|re|ve|m|ll|d)"]
    for kind in CLASSES:
        mine = [table for table in tables if _class_of(table.unit, splitter) == kind.name]
        alternatives += _class_alternatives(kind, mine)
    return "|".join(alternatives)


def _class_of(unit: str, splitter: PretokenSplitter) -> str:
    if len(splitter(unit * SHORTEST)) != 1:
        return ""  # the pattern parts it by itself
    if unit[0].isspace():
        return "blanks" if unit.isspace() else ""
    probe = unit[0]
    if splitter("a" + probe) == ["a" + probe]:
        return "letters"
    return "numbers" if splitter("1" + probe) == ["1" + probe] else "others"


def _class_alternatives(kind: CharacterClass, tables: Sequence[RunTable]) -> list[str]:
    plain = [r"\s+(?!\S)", r"\s+"] if kind.name == "blanks" else [f"{kind.lead}{kind.pattern}+"]
    if not tables:
        return plain
    long_units = [_quote(table.unit) for table in tables if len(table.unit) > 1]
    # no three equal characters in a row, no three equal longer units: the whole word at once
    no_long = "".join(f"(?!(?:{unit}){{{SHORTEST}}})" for unit in long_units)
    word = f"{kind.lead}(?:{no_long}({kind.pattern})(?!\\k<-1>{{2}}))++"
    fast = f"{word}(?!{kind.pattern})" if kind.name != "blanks" else ""
    at_start = "|".join(_starts(kind, table) for table in tables)
    later = "|".join(_later(kind, table) for table in tables)
    result = [fast] if fast else []
    # something stands before the run in this piece: an empty piece would be skipped over
    before = f"(?: {kind.pattern}*?|{kind.pattern}+?)" if kind.lead else f"{kind.pattern}+?"
    result += [f"(?:{at_start})", f"{before}(?:{later})", *plain]
    return result


def _starts(kind: CharacterClass, table: RunTable) -> str:
    """A run that starts where the piece starts: its first token."""
    y = _group(table.unit)
    options = []
    for rights, counts in _by_value(table.first).items():
        after = _right(kind, table, rights)
        options += [_cut(table.unit, *piece, after) for piece in _ranges(counts) if piece[2] > 0]
    return f"(?={y}{{{SHORTEST}}})(?:{'|'.join(options) or '(?!)'})"


def _later(kind: CharacterClass, table: RunTable) -> str:
    """A run after something else: the piece ends before it, or after what its left neighbour draws in."""
    y = _group(table.unit)
    options = []
    by_left: dict[tuple[tuple[str, tuple[int, ...]], ...], list[str]] = {}
    for x in table.lefts:
        row = tuple((r, table.drawn[x, r]) for r in sorted(table.first))
        by_left.setdefault(row, []).append(x)
    for row, lefts in by_left.items():
        inner = []
        for rights, counts in _by_value(dict(row)).items():
            after = _right(kind, table, rights)
            inner += [_cut(table.unit, *piece, after) for piece in _ranges(counts) if piece[2] != NONE]
        if inner:
            options.append(f"(?:{_left(table, lefts)})(?:{'|'.join(inner)})")
    single = [x for x in table.lefts if len(x) == 1]
    inert = f"(?<!{_set(single)})" if single else ""
    options.append(f"(?<=.){inert}(?={_starts(kind, table)})")
    return f"(?<!{_quote(table.unit)})(?={y}{{{SHORTEST}}})(?:{'|'.join(options)})"


def _left(table: RunTable, lefts: Sequence[str]) -> str:
    """Zero-width: the longest left neighbour in the table that fits is one of these."""
    options = []
    by_longer: dict[tuple[str, ...], list[str]] = {}
    for x in lefts:
        longer = tuple(z[: len(z) - len(x)] for z in table.lefts if z != x and z.endswith(x))
        if len(x) == 1 and not longer:
            by_longer.setdefault((), []).append(x)
        else:
            refused = "".join(f"(?<!{_quote(z + x)})" for z in longer)
            options.append(f"(?<={_quote(x)}){refused}")
    if by_longer:
        options.append(f"(?<={_set(by_longer[()])})")
    return "|".join(options)


def _by_value(rows: dict[str, tuple[int, ...]]) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Right neighbours that behave alike, together."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for r, counts in rows.items():
        groups.setdefault(counts, []).append(r)
    return {tuple(rights): counts for counts, rights in groups.items()}


def _ranges(counts: tuple[int, ...]) -> list[tuple[int, int | None, int]]:
    """(low, high, count) of equal neighbours among lengths >= SHORTEST; the last one has no upper end."""
    found: list[tuple[int, int | None, int]] = []
    for length in range(SHORTEST, len(counts) + 1):
        count = counts[length - 1]
        if found and found[-1][2] == count:
            found[-1] = (found[-1][0], length, count)
        else:
            found.append((length, length, count))
    low, _, count = found[-1]
    found[-1] = (low, None, count)
    return found


def _right(kind: CharacterClass, table: RunTable, rights: tuple[str, ...]) -> str:
    """Zero-width: the longest right neighbour in the table that fits is one of these."""
    options, plain = [], []
    for r in rights:
        longer = [z[len(r) :] for z in table.first if z != r and r and z.startswith(r)]
        if len(r) == 1 and not longer:
            plain.append(r)
        elif r:
            refused = "".join(f"(?!{_quote(z)}{kind.inside})" for z in longer)
            options.append(f"{_quote(r)}{kind.inside}{refused}")
    if plain:
        options.append(f"{_set(plain)}{kind.inside}")
    if OTHER in rights:
        single = [r for r in table.first if len(r) == 1]
        not_others = f"(?!{_set(single)}{kind.inside})" if single else ""
        not_unit = f"(?!{_quote(table.unit)}{kind.inside})"
        options.append(f"{kind.end}|{not_unit}{not_others}{kind.inside}" if kind.end else f"{not_unit}{not_others}")
    # a right neighbour may begin like the unit: then it is none while the run goes on
    run_ends = f"(?!{_quote(table.unit)})" if len(table.unit) > 1 else ""
    return f"{run_ends}(?:{'|'.join(options)})"


def _cut(unit: str, low: int, high: int | None, characters: int, after: str) -> str:
    """The first `characters` of a run of `low` to `high` units (None: any more) that ends before `after`."""
    y = _group(unit)
    whole, part = divmod(characters, len(unit))
    begun = whole + bool(part)
    # possessive, so that the neighbour is the run's; but the last blank before a word is not the run's
    more = "*" if unit.isspace() else "*+"
    rest = f"{y}{{{low - begun}}}{y}{more}" if high is None else f"{y}{{{low - begun},{high - begun}}}"
    tail = _quote(unit[part:]) if part else ""
    return f"{y}{{{whole}}}{_quote(unit[:part])}(?={tail}{rest}{after})"


def _group(unit: str) -> str:
    return _quote(unit) if len(unit) == 1 else f"(?:{_quote(unit)})"


def _quote(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)


def _set(characters: Sequence[str]) -> str:
    return "[" + "".join(_quote(character) for character in sorted(characters)) + "]"
