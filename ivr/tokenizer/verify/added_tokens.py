"""Added tokens through two tokenizers: cut out of text or read as text, glued to letters, with blanks around.

Whole encodings are compared: ids, offsets, and what they decode to; with and without the tokens that a post-processor
adds, with special tokens cut out and as text.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tokenizers import Encoding, Tokenizer

from ivr.encoding.tokenizer_steps import steps

MOST_TOKENS = 2_000
AROUND = ("", "a", "Z", " ", "  ", "\n", ".", "한", "\u00e9", "ab cd")
KEPT = 100


def strings_around(contents: Sequence[str]) -> Iterator[str]:
    """Texts that hold these strings, parts of them, or two of them.

    >>> "Z<a>" in list(strings_around(["<a>"]))
    True
    """
    for place, content in enumerate(contents):
        other = contents[(place + 1) % len(contents)]
        for left in AROUND:
            yield left + content
            yield content + left
            yield left + content + left
        yield from (2 * content, 3 * content, content + " " + content, content + other, f"{content} a {other}")
        yield from (content[:-1] + "a", content[1:], content.upper(), content.lower(), content[:1] + content)


def compare_added(ours_json: str, theirs_json: str) -> dict[str, Any]:
    """Compare two tokenizers, given as their tokenizer.json, around every added token; what a report says of it."""
    spec = json.loads(theirs_json)
    contents = [entry["content"] for entry in spec.get("added_tokens") or ()][:MOST_TOKENS]
    texts = ["", "a", " a", "ab cd", *dict.fromkeys(strings_around(contents))]
    counts = dict.fromkeys(("different_ids", "different_offsets", "different_decodings"), 0)
    rows: list[dict[str, Any]] = []
    ours, theirs = (Tokenizer.from_str(text) for text in (ours_json, theirs_json))
    for tokenizer in (ours, theirs):
        tokenizer.no_truncation()
        tokenizer.no_padding()
    post_processed = [False, True] if steps(spec.get("post_processor"), "processors") else [False]
    for as_text in (False, True):
        ours.encode_special_tokens = theirs.encode_special_tokens = as_text
        for add in post_processed:
            pairs = zip(*(t.encode_batch(texts, add_special_tokens=add) for t in (ours, theirs)), strict=True)
            for text, (one, other) in zip(texts, pairs, strict=True):
                what = _difference(ours, theirs, one, other)
                if what:
                    counts[what] += 1
                    if len(rows) < KEPT:
                        mode = {"special_as_text": as_text, "with_special": add}
                        rows.append(
                            {"text": text, "what": what, **mode, "tokenizer": one.tokens, "against": other.tokens}
                        )
    comparisons = 2 * len(post_processed) * len(texts)
    return {"added_tokens": len(contents), "strings": len(texts), "comparisons": comparisons, **counts, "first": rows}


def _difference(ours: Tokenizer, theirs: Tokenizer, one: Encoding, other: Encoding) -> str:
    if one.ids != other.ids:
        return "different_ids"
    if one.offsets != other.offsets:
        return "different_offsets"
    for skip in (False, True):
        if ours.decode(one.ids, skip_special_tokens=skip) != theirs.decode(other.ids, skip_special_tokens=skip):
            return "different_decodings"
    return ""


def differences(report: dict[str, Any]) -> int:
    """How many comparisons of such a report differ."""
    return sum(report[name] for name in ("different_ids", "different_offsets", "different_decodings"))
