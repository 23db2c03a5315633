"""What `ivr verify` says: one paragraph, and the first differences side by side."""

from typing import Any

from ivr.console import say
from ivr.tokenizer.verify.added_tokens import differences

SHOWN = 5  # differences printed, of each kind


def summary(report: dict[str, Any]) -> str:
    """One paragraph: what was compared and what differs."""
    ids, documents = report["ids"], report["documents"]
    runs, adversarial, added = report["runs"], report["adversarial"], report["added_tokens"]
    sentences = [
        f"{documents['documents']:,} documents ({documents['pretokens']:,} pretokens, "
        f"{documents['distinct_pretokens']:,} distinct): {documents['different_documents']:,} encoded differently, "
        f"{documents['different_decodings']:,} decoded differently, {documents['not_restored']:,} not decoded to their "
        f"text; {documents['mismatched_pretokens']:,} pretokens "
        f"differ ({documents['mismatched_distinct_pretokens']:,} distinct){_causes(documents['causes'])}, "
        f"{documents['mismatches_per_million']:,} per million.",
        f"{ids['ids']:,} ids: {ids['different_strings']:,} differ in string, {ids['different_encodings']:,} in the "
        f"encoding of their own string, {ids['different_decodings']:,} in decoding.",
        f"{added['added_tokens']:,} added tokens: {differences(added):,} of {added['comparisons']:,} encodings of "
        "texts around them differ in ids, offsets or decoding.",
    ]
    if runs["max_length"]:
        left_out = f"; {runs['pairs_left_out']:,} such pairs were left out" if runs["pairs_left_out"] else ""
        sentences.append(
            f"Repeats to length {runs['max_length']}: {runs['mismatched']:,} of {runs['strings']:,} strings differ"
            f"{_causes(runs['causes'])}, in {runs['mismatched_contexts']:,} of {runs['contexts']:,} contexts of unit "
            f"and neighbours ({runs['both_sides']:,} with a neighbour on either side{left_out})."
        )
    if adversarial["strings"]:
        sentences.append(
            f"{adversarial['equal_percent']} % of {adversarial['strings']:,} adversarial strings are equal "
            f"(seed {adversarial['seed']}); of the others scores cannot tell {adversarial['scores_cannot']:,} apart, "
            f"and did not tell {adversarial['not_fixed']:,}{_causes(adversarial['causes'])}."
        )
    return " ".join(sentences)


def _causes(causes: dict[str, int]) -> str:
    named = ", ".join(f"{cause} {count:,}" for cause, count in causes.items())
    return f" ({named})" if named else ""


def print_report(report: dict[str, Any]) -> None:
    """The summary and the first differences of each kind, on standard output."""
    say(report["summary"])
    documents = report["documents"]
    found = [(_where(row), row) for row in [*documents["mismatches"][:SHOWN], *documents["other_differences"][:SHOWN]]]
    found += [(f"id {row['id']}", row) for row in report["ids"]["first"]["different_encodings"][:SHOWN]]
    found += [(f"added tokens, {row['what']}", row) for row in report["added_tokens"]["first"][:SHOWN]]
    one_per_unit = {row["unit"]: row for row in reversed(report["runs"]["families"])}
    found += [(_family(row), row["example"]) for row in list(reversed(one_per_unit.values()))[:SHOWN]]
    found += [(f"adversarial, {row['kind']}", row) for row in report["adversarial"]["mismatches"][:SHOWN]]
    for title, row in found:
        context = [row.get("before", ""), row["text"], row.get("after", "")]
        text = "»".join(["«".join(map(_plain, context[:2])), _plain(context[2])])
        cause = f", {row['cause']}" if "cause" in row else ""
        say(f"\n{title}{cause}\n  text       {text}")
        for side in ("tokenizer", "against"):
            say(f"  {side:10} {' | '.join(map(_plain, row[side]))}")


def _where(row: dict[str, Any]) -> str:
    times = f", {row['count']:,} times in all" if row.get("count", 1) > 1 else ""
    what = f", {row['what']}" if "what" in row else ""
    place = f"{row['file']}, document {row['document']:,}, line {row['line']:,}, character {row['character']:,}"
    return place + what + times


def _family(row: dict[str, Any]) -> str:
    left, right = row["contexts"][0]
    sides = (("left", left), ("right", right))
    beside = " and ".join(f"{side} of '{_plain(character)}'" for side, character in sides if character)
    more = f" and in {row['num_contexts'] - 1:,} contexts more" if row["num_contexts"] > 1 else ""
    return f"repeat of '{_plain(row['unit'])}'{' beside ' + beside if beside else ''}{more}, lengths {row['lengths']}"


def _plain(text: str) -> str:
    """On one line: line ends and other control characters spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
