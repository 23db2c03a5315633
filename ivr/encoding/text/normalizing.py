"""Normalizers: NFC, which Qwen has, stays in the distilled file, and text is counted as it leaves it.

What the library's normalizer makes of a text is asked of the library, but only where it can make anything: a text
whose characters neither compose, decompose nor change places comes out as it went in. Which characters those are is
asked of the library, too: every library carries Unicode tables of its own age.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.normalizers import NFC, NFD

from ivr.encoding.batch import Batch
from ivr.encoding.gpt2_pattern import NUM_CODE_POINTS, UNSEEN, unseen_code_points
from ivr.encoding.tokenizer_steps import steps
from ivr.errors import ConfigError

SUPPORTED = frozenset(["NFC"])
ASKED = ((0x80, 0xD800), (0xE000, 0x40000), (0xE0000, 0xE1000))  # no other plane holds characters that change
BLOCK = 1 << 11
HIGH, LOW = "\u0301", "\u0323"  # marks above and below a letter: normalized text has the lower one first
PART = "\n"  # joins nothing


def check_normalizer(spec: Mapping[str, Any]) -> None:
    """Raises ConfigError for a normalizer that is not followed: any but NFC."""
    others = {step["type"] for step in steps(spec.get("normalizer"), "normalizers")} - SUPPORTED
    if others:
        raise ConfigError(
            f"the tokenizer has a normalizer ({', '.join(sorted(others))}), which changes text before it is split; "
            "only NFC is supported (set normalizer to null if the model was trained without)"
        )


class Normalizing:
    """A tokenizer's normalizer over many texts as UTF-8; may be shared by threads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        kinds = [step["type"] for step in steps(json.loads(tokenizer.to_str())["normalizer"], "normalizers")]
        self._normalizer = tokenizer.normalizer if kinds else None
        self._is_nfc = set(kinds) == {"NFC"}

    def __bool__(self) -> bool:
        """Whether any text can be changed."""
        return self._normalizer is not None

    def __call__(self, texts: Sequence[bytes]) -> Sequence[bytes]:
        """The normalized texts."""
        if self._normalizer is None or (self._is_nfc and _is_plain(Batch.of(list(texts)).data)):
            return texts
        return [self._one(text) for text in texts]

    def _one(self, text: bytes) -> bytes:
        if text.isascii() and self._is_nfc:
            return text
        assert self._normalizer is not None
        return str(self._normalizer.normalize_str(text.decode())).encode()


def _is_plain(data: np.ndarray) -> bool:
    """Whether NFC leaves every text made of the characters in `data` (UTF-8, uint8) as it is."""
    return not len(unseen_code_points(data, _classes()))


@lru_cache(1)
def _classes() -> np.ndarray:
    """0 for a character that NFC leaves as it is beside whatever others, UNSEEN for any other: uint8."""
    found = np.zeros(NUM_CODE_POINTS, np.uint8)
    composing: set[str] = set()
    decompose, compose = NFD().normalize_str, NFC().normalize_str
    for begin, end in ((at, min(at + BLOCK, last)) for first, last in ASKED for at in range(first, last, BLOCK)):
        characters = list(map(chr, range(begin, end)))
        alone = PART.join(characters)
        between = PART.join(HIGH + character + LOW for character in characters)
        parts = decompose(alone)
        if parts != alone:
            composing.update(mark for text in parts.split(PART) for mark in text[1:])
        if compose(alone) == alone and compose(between) == between:
            continue
        kept = zip(compose(alone).split(PART), compose(between).split(PART), characters, strict=True)
        # a mark lets another one pass, and a letter takes it up
        found[[ord(c) for one, other, c in kept if one != c or not other.startswith(HIGH)]] = UNSEEN
    found[[ord(character) for character in composing]] = UNSEEN
    return found
