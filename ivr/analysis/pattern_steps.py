"""The steps of a pre-tokenizer that splits before ByteLevel, compiled: Split by a pattern, Digits.

Which characters are in a set of a pattern is asked of the library, of all code points at once.
"""

import string
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from tokenizers import Regex
from tokenizers.pre_tokenizers import Digits, Split

from ivr.encoding.gpt2_pattern import NUM_CODE_POINTS
from ivr.encoding.patterns.machine import Machine
from ivr.encoding.patterns.program import Program, UnsupportedPattern, compile_pattern

ASKED = ((0, 0xD800), (0xE000, 0x40000), (0xE0000, 0xE1000))
EMPTY = range(4, 17)  # planes
NO_CHARACTERS = [(plane << 16) + 0xFFFF for plane in EMPTY]
PROBE = "a"  # no digit
BLOCK = 1 << 11


def compiled_steps(steps: Sequence[dict[str, Any]]) -> list[Machine] | None:
    """A machine for each of these steps (of a tokenizer.json); None where one of them has none."""
    machines = [_machine(step) for step in steps]
    return [machine for machine in machines if machine] if all(machines) else None


def _machine(step: dict[str, Any]) -> Machine | None:
    if step["type"] == "Digits":
        one = Program(["digit"])
        one.code, one.alternatives = compile_pattern("d" if step["individual_digits"] else "d+").code, [0]
        return Machine.of(one, [digits()])
    if step["type"] != "Split" or step["behavior"] != "Isolated" or step["invert"]:
        return None
    pattern = step["pattern"]
    source = pattern["Regex"] if "Regex" in pattern else literal(pattern["String"])
    try:
        program = compile_pattern(source)
    except UnsupportedPattern:
        return None
    return Machine.of(program, [members(source) for source in program.sets])


def literal(text: str) -> str:
    return "".join(f"\\{c}" if c in string.punctuation else c for c in text)


@lru_cache(1)
def _asked() -> tuple[np.ndarray, str]:
    """The code points that the library is asked about, int32, and as text: no surrogates, and of the planes that
    hold no characters (4 to 13, and those for private use) only each one's first and last two.
    """
    ends = [(plane << 16, (plane << 16) + 1) for plane in EMPTY] + [(last - 1, last + 1) for last in NO_CHARACTERS]
    spans = [np.arange(*span, dtype=np.int32) for span in (*ASKED, *ends)]
    points = np.unique(np.concatenate(spans))
    return points, "".join(map(chr, points.tolist()))


@lru_cache(64)
def members(source: str) -> np.ndarray:
    """The characters that a pattern for one character matches, bool (NUM_CODE_POINTS)."""
    _, every = _asked()
    outside = Split(Regex(f"(?:{source})+"), "removed")
    kept = np.ones(len(every), bool)
    for block in range(0, len(every), BLOCK):  # the library counts the characters before each piece anew
        for _, (begin, end) in outside.pre_tokenize_str(every[block : block + BLOCK]):
            kept[block + begin : block + end] = False
    return _of_all(kept)


@lru_cache(1)
def digits() -> np.ndarray:
    """The characters that the library's Digits takes for digits, bool (NUM_CODE_POINTS)."""
    _, every = _asked()
    kept = np.zeros(len(every), bool)
    for block in range(0, len(every), BLOCK):
        text = PROBE + PROBE.join(every[block : block + BLOCK])
        begins = [begin for _, (begin, _) in Digits(individual_digits=True).pre_tokenize_str(text)]
        kept[[block + begin // 2 for begin in begins if begin % 2]] = True
    return _of_all(kept)


def _of_all(asked: np.ndarray) -> np.ndarray:
    """What holds for the code points asked about, for all: bool (NUM_CODE_POINTS). Surrogates are in no text."""
    points, _ = _asked()
    found = np.zeros(NUM_CODE_POINTS, bool)
    found[points] = asked
    for plane in EMPTY:
        first = plane << 16
        rest = np.arange(first, first + (1 << 16))
        found[rest[~np.isin(rest, points)]] = found[first]
    return found
