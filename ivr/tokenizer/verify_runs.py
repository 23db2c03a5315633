"""Runs of one unit, alone and beside every kind of neighbour: where a BPE segmentation depends on order, not on scores.

Units are the 256 byte symbols and, where the reference is BPE, every unit whose repetition is a merge of a token with
itself. A unit that repeats a shorter one (`----`) is that one's run and not tried again. A neighbour is a character:
all of ASCII, one character of each class for every last (left) or first (right) byte of the other ones, and some more.
Left, run and right must make one pretoken of the reference's pre-tokenizer.
"""

import json
import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from typing import Any

from ivr.console import Progress
from ivr.encoding.byte_alphabet import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE, from_alphabet, readable
from ivr.tokenizer.pair import Pair, Workers

BOTH_SIDES = 256  # pairs of neighbours tried for a unit, drawn where there are more
STRINGS_AT_ONCE = 5_000
FAMILIES_PER_UNIT = 1_000  # at most this many of a unit are described; all are counted
FAMILIES_LATER = 20  # ... and this many once there are ten times as many as a report lists
MORE_CHARACTERS = "éßяжλא中の가ㅋ한€…–—’“•█─★😀\u00a0\u200b\u3000٣½²ÃÂÍÛ\ufffd"
SCANNED = (  # code points
    range(0x80, 0xD800),
    range(0xE000, 0x10000),
    range(0x1F000, 0x1FB00),
    range(0x20000, 0x20100),
    range(0xF0000, 0xF0100),
    range(0x100000, 0x100100),
)


@dataclass(frozen=True)
class RunTask:
    """All runs of one unit (byte alphabet) up to `max_length` repetitions."""

    unit: str
    max_length: int
    seed: int
    lefts: list[str]
    rights: list[str]


@dataclass
class RunOutcome:
    """What the runs of one unit showed. A family is (unit, left, right) with the lengths that differ."""

    unit: str
    is_text: bool = True
    strings: int = 0
    mismatched: int = 0
    contexts: int = 0  # (left, right) tried, none at all included
    both_sides_possible: int = 0
    both_sides_tried: int = 0
    num_families: int = 0
    families: list[dict[str, Any]] = field(default_factory=list)


def run_units(reference_json: str) -> list[str]:
    """The units, in the byte alphabet: bytes first, then longer ones in order of their merges."""
    units = dict.fromkeys(BYTE_TO_CHARACTER.values())
    model = json.loads(reference_json)["model"]
    for merge in model["merges"] if model["type"] == "BPE" else ():
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        if left == right and all(symbol in CHARACTER_TO_BYTE for symbol in left):
            units[_shortest_unit(left)] = None
    return list(units)


def _shortest_unit(text: str) -> str:
    """`"hahaha"` -> `"ha"`."""
    return text[: (text + text).index(text, 1)]


def neighbours() -> tuple[list[str], list[str]]:
    """(left, right) characters to put beside a run."""
    left: dict[tuple[int, str], str] = {}
    right: dict[tuple[int, str], str] = {}
    for code in chain(*SCANNED):
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Cn":
            continue  # assigned in another version of Unicode, perhaps
        kind = "blank" if character.isspace() else category[0]
        data = character.encode()
        left.setdefault((data[-1], kind), character)
        right.setdefault((data[0], kind), character)
    ascii_characters = list(map(chr, range(128)))
    return (
        list(dict.fromkeys([*ascii_characters, *left.values(), *MORE_CHARACTERS])),
        list(dict.fromkeys([*ascii_characters, *right.values(), *MORE_CHARACTERS])),
    )


