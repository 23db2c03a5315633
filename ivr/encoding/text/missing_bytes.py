r"""Bytes of text that a byte-level BPE has no id for: it drops them silently, and so must the distilled tokenizer.

The library leaves such a symbol out before it merges, so that what stands beside it can be merged across the gap: under
SmolLM2, which has no id for 0x04, `!\x04!` is the one token `!!`. A Unigram model fails there instead. So symbols at
the ends of a pretoken are taken out by a `Split`, and those between two characters of a pretoken by a normalizer,
before anything is split: GPT-2's pattern puts them with what it takes for neither letter, number nor blank, and between
two of these nothing changes where text is split.

Bytes that UTF-8 never has (C0, C1, F5 to FF) are in no text and do not count.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ivr.encoding.byte_alphabet import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE
from ivr.encoding.tokenizer_steps import steps
from ivr.errors import ConfigError

NEVER_IN_UTF8 = frozenset([0xC0, 0xC1, *range(0xF5, 0x100)])
ASCII = 0x80
CONTINUATIONS = range(0x80, 0xC0)
BESIDE = ("Digits",)  # pre-tokenizers that part no two characters which GPT-2's pattern takes for others


def missing_bytes(vocabulary: Mapping[str, int]) -> frozenset[int]:
    """The bytes that text can hold and this vocabulary (in the byte alphabet) has no id for.

    >>> sorted(missing_bytes({BYTE_TO_CHARACTER[byte]: byte for byte in range(256) if byte not in (0x04, 0xFF)}))
    [4]
    """
    lacking = (byte for symbol, byte in CHARACTER_TO_BYTE.items() if symbol not in vocabulary)
    return frozenset(lacking) - NEVER_IN_UTF8


def named(lacking: Iterable[int]) -> str:
    """The bytes for a person.

    >>> named([0xF1, 4])
    '0x04, 0xF1'
    """
    return ", ".join(f"0x{byte:02X}" for byte in sorted(lacking))


def check_missing(spec: Mapping[str, Any], lacking: frozenset[int]) -> None:
    """Whether what the tokenizer of this tokenizer.json does with these bytes can be done by the distilled one.

    Raises ConfigError, naming the first byte that cannot be, and what would mend it.
    """
    if not lacking:
        return
    model = spec["model"]
    mend = "give each an id in model.vocab that the model has a row for"
    what = f"the byte symbol {{!r}} (byte 0x{{:02X}}) has no id, and {len(lacking) - 1} others"
    first = min(lacking)
    for key in ("unk_token", "byte_fallback"):
        if model.get(key):
            told = what.format(BYTE_TO_CHARACTER[first], first)
            raise ConfigError(f"{told}, and the BPE model sets {key}: text that holds them becomes unknown; {mend}")
    before = [step["type"] for step in steps(spec.get("pre_tokenizer"), "pretokenizers")]
    place = before.index("ByteLevel") if "ByteLevel" in before else len(before)
    for byte in sorted(lacking):
        told = what.format(BYTE_TO_CHARACTER[byte], byte)
        if byte in CONTINUATIONS:
            raise ConfigError(f"{told}: characters would be merged without a byte inside; {mend}")
        if byte < ASCII and not (_by_gpt2s_pattern(spec, before) and is_other(byte)):
            raise ConfigError(
                f"{told}: text that holds them would be dropped, which is followed for control characters and GPT-2's "
                f"pattern alone; {mend}"
            )
    if before[place + 1 :]:
        raise ConfigError(f"{what.format(BYTE_TO_CHARACTER[first], first)}, and text is split after ByteLevel; {mend}")
    normalized = [entry["content"] for entry in spec.get("added_tokens") or () if entry.get("normalized")]
    if normalized and min(lacking) < ASCII:
        raise ConfigError(
            f"{what.format(BYTE_TO_CHARACTER[first], first)}, and the added token {normalized[0]!r} is looked for in "
            f"normalized text; {mend}, or set normalized to false there"
        )


def _by_gpt2s_pattern(spec: Mapping[str, Any], kinds: list[str]) -> bool:
    found = [step for step in steps(spec.get("pre_tokenizer"), "pretokenizers") if step["type"] == "ByteLevel"]
    alone = [kind for kind in kinds if kind not in BESIDE] == ["ByteLevel"]
    return alone and bool(found[0].get("use_regex", True)) and not (found[0]["add_prefix_space"] and len(kinds) > 1)


def is_other(byte: int) -> bool:
    """Whether GPT-2's pattern takes this ASCII character for neither letter, number nor blank."""
    from tokenizers.pre_tokenizers import ByteLevel

    return len(ByteLevel(add_prefix_space=False).pre_tokenize_str("!" + chr(byte))) == 1


def without(text: str, lacking: frozenset[int]) -> str | None:
    r"""The text without these bytes; None where what is left of a character is none.

    >>> without("!\x04!", frozenset([4])), without("\U00040000", frozenset([0xF1]))
    ('!!', None)
    """
    if not lacking:
        return text
    try:
        return text.encode().translate(None, bytes(sorted(lacking))).decode()
    except UnicodeDecodeError:
        return None


def dropping(spec: dict[str, Any], lacking: frozenset[int]) -> dict[str, Any]:
    """A tokenizer.json whose last pre-tokenizer is ByteLevel, with steps that take these bytes out of all text."""
    if not lacking:
        return spec
    spec = json.loads(json.dumps(spec))
    symbols = "".join(f"\\x{{{ord(BYTE_TO_CHARACTER[byte]):x}}}" for byte in sorted(lacking))
    taken_out = {"type": "Split", "pattern": {"Regex": f"[{symbols}]+"}, "behavior": "Removed", "invert": False}
    before = steps(spec["pre_tokenizer"], "pretokenizers")
    spec["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [*before, taken_out]}
    inside = "".join(f"\\x{byte:02x}" for byte in sorted(lacking) if byte < ASCII)
    if inside:
        other = rf"[^\s\p{{L}}\p{{N}}{inside}]"
        # a blank before others belongs to them; so does one that is put before every text
        begins = r"|\A" if any(step.get("add_prefix_space") for step in before) else ""
        pattern = rf"(?<={other}|\x20{begins})[{inside}]+(?={other})"
        gap = {"type": "Replace", "pattern": {"Regex": pattern}, "content": ""}
        normalizers = [*steps(spec.get("normalizer"), "normalizers"), gap]
        spec["normalizer"] = gap if len(normalizers) == 1 else {"type": "Sequence", "normalizers": normalizers}
    return spec
