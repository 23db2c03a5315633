"""Splitting text into pretokens exactly as a `tokenizers` pre-tokenizer does, many times faster.

A pretoken is what the BPE model sees at once; no token crosses its border. GPT-2's pattern is compiled
(`ivr.encoding.gpt2_pattern`); whether a character is a letter, a number, a blank or another is asked of the library
itself, once for each character met, because every library carries Unicode tables of its own age. Other patterns, one
after another, become programs (`ivr.analysis.pattern_steps`). What these do not know runs in the library.
"""

import json
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from ivr.analysis.pattern_steps import compiled_steps
from ivr.encoding.batch import Batch
from ivr.encoding.byte_alphabet import CHARACTER_TO_BYTE, from_alphabet
from ivr.encoding.gpt2_pattern import (
    BLANK,
    LETTER,
    NUM_CODE_POINTS,
    NUMBER,
    OTHER,
    UNSEEN,
    split,
    unseen_code_points,
)
from ivr.encoding.patterns.machine import Machine
from ivr.encoding.text.missing_bytes import missing_bytes
from ivr.encoding.text.normalizing import Normalizing
from ivr.encoding.tokenizer_steps import steps as steps_of
from ivr.errors import ConfigError

ASCII = 0x80
JOINING = ((OTHER, "!"), (NUMBER, "1"), (LETTER, "a"))  # a character of each class: it joins only its like
ASKED = ((ASCII, 0xD800), (0xE000, 0x40000), (0xE0000, 0xE1000))


@dataclass(frozen=True)
class Pieces:
    """The pretokens of several texts, one after another in `data`."""

    data: np.ndarray  # uint8, the UTF-8 of all pretokens
    ends: np.ndarray  # int64, where each pretoken ends in `data`
    starts: np.ndarray  # int64: text n has the pretokens starts[n]:starts[n + 1]

    def lists(self) -> list[list[bytes]]:
        """The pretokens of every text; a cut of a run may go through a character."""
        data = self.data.tobytes()
        flat = [data[begin:end] for begin, end in pairwise([0, *self.ends.tolist()])]
        return [flat[begin:end] for begin, end in pairwise(self.starts.tolist())]


