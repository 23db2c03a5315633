"""The steps of a part of tokenizer.json: pre-tokenizer, normalizer, post-processor or decoder."""

from collections.abc import Mapping
from typing import Any


def steps(part: Mapping[str, Any] | None, inside: str) -> list[dict[str, Any]]:
    """The steps in order, sequences in sequences laid out flat; `inside`: the key under which a Sequence has its own.

    >>> steps({"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": []}]}, "normalizers")
    []
    """
    if part is None:
        return []
    if part["type"] == "Sequence":
        return [step for child in part[inside] for step in steps(child, inside)]
    return [dict(part)]


def normalizes(spec: dict[str, Any]) -> str:
    """The kind of the tokenizer's normalizer; empty where it has none, or one of no steps.

    >>> normalizes({"normalizer": {"type": "Sequence", "normalizers": []}}), normalizes({"normalizer": {"type": "NFC"}})
    ('', 'NFC')
    """
    return ", ".join(step["type"] for step in steps(spec.get("normalizer"), "normalizers"))
