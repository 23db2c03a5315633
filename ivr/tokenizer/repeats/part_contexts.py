"""Neighbours of runs that are parts of characters, or have the prefix blank before them.

Tokens can hold a unit and a part of the character beside it: `´다`, where `´` ends a thousand letters. What such a part
does alone it does not do in each of them: in `ॴ` (`à`,`¥´`) it is merged before the unit comes. So whole characters are
tried, and the shortest ends (or beginnings) of these are kept that tell them apart.

A tokenizer that puts a blank before every text never sees a run beside one character alone: in ` Cll` `ĠC` may draw
what `C` does not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.batch import Batch
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.byte_alphabet import from_alphabet, to_alphabet
from ivr.encoding.gpt2_pattern import NUM_CODE_POINTS
from ivr.tokenizer.repeats.character_classes import ASCII, LEAD_OF
from ivr.tokenizer.repeats.tables import BLANK, OTHER, SHORTEST, Contexts, first_of_runs, text_of
from ivr.tokenizer.repeats.vocabulary_contexts import begin, end, telling, unlike

SURROGATES = slice(0xD800, 0xE000)
POINTS = np.arange(NUM_CODE_POINTS)
IS_CHARACTER = np.ones(NUM_CODE_POINTS, bool)
IS_CHARACTER[SURROGATES] = False
NUM_IDS = 1 << 31  # more than any vocabulary holds
LAST_BYTE_OF = np.where(POINTS < ASCII, POINTS, 0x80 | POINTS & 0x3F)


class Characters:
    """Whole characters that hold the parts among the neighbours of a unit, in the byte alphabet."""

    def __init__(self, splitter: PretokenSplitter, encoder: BpeEncoder) -> None:
        self._splitter, self._encoder = splitter, encoder
        self._known: dict[tuple[str, str, bool], dict[str, str]] = {}

    def around(self, contexts: Contexts) -> tuple[dict[str, str], dict[str, str]]:
        """(left, right): every character that holds one of the parts, and the first that BPE does the same with."""
        unit = text_of(contexts.unit)
        lefts = (self._holding(part, unit[0], ends=True) for part in contexts.lefts if not text_of(part))
        rights = (self._holding(part, unit[-1], ends=False) for part in contexts.rights if not text_of(part))
        return _together(lefts), _together(rights)

    def one_of_each_end(self, lefts: Sequence[str], *, blanks: bool) -> list[str]:
        """The first that BPE ends with each token; with `blanks` also those that end otherwise after one, with it."""
        texts = [from_alphabet(left) for left in lefts]
        alone = self._touching(texts, ends=True).tolist()
        found = list(dict(zip(reversed(alone), reversed(lefts), strict=True)).values())
        if blanks:
            after = self._touching([b" " + text for text in texts], ends=True).tolist()
            changed = {one: BLANK + x for x, one, other in zip(lefts, after, alone, strict=True) if one != other}
            found += changed.values()
        return found

    def _touching(self, texts: Sequence[bytes], *, ends: bool) -> np.ndarray:
        """int64 (N,): the last (first) token of each."""
        answers = self._encoder.encode(Batch.of(texts))
        return answers.ids[answers.starts[1:] - 1 if ends else answers.starts[:-1]].astype(np.int64)

    def _holding(self, part: str, beside: str, *, ends: bool) -> dict[str, str]:
        """Those that end (begin) with these bytes and are one pretoken with the character beside them. Alike are those
        of one last (first) token, where every text begins with a blank also after one.
        """
        key = (part, beside, ends)
        if key not in self._known:
            data = from_alphabet(part)
            touching = data[-1] == LAST_BYTE_OF if ends else data[0] == LEAD_OF
            points = np.flatnonzero(touching & IS_CHARACTER).tolist()
            names = [chr(point) for point in points]
            names = [
                name for name in names if (name.encode().endswith(data) if ends else name.encode().startswith(data))
            ]
            if lacking := self._encoder.missing:  # what BPE drops a byte of is no neighbour as it stands
                names = [name for name in names if lacking.isdisjoint(name.encode())]
            together = self._splitter.lists([name + beside if ends else beside + name for name in names])
            texts = [name.encode() for name, pieces in zip(names, together, strict=True) if len(pieces) == 1]
            tokens = self._touching(texts, ends=ends)
            if ends and self._splitter.adds_prefix_space:  # after a blank two that were alike need not be
                tokens = tokens * NUM_IDS + self._touching([b" " + text for text in texts], ends=True)
            _, first, sort = np.unique(tokens, return_index=True, return_inverse=True)
            names = [to_alphabet(text) for text in texts]
            self._known[key] = dict(zip(names, (names[row] for row in first[sort].tolist()), strict=True))
        return self._known[key]


def _together(found: Iterable[dict[str, str]]) -> dict[str, str]:
    return {character: first for each in found for character, first in each.items()}


def with_characters(
    contexts: Contexts, characters: Characters, encoder: BpeEncoder, token_lengths: np.ndarray
) -> Contexts:
    """These contexts with what tells apart the characters that hold the same part."""

    def told(known: frozenset[str], first_of: dict[str, str], *, ends: bool) -> set[str]:
        def behaviour(parts: Sequence[str]) -> np.ndarray:
            tried = [first_of.get(part, part) for part in parts]
            each = {part: row for row, part in enumerate(dict.fromkeys(tried))}
            # what a blank draws in can leave the other end a unit more or less
            pairs = [pair for part in each for pair in ([(part, OTHER)] if ends else [("", part), (BLANK, part)])]
            rows = first_of_runs(contexts, pairs, encoder, token_lengths)[:, SHORTEST - 1 :].reshape(len(each), -1)
            return rows[[each[part] for part in tried]]

        return telling(first_of, known, end if ends else begin, behaviour)

    befores, afters = characters.around(contexts)
    lefts = contexts.lefts | told(contexts.lefts, befores, ends=True)
    rights = contexts.rights | told(contexts.rights, afters, ends=False)
    return replace(contexts, lefts=lefts, rights=rights)


def with_prefix_blank(
    contexts: Contexts, characters: Characters, encoder: BpeEncoder, token_lengths: np.ndarray
) -> Contexts:
    """These contexts with the left neighbours that draw something else after a blank, beside any right one."""
    if text_of(contexts.unit).isspace():
        return contexts
    lefts = {
        x for x in {*contexts.lefts, *characters.around(contexts)[0].values()} if text_of(x) and not x.startswith(BLANK)
    }
    blanks = sorted(BLANK + x for x in lefts)
    kept = unlike(blanks, contexts, {*contexts.rights, OTHER}, encoder, token_lengths, ends=True)
    return replace(contexts, lefts=contexts.lefts | kept)
