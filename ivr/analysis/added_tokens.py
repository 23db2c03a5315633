"""Added tokens that are cut out of text before it is split: those that are not special; a special one is text here.

People extend a vocabulary this way. The library looks for them in its own manner (single words, blanks to the left and
right), so it is asked itself, but only about texts that hold one of them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from ivr.analysis.pretokens import Pieces, PretokenSplitter
from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.bpe import NO_ID, ByteLevelBpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.byte_alphabet import from_alphabet

MARK = b"\xff"  # in no text: a piece that begins with it is an added token, its id in figures behind


@dataclass(frozen=True)
class TextPieces:
    """Splits texts into pretokens and added tokens; may be shared by threads. Raises as PretokenSplitter does."""

    splitter: PretokenSplitter
    marked: dict[int, bytes]  # id in the finder of each added token that text can hold -> its piece
    contents: tuple[bytes, ...]  # of these, of which one is in every text that holds any of them
    finder: Tokenizer | None  # gives these alone, with their places, and nothing for other text

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "TextPieces":
        """For a byte-level tokenizer."""
        whole = json.loads(tokenizer.to_str())
        entries, normalizer = whole["added_tokens"], whole["normalizer"]
        marked = {place: MARK + b"%d" % entry["id"] for place, entry in enumerate(entries) if not entry["special"]}
        finder = None
        if marked:
            entries = [{**entry, "id": place} for place, entry in enumerate(entries)]
            model = {"type": "BPE", "vocab": {}, "merges": []}
            spec = {"version": "1.0", "added_tokens": entries, "normalizer": normalizer, "model": model}
            finder = Tokenizer.from_str(json.dumps(spec))
            finder.encode_special_tokens = True
        contents = {entries[place]["content"].encode() for place in marked}
        if normalizer and any(entries[place]["normalized"] for place in marked):
            contents.add(b"")  # some text may hold one once it is normalized: the library is asked about all
        return cls(PretokenSplitter(tokenizer), marked, tuple(sorted(contents)), finder)

    def split(self, texts: Sequence[bytes]) -> Pieces:
        """The pieces of every text, which is valid UTF-8."""
        parts = [self._parts(text) for text in texts]
        if all(len(of_text) == 1 and of_text[0][:1] != MARK for of_text in parts):
            return self.splitter.split(texts)
        flat = [part for of_text in parts for part in of_text]
        found = iter(self.splitter.split([part for part in flat if part[:1] != MARK]).lists())
        pieces = [[part] if part[:1] == MARK else next(found) for part in flat]
        first_pieces = np.concatenate([[0], np.cumsum([len(of_part) for of_part in pieces], dtype=np.int64)])
        first_parts = np.concatenate([[0], np.cumsum([len(of_text) for of_text in parts], dtype=np.int64)])
        batch = Batch.of([piece for of_part in pieces for piece in of_part])
        return Pieces(batch.data, batch.starts[1:], first_pieces[first_parts])

    def _parts(self, text: bytes) -> list[bytes]:
        """A text cut at its added tokens, which are there as their pieces."""
        if self.finder is None or not any(content in text for content in self.contents):
            return [text]
        whole, parts, at = text.decode(), [], 0
        found = self.finder.encode(whole, add_special_tokens=False)
        for place, (begin, end) in zip(found.ids, found.offsets, strict=True):
            if begin > at:
                parts.append(whole[at:begin].encode())
            parts.append(self.marked[place])
            at = end
        if at < len(whole) or not parts:
            parts.append(whole[at:].encode())
        return parts


class PieceEncoder:
    """The ids of such pieces: BPE's of a pretoken, its own of an added token or of one that is taken whole."""

    def __init__(self, bpe: ByteLevelBpe) -> None:
        self._bpe = BpeEncoder(bpe)
        self._whole = {from_alphabet(bpe.tokens[token_id]): token_id for token_id in bpe.whole_ids}

    def encode(self, batch: Batch, threads: int | None = None) -> Segmentations:
        """The ids of every piece."""
        own = np.full(len(batch), NO_ID, np.int64)  # of the pieces that are one token whatever merges make
        for row in np.flatnonzero(is_added(batch)).tolist():
            own[row] = int(batch.string(row)[len(MARK) :])
        if self._whole:
            own = np.maximum(own, [self._whole.get(batch.string(row), NO_ID) for row in range(len(batch))])
        merged = own == NO_ID
        if merged.all():
            return self._bpe.encode(batch, threads)
        others = self._bpe.encode(batch.select(np.flatnonzero(merged)), threads)
        lengths = np.ones(len(batch), np.int64)
        lengths[merged] = others.lengths()
        starts = np.concatenate([[0], np.cumsum(lengths)])
        ids = np.empty(starts[-1], np.int32)
        ids[np.repeat(merged, lengths)] = others.ids
        ids[starts[:-1][~merged]] = own[~merged]
        return Segmentations(ids, starts)


def is_added(batch: Batch) -> np.ndarray:
    """Which pieces are added tokens, bool."""
    found = np.zeros(len(batch), bool)
    there = np.flatnonzero(np.diff(batch.starts) > 0)
    found[there] = batch.data[batch.starts[there]] == MARK[0]
    return found
