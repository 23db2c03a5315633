"""Runs of one unit, alone and beside every neighbour: where a BPE segmentation depends on order, not on scores.

Units are the 256 byte symbols and, where the reference is BPE, every unit whose repetition is a merge of a token with
itself. A unit that repeats a shorter one (`----`) is that one's run and not tried again. Beside a run stand

* on one side, at every length: every character that shares a token with the unit, and one of each kind that does not;
* on one side, to length SPOT_LENGTH: all of ASCII and some hundred more (`contexts` says why these are alike);
* on both sides, every pair of the first sort: at every length to `period_bound`, and beyond at every length with every
  left and with every right one, though not with every pair unless asked for: they take turns (for a unit with few
  pairs, every length). Where a token holds a part of a character, thousands hold that part: of more than MOST_PAIRS
  pairs then so many are tried, every left and every right one among them.

Left, run and right must make one pretoken of the reference's pre-tokenizer. Runs of blanks also stand before a letter,
a number and a sign, where they lose their last one; which of these it is decides nothing else of the run.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ivr.console import Progress
from ivr.encoding.byte_alphabet import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE, from_alphabet, readable, shortest_period
from ivr.tokenizer.verify.contexts import TokenIndex, joined_neighbours, neighbours, one_of_each_kind
from ivr.tokenizer.verify.pair import Pair, Workers

STRINGS_AT_ONCE = 5_000
SPOT_LENGTH = 12
TURNS = 32
MOST_PAIRS = 20_000  # of one unit
QUICK_BETWEEN, QUICK_PAIRS = 4, 2_000  # for the certificate: units between two neighbours, and MOST_PAIRS (GPT-2: all)
EVERY_LENGTH = "every length"
IN_TURNS = (
    "every length to 2 x the longest run of the unit in a token + 16, "
    f"and beyond every {TURNS}th at least, so that every length stands beside every left and every right one"
)
WORDS = "a1!"  # begin what stands behind runs of blanks
GROUPS_PER_UNIT = 1_000  # at most this many families of a unit are described, with so many contexts each
CONTEXTS_PER_GROUP = 5_000


@dataclass(frozen=True)
class RunTask:
    """All runs of one unit (byte alphabet) up to `max_length` repetitions."""

    unit: str
    max_length: int
    lefts: list[str]  # to be put on one side, beside those that share a token with the unit
    rights: list[str]
    turns: int = TURNS  # at most so many pairs of neighbours share the lengths beyond `period_bound`
    longest_between: int | None = None  # between two neighbours; None: as long as the others
    most_pairs: int = MOST_PAIRS


@dataclass
class RunOutcome:
    """What the runs of one unit showed. A family: all contexts in which the same lengths differ for the same cause."""

    unit: str
    is_text: bool = True
    strings: int = 0
    mismatched: int = 0
    contexts: int = 0  # (left, right) tried, none at all included
    both_sides: int = 0  # ... of these, with a neighbour on either side
    pairs_left_out: int = 0
    mismatched_contexts: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    families: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # (cause, lengths) -> description


def run_units(reference_json: str) -> list[str]:
    """The units, in the byte alphabet: bytes first, then longer ones in order of their merges."""
    units = dict.fromkeys(BYTE_TO_CHARACTER.values())
    model = json.loads(reference_json)["model"]
    for merge in model["merges"] if model["type"] == "BPE" else ():
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        if left == right and all(symbol in CHARACTER_TO_BYTE for symbol in left):
            units[shortest_period(left)] = None
    return list(units)


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
            example = pair.mismatch(strings[first], ours[first], theirs[first], symbols=True)
            _add_family(outcome, task.unit, ("", ""), lengths, example)
        return outcome
    # lengths that are one pretoken: from three on, more of the same changes nothing
    strings_of = [
        (context, [n for n in lengths if fits[min(n, 3) - 1]])
        for context, fits, lengths in _contexts(pair, unit, task, outcome)
    ]
    outcome.contexts = len(strings_of)
    batch: list[tuple[tuple[str, str], list[int]]] = []
    for row in strings_of:
        batch.append(row)
        if sum(len(lengths) for _, lengths in batch) >= STRINGS_AT_ONCE:
            _compare(pair, unit, batch, outcome)
            batch = []
    _compare(pair, unit, batch, outcome)
    return outcome


def period_bound(unit: str, tokens: TokenIndex) -> int:
    """Units beyond which a run, as BPE takes it, only repeats: twice the longest run inside a token, and some."""
    return 2 * tokens.longest_run(unit.encode()) + 16


def _contexts(
    pair: Pair, unit: str, task: RunTask, outcome: RunOutcome
) -> Iterator[tuple[tuple[str, str], tuple[bool, ...], Sequence[int]]]:
    """((left, right), whether runs of 1, 2, and 3 or more between them are one pretoken, the lengths to try)."""
    tokens = _token_index(pair)
    every, spot = range(1, task.max_length + 1), range(1, min(task.max_length, SPOT_LENGTH) + 1)

    def fits(left: str, right: str) -> tuple[bool, ...]:
        # beside other than ASCII the length decides nothing: contractions and the blank in front are ASCII
        lengths = (1, 2, 3) if (left + right).isascii() else (3, 3, 3)
        found = {length: _one_pretoken(pair, left, unit * length, right) for length in set(lengths)}
        return tuple(found[length] for length in lengths)

    def fitting(characters: Sequence[str], left: bool) -> dict[str, tuple[bool, ...]]:
        others = (character for character in characters if character != unit)  # the unit itself makes a longer run
        each = ((character, fits(character, "") if left else fits("", character)) for character in others)
        return {character: found for character, found in each if any(found)}

    yield ("", ""), fits("", ""), every
    joined_lefts, joined_rights = joined_neighbours(unit, tokens)
    lefts = fitting(list(dict.fromkeys([*joined_lefts, *task.lefts])), left=True)
    words = WORDS if unit.isspace() else ""
    rights = fitting(list(dict.fromkeys([*joined_rights, *words, *task.rights])), left=False)
    close_lefts, close_rights = _close(lefts, joined_lefts), _close(rights, joined_rights)
    near_lefts, near_rights = set(close_lefts), set(close_rights)
    for left, found in lefts.items():
        yield (left, ""), found, every if left in near_lefts else spot
    for right, found in rights.items():
        yield ("", right), found, every if right in near_rights else spot
    longest_between = min(task.max_length, task.longest_between or task.max_length)
    bound = min(longest_between, period_bound(unit, tokens))
    fewer, left_out = min(len(close_lefts), len(close_rights)), len(close_lefts) * len(close_rights)
    step = 1 if task.turns == 1 else max(1, min(-(-left_out // task.most_pairs), fewer))
    turns = max(1, min(task.turns, fewer // step))
    for i, left in enumerate(close_lefts):
        for j in range(-i % step, len(close_rights), step):
            left_out -= 1
            right = close_rights[j]
            found = fits(left, right)
            if any(found):
                outcome.both_sides += 1
                longer = range(bound + 1 + (i + j) // step % turns, longest_between + 1, turns)
                yield (left, right), found, [*range(1, bound + 1), *longer]
    outcome.pairs_left_out = left_out


def _one_pretoken(pair: Pair, left: str, run: str, right: str) -> bool:
    (_, (_, end)), *others = pair.pretokens(left + run + right)
    return not others or (run.isspace() and right != "" and right in WORDS and end == len(left + run) - 1)


def _close(fitting: Iterable[str], joined: Sequence[str]) -> list[str]:
    """Of the neighbours that fit, those that share a token with the unit, and one of each kind of the others."""
    known = set(joined)
    return [c for c in fitting if c in known] + one_of_each_kind([c for c in fitting if c not in known])


def _token_index(pair: Pair) -> TokenIndex:
    if "token_index" not in pair.kept:
        added = set(pair.theirs.get_added_tokens_decoder())
        tokens = [token for token, token_id in pair.theirs.get_vocab().items() if token_id not in added]
        texts = [from_alphabet(token) for token in tokens if all(symbol in CHARACTER_TO_BYTE for symbol in token)]
        pair.kept["token_index"] = TokenIndex(texts)
    return cast(TokenIndex, pair.kept["token_index"])


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
                example = example or pair.mismatch(context[0] + unit * length + context[1], ours, theirs)
                wrong.append(length)
        if wrong:
            _add_family(outcome, unit, context, wrong, example)


def _add_family(
    outcome: RunOutcome, unit: str, context: tuple[str, str], lengths: list[int], example: dict[str, Any]
) -> None:
    outcome.mismatched += len(lengths)
    outcome.mismatched_contexts += 1
    outcome.causes[example["cause"]] += len(lengths)
    key = (example["cause"], ranges(lengths))
    family = outcome.families.get(key)
    if family is None:
        if len(outcome.families) == GROUPS_PER_UNIT:
            return
        text = context[0] + unit * lengths[0] + context[1]
        family = {"unit": unit, "cause": key[0], "lengths": key[1], "mismatches": 0, "num_contexts": 0}
        outcome.families[key] = {**family, "example": {"text": text, **example}, "contexts": []}
        family = outcome.families[key]
    family["mismatches"] += len(lengths)
    family["num_contexts"] += 1
    if len(family["contexts"]) < CONTEXTS_PER_GROUP:
        family["contexts"].append(list(context))


def ranges(numbers: Sequence[int]) -> str:
    """Rising numbers, shortened: `[3, 5, 6, 7]` -> `"3,5-7"`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def compare_runs(
    workers: Workers,
    reference_json: str,
    max_length: int,
    *,
    quick: bool = False,
    every_pair: bool = False,
) -> dict[str, Any]:
    """Try the runs of all units; returns the part of the report that says so.

    `quick`: with neighbours that share a token with the unit only, and between two of them to length QUICK_BETWEEN.
    `every_pair`: no pairs of neighbours take turns.
    """
    units = run_units(reference_json) if max_length else []
    outcomes: list[RunOutcome] = []
    if quick:
        tasks = [RunTask(unit, max_length, [], [], TURNS, QUICK_BETWEEN, QUICK_PAIRS) for unit in units]
    else:
        beside, turns = neighbours(), 1 if every_pair else TURNS
        tasks = [RunTask(unit, max_length, *beside, turns) for unit in units]
    with Progress("repeats", len(units), "units") as bar:
        for outcome in workers.map(check_runs, tasks):
            outcomes.append(outcome)
            bar.update()
    causes = sum((outcome.causes for outcome in outcomes), Counter())
    families = [family for outcome in outcomes for family in outcome.families.values()]
    return {
        "max_length": max_length,
        "units": sum(outcome.is_text for outcome in outcomes),
        "units_that_are_no_text": sum(not outcome.is_text for outcome in outcomes),
        "strings": sum(outcome.strings for outcome in outcomes),
        "mismatched": sum(outcome.mismatched for outcome in outcomes),
        "beside_two_neighbours": f"to length {QUICK_BETWEEN}" if quick else EVERY_LENGTH if every_pair else IN_TURNS,
        "contexts": sum(outcome.contexts for outcome in outcomes),
        "both_sides": sum(outcome.both_sides for outcome in outcomes),
        "pairs_left_out": sum(outcome.pairs_left_out for outcome in outcomes),
        "mismatched_contexts": sum(outcome.mismatched_contexts for outcome in outcomes),
        "causes": dict(sorted(causes.items())),
        "units_with_mismatches": {
            readable(outcome.unit): {"strings": outcome.strings, "mismatched": outcome.mismatched}
            for outcome in outcomes
            if outcome.mismatched
        },
        "families_not_listed": sum(o.mismatched_contexts for o in outcomes) - sum(len(f["contexts"]) for f in families),
        "families": families,
    }