def check_runs(pair: Pair, task: RunTask) -> RunOutcome:
    """Try all runs of one unit."""
    outcome = RunOutcome(task.unit)
    try:
        unit = from_alphabet(task.unit).decode()
    except UnicodeDecodeError:
        outcome.is_text = False  # no text holds such a run: the models are asked directly, without neighbours
        strings = [task.unit * length for length in range(1, task.max_length + 1)]
        ours, theirs = pair.encode_symbols(strings)
        lengths = [n for n, (one, other) in enumerate(zip(ours, theirs, strict=True), 1) if one != other]
        outcome.strings, outcome.contexts = len(strings), 1
        if lengths:
            first = lengths[0] - 1
            _add_family(outcome, task.unit, ("", ""), lengths, pair.segmentations(ours[first], theirs[first]))
        return outcome
    contexts = list(_contexts(pair, unit, task, outcome))
    # lengths that are one pretoken: from three on, more of the same changes nothing
    strings_of = [
        (context, [n for n in range(1, task.max_length + 1) if fits[min(n, 3) - 1]]) for context, fits in contexts
    ]
    outcome.contexts = len(contexts)
    per_batch = max(1, STRINGS_AT_ONCE // task.max_length)
    for begin in range(0, len(strings_of), per_batch):
        _compare(pair, unit, strings_of[begin : begin + per_batch], outcome)
    return outcome


def _contexts(
    pair: Pair, unit: str, task: RunTask, outcome: RunOutcome
) -> Iterator[tuple[tuple[str, str], tuple[bool, ...]]]:
    """((left, right), whether runs of 1, 2, and 3 or more between them are one pretoken)."""

    def fits(left: str, right: str) -> tuple[bool, ...]:
        # beside other than ASCII the length decides nothing: contractions and the blank in front are ASCII
        lengths = (1, 2, 3) if (left + right).isascii() else (3, 3, 3)
        found = {length: len(pair.pretokens(left + unit * length + right)) == 1 for length in set(lengths)}
        return tuple(found[length] for length in lengths)

    alone = ("", "")
    yield alone, fits(*alone)
    left_fits = {left: found for left in task.lefts if any(found := fits(left, ""))}
    right_fits = {right: found for right in task.rights if any(found := fits("", right))}
    yield from (((left, ""), found) for left, found in left_fits.items())
    yield from ((("", right), found) for right, found in right_fits.items())
    pairs = list(product(left_fits, right_fits))
    outcome.both_sides_possible = len(pairs)
    if len(pairs) > BOTH_SIDES:
        pairs = random.Random(f"{task.seed}/{task.unit}").sample(pairs, BOTH_SIDES)
    for left, right in pairs:
        found = fits(left, right)
        if any(found):
            outcome.both_sides_tried += 1
            yield (left, right), found


def _compare(pair: Pair, unit: str, batch: Sequence[tuple[tuple[str, str], list[int]]], outcome: RunOutcome) -> None:
    texts = [left + unit * length + right for (left, right), lengths in batch for length in lengths]
    encoded = iter(zip(*pair.encode(texts), strict=True))
    outcome.strings += len(texts)
    for context, lengths in batch:
        wrong: list[int] = []
        example: dict[str, Any] = {}
        for length in lengths:
            ours, theirs = next(encoded)
            if ours != theirs:
                example = example or pair.segmentations(ours, theirs)
                wrong.append(length)
        if wrong:
            _add_family(outcome, unit, context, wrong, example)


def _add_family(
    outcome: RunOutcome, unit: str, context: tuple[str, str], lengths: list[int], example: dict[str, Any]
) -> None:
    outcome.mismatched += len(lengths)
    outcome.num_families += 1
    if len(outcome.families) < FAMILIES_PER_UNIT:
        left, right = context
        row = {"unit": unit, "left": left, "right": right, "lengths": ranges(lengths), "mismatches": len(lengths)}
        outcome.families.append({**row, "example": {"text": left + unit * lengths[0] + right, **example}})


def ranges(numbers: Sequence[int]) -> str:
    """Rising numbers, shortened: `[3, 5, 6, 7]` -> `"3,5-7"`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def compare_runs(workers: Workers, reference_json: str, max_length: int, seed: int, keep: int) -> dict[str, Any]:
    """Try the runs of all units; returns the part of the report that says so."""
    units = run_units(reference_json) if max_length else []
    outcomes: list[RunOutcome] = []
    described = 0
    beside = neighbours()
    tasks = [RunTask(unit, max_length, seed, *beside) for unit in units]
    with Progress("runs", len(units), "units") as bar:
        for outcome in workers.map(check_runs, tasks):
            described += len(outcome.families)
            if described > 10 * keep:
                del outcome.families[FAMILIES_LATER:]
            outcomes.append(outcome)
            bar.update()
    return {
        "max_length": max_length,
        "units": sum(outcome.is_text for outcome in outcomes),
        "units_that_are_no_text": sum(not outcome.is_text for outcome in outcomes),
        "strings": sum(outcome.strings for outcome in outcomes),
        "mismatched": sum(outcome.mismatched for outcome in outcomes),
        "contexts": sum(outcome.contexts for outcome in outcomes),
        "both_sides_possible": sum(outcome.both_sides_possible for outcome in outcomes),
        "both_sides_tried": sum(outcome.both_sides_tried for outcome in outcomes),
        "mismatched_families": sum(outcome.num_families for outcome in outcomes),
        "units_with_mismatches": {
            readable(outcome.unit): {"strings": outcome.strings, "mismatched": outcome.mismatched}
            for outcome in outcomes
            if outcome.mismatched
        },
        "families": _some_of_each([outcome.families for outcome in outcomes], keep),
    }


def _some_of_each(lists: Sequence[list[dict[str, Any]]], keep: int) -> list[dict[str, Any]]:
    """All rows, or where there are too many the first few of every list, evenly; in their order."""
    per_list = [0] * len(lists)
    for depth in range(max(map(len, lists), default=0)):
        for place, rows in enumerate(lists):
            if len(rows) > depth and sum(per_list) < keep:
                per_list[place] += 1
        if sum(per_list) >= keep:
            break
    return [row for rows, count in zip(lists, per_list, strict=True) for row in rows[:count]]