class PretokenSplitter:
    """`splitter(text)` lists the pretokens of a text; joined they are the text (normalized, after its prefix blank).

    Raises ConfigError for a tokenizer that is not byte-level. May be shared by threads.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        spec = json.loads(tokenizer.to_str())
        self.normalizing = Normalizing(tokenizer)
        self._pre_tokenizer = tokenizer.pre_tokenizer
        steps = steps_of(spec["pre_tokenizer"], "pretokenizers")
        byte_level = [step for step in steps if step["type"] == "ByteLevel"]
        if len(byte_level) != 1:
            raise ConfigError("the tokenizer has no ByteLevel pre-tokenizer; only byte-level BPE is supported")
        self.adds_prefix_space: bool = byte_level[0]["add_prefix_space"]
        self._own_pattern: bool = byte_level[0].get("use_regex", True)  # GPT-2's, on what the other steps leave
        # bytes that the vocabulary lacks are taken out of pretokens, and some are taken whole: these are made before
        lacks = missing_bytes(dict(spec["model"]["vocab"]) or CHARACTER_TO_BYTE)  # a Unigram's is pairs
        as_pretokens = bool(lacks or spec["model"].get("ignore_merges"))
        self.is_gpt2 = len(steps) == 1 and self._own_pattern and not as_pretokens
        self.steps = steps  # of its tokenizer.json
        self._steps_before = steps[: steps.index(byte_level[0])]
        self._splits_otherwise = steps[-1] is not byte_level[0] or (self.adds_prefix_space and len(steps) > 1)
        self._byte_level = ByteLevel(add_prefix_space=False)
        self._classes = np.full(NUM_CODE_POINTS, UNSEEN, np.uint8)

    def __call__(self, text: str) -> list[str]:
        return self.lists([text])[0]

    def lists(self, texts: Sequence[str]) -> list[list[str]]:
        """The pretokens of every text."""
        lists = self.split([text.encode() for text in texts]).lists()
        return [[piece.decode(errors="replace") for piece in pieces] for pieces in lists]

    def split(self, texts: Sequence[bytes]) -> Pieces:
        """The pretokens of every text, which is valid UTF-8."""
        texts = self.normalizing(texts)
        if self._machines is None:
            return self._by_library(texts)
        if self.adds_prefix_space:
            texts = [text if not text or text.startswith(b" ") else b" " + text for text in texts]
        parts = batch = Batch.of(texts)
        starts = np.arange(len(texts) + 1)
        for split_further in [*(machine.split for machine in self._machines), *self._last]:
            ends, starts_of_parts = split_further(parts)
            parts = Batch(batch.data, np.concatenate([[0], ends]))
            starts = starts_of_parts[starts]
        return Pieces(batch.data, parts.starts[1:], starts)

    @property
    def is_compiled(self) -> bool:
        """Whether texts are split here, and not by the library."""
        return self._machines is not None

    @property
    def _last(self) -> list[Callable[[Batch], tuple[np.ndarray, np.ndarray]]]:
        return [self._split_as_gpt2] if self._own_pattern else []

    @cached_property
    def _machines(self) -> list[Machine] | None:
        """Of the steps before ByteLevel; None where the library has to split."""
        return None if self._splits_otherwise else compiled_steps(self._steps_before)

    def _split_as_gpt2(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        while len(unseen := unseen_code_points(batch.data, self._classes)):
            for code_point in unseen.tolist():
                self._classes[code_point] = self._class_of(chr(code_point))
        return split(batch, self._classes)

    @cached_property
    def all_classes(self) -> np.ndarray:
        """LETTER, NUMBER, OTHER or BLANK for every code point, uint8 (NUM_CODE_POINTS).

        Surrogates and the planes without characters (4 to 13, and those for private use) count as OTHER.
        """
        found = np.full(NUM_CODE_POINTS, OTHER, np.uint8)
        found[:ASCII] = [self._class_of(chr(code_point)) for code_point in range(ASCII)]
        asked = np.concatenate([np.arange(*span) for span in ASKED])
        mixed = []
        for block in np.array_split(asked, len(asked) >> 8):  # most are of one class
            kind = next((kind for kind, other in JOINING if self._alike(other, block)), None)
            if kind is None:
                mixed.append(block)
            else:
                found[block] = kind
        asked = np.concatenate(mixed)
        for kind, other in ((BLANK, ""), *JOINING):
            for part in np.array_split(asked, max(1, len(asked) >> 14)):
                found[part[self._joins(other, part)]] = kind
        return found

    def _joins(self, other: str, code_points: np.ndarray) -> np.ndarray:
        """Which characters join `other` in a pretoken, bool; without one, all."""
        if not other:
            return np.ones(len(code_points), bool)
        text = "".join(other + chr(code_point) for code_point in code_points.tolist())
        borders = np.zeros(len(text), bool)
        borders[[begin for _, (begin, _) in self._byte_level.pre_tokenize_str(text)]] = True
        return ~borders[1::2]

    def _alike(self, other: str, code_points: np.ndarray) -> bool:
        """Whether all of these join `other`."""
        return len(self._byte_level.pre_tokenize_str(other + "".join(map(chr, code_points.tolist())))) == 1

    def _class_of(self, character: str) -> int:
        """What the library takes a character for: it joins only others of its class."""
        return next((kind for kind, other in JOINING if self._alike(other, np.array([ord(character)]))), BLANK)

    def _by_library(self, texts: Sequence[bytes]) -> Pieces:
        data, lengths, counts = bytearray(), array("q"), array("q", [0])  # flat from the start: texts can be millions
        for text in texts:
            pieces = self._pre_tokenizer.pre_tokenize_str(text.decode())
            counts.append(len(pieces))
            for piece, _ in pieces:
                data += (symbols := from_alphabet(piece))
                lengths.append(len(symbols))
        ends, starts = (np.cumsum(np.array(sizes, np.int64)) for sizes in (lengths, counts))
        return Pieces(np.frombuffer(bytes(data), np.uint8), ends, starts)


def pretoken_encoder(tokenizer: Tokenizer) -> Tokenizer:
    """A copy of `tokenizer` that takes its whole input for one pretoken: not split into words, nothing added.

    Other steps stay: they give a pretoken back whole, or cut as the model sees it.
    """
    spec = json.loads(tokenizer.to_str())
    steps = steps_of(spec["pre_tokenizer"], "pretokenizers")
    whole = {"add_prefix_space": False, "use_regex": False}
    steps = [{**step, **whole} if step["type"] == "ByteLevel" else step for step in steps]
    spec["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    spec["post_processor"] = spec["truncation"] = spec["padding"] = None
    spec["added_tokens"] = []  # these are cut out of a text before it is split: no pretoken holds one
    return Tokenizer.from_str(json.dumps(spec, ensure_ascii=False))
