"""selection_log.md: what was chosen and why, for a reader."""

import re
from collections.abc import Sequence

from ivr.console import printable
from ivr.encoding.byte_alphabet import readable, to_alphabet
from ivr.tokenizer.select.selection import Selection, Swap
from ivr.tokenizer.select.texts import LONGEST

SHOWN = 40


def selection_log(
    selection: Selection, wanted: int, protect_weight: float, rules: dict[str, object], num_in_parts: int = 0
) -> str:
    """The log as Markdown. num_in_parts: pretokens that were counted in parts."""
    swaps = selection.swaps
    saved = selection.tokens_before - selection.tokens_after
    lines = [
        "# Selection of swaps",
        "",
        f"{len(swaps):,} ids get a new string, of {wanted:,} asked for; {selection.candidates:,} were candidates.",
        "",
        "| | before | after | change |",
        "|---|---:|---:|---:|",
        _change("tokens of the corpus", selection.tokens_before, selection.tokens_after),
    ]
    if selection.protected_before:
        lines.append(_change("tokens of the protected text", selection.protected_before, selection.protected_after))
    lines += [
        "",
        f"Tokens saved: {saved:,}. The objective is the corpus's tokens plus {protect_weight:g} times those of the "
        "protected text. Each figure below is a recount under the tokenizer with all other swaps in place.",
        *_in_parts(num_in_parts),
        "",
        "Conditions for a new string: " + ", ".join(f"{name} {value}" for name, value in rules.items()) + ".",
        "",
        f"Ids that leave: {sum(swap.old_count == 0 for swap in swaps):,} are never produced on the corpus, "
        f"{sum(swap.old_count > 0 for swap in swaps):,} are. A negative loss means that the text "
        "gets shorter without the old string.",
        *_superwords(swaps),
        *_idle(swaps),
        "",
        f"## The {min(SHOWN, len(swaps))} swaps that save most",
        "",
        "| id | old | uses | loss | new | uses | saving |",
        "|---:|---|---:|---:|---|---:|---:|",
        *(_row(swap) for swap in swaps[:SHOWN]),
    ]
    if len(swaps) < wanted:
        lines[4:4] = [
            f"Fewer than asked for: no further string saves enough, or no further id is cheap enough "
            f"(the {len(swaps):,}th swap saves {swaps[-1].saved:,.0f})." if swaps else "No string saves enough.",
            "",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _superwords(swaps: Sequence[Swap]) -> list[str]:
    """How many new strings span several pretokens, if any, and what they save."""
    spanning = [swap for swap in swaps if swap.parts]
    if not spanning:
        return []
    saved, every = sum(swap.saved for swap in spanning), sum(swap.saved for swap in swaps)
    return [
        "",
        f"{len(spanning):,} new strings are superwords: they span two to {max(len(swap.parts) for swap in spanning)} "
        f"words or marks. Theirs are {100 * saved / max(every, 1):.0f} % of the savings below.",
    ]


def _idle(swaps: Sequence[Swap]) -> list[str]:
    """Strings for the last ids, if any, that the corpus itself has no use for."""
    idle = sum(swap.saved <= 0 for swap in swaps)
    if not idle:
        return []
    return [
        "",
        f"{idle:,} new strings save nothing on the corpus itself: words seen in one form hold them, which have tokens "
        "of their own. They took the ids that were left, for words not seen; `--min-gain 2` does without.",
    ]


def _change(name: str, before: int, after: int) -> str:
    return (
        f"| {name} | {before:,} | {after:,} | {100 * (after / before - 1):+.2f} % |"
        if before
        else f"| {name} | 0 | 0 | |"
    )


def _row(swap: Swap) -> str:
    return (
        f"| {swap.token_id} | {_code(swap.old)} | {swap.old_count:,} | {swap.lost:,.0f} "
        f"| {_code(swap.new)} | {swap.new_count:,} | {swap.saved:,.0f} |"
    )


def _code(token: bytes) -> str:
    """A token as code in a cell of a Markdown table: on one line, and between more backticks than it has itself."""
    text = printable(readable(to_alphabet(token))).replace("|", "\\|").replace("\n", "\\n").replace("\t", "\\t")
    fence = "`" * (1 + max([1, *(len(run) for run in re.findall("`+", text))]))
    return f"{fence} {text} {fence}"


def _in_parts(number: int) -> list[str]:
    """That the counts of very long pretokens are not the tokenizer's own."""
    if not number:
        return []
    return [
        "",
        f"Not so for {number:,} distinct pretokens of over {LONGEST:,} characters (base64, lines without blanks), "
        f"which are counted in parts of {LONGEST:,}: at a border of two parts the tokenizer may take a token more or "
        "less, and another one.",
    ]
