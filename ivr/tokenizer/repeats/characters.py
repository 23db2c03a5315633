"""Whole characters, for contexts that are parts of characters.

Tokens can hold a unit and a part of the character beside it: `´다`, where `´` ends a thousand letters. What such a part
does alone it does not do in each of them: in `ॴ` (`à`,`¥´`) it is merged before the unit comes.
"""

from collections.abc import Sequence

import numpy as np

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.batch import Batch
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.byte_alphabet import from_alphabet, to_alphabet
from ivr.encoding.gpt2_pattern import NUM_CODE_POINTS
from ivr.tokenizer.repeats.character_classes import ASCII, LEAD_OF
from ivr.tokenizer.repeats.contexts import BLANK, Contexts, Side
from ivr.tokenizer.repeats.tables import text_of

SURROGATES = slice(0xD800, 0xE000)
POINTS = np.arange(NUM_CODE_POINTS)
IS_CHARACTER = np.ones(NUM_CODE_POINTS, bool)
IS_CHARACTER[SURROGATES] = False
NUM_IDS = 1 << 31  # more than any vocabulary holds
LAST_BYTE_OF = np.where(POINTS < ASCII, POINTS, 0x80 | POINTS & 0x3F)


class Characters:
    """Whole characters that hold the parts among the contexts of a unit, in the byte alphabet."""

    def __init__(self, splitter: PretokenSplitter, encoder: BpeEncoder) -> None:
        self._splitter, self._encoder = splitter, encoder
        self._known: dict[tuple[str, str, Side], dict[str, str]] = {}

    def around(self, contexts: Contexts, side: Side) -> dict[str, str]:
        """Every character that holds one of the parts on this side, and the first that BPE does the same with."""
        unit = text_of(contexts.unit)
        beside = unit[0] if side is Side.LEFT else unit[-1]
        found: dict[str, str] = {}
        for part in contexts.of(side):
            if not text_of(part):
                found |= self._holding(part, beside, side)
        return found

    def one_of_each_end(self, lefts: Sequence[str], *, blanks: bool) -> list[str]:
        """The first that BPE ends with each token; with `blanks` also those that end otherwise after one, with it."""
        texts = [from_alphabet(left) for left in lefts]
        alone = self._touching(texts, Side.LEFT).tolist()
        found = list(dict(zip(reversed(alone), reversed(lefts), strict=True)).values())
        if blanks:
            after = self._touching([b" " + text for text in texts], Side.LEFT).tolist()
            changed = {one: BLANK + x for x, one, other in zip(lefts, after, alone, strict=True) if one != other}
            found += changed.values()
        return found

    def _touching(self, texts: Sequence[bytes], side: Side) -> np.ndarray:
        """int64 (N,): the token of each that touches the unit."""
        answers = self._encoder.encode(Batch.of(texts))
        places = answers.starts[1:] - 1 if side is Side.LEFT else answers.starts[:-1]
        return answers.ids[places].astype(np.int64)

    def _holding(self, part: str, beside: str, side: Side) -> dict[str, str]:
        """Those that touch the unit with these bytes and are one pretoken with its character beside them. Alike are
        those whose token there is the same, where every text begins with a blank also after one.
        """
        key = (part, beside, side)
        if key not in self._known:
            data = from_alphabet(part)
            touching = data[-1] == LAST_BYTE_OF if side is Side.LEFT else data[0] == LEAD_OF
            holds = bytes.endswith if side is Side.LEFT else bytes.startswith
            names = [chr(point) for point in np.flatnonzero(touching & IS_CHARACTER).tolist()]
            names = [name for name in names if holds(name.encode(), data)]
            if lacking := self._encoder.missing:  # what BPE drops a byte of is no context as it stands
                names = [name for name in names if lacking.isdisjoint(name.encode())]
            together = self._splitter.lists(["".join(side.pair(name, beside)) for name in names])
            texts = [name.encode() for name, pieces in zip(names, together, strict=True) if len(pieces) == 1]
            tokens = self._touching(texts, side)
            if side is Side.LEFT and self._splitter.adds_prefix_space:  # two that were alike need not be after a blank
                tokens = tokens * NUM_IDS + self._touching([b" " + text for text in texts], side)
            _, first, sort = np.unique(tokens, return_index=True, return_inverse=True)
            names = [to_alphabet(text) for text in texts]
            self._known[key] = dict(zip(names, (names[row] for row in first[sort].tolist()), strict=True))
        return self._known[key]
