"""Which held-out documents are scored, and what the tokenizers make of all of them."""

import hashlib
import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from ivr.corpus.documents import read_documents
from ivr.corpus.packing import text_chunks


def choose_documents(path: Path, max_documents: int, max_bytes: int) -> list[str]:
    """At most `max_documents` documents of together at most `max_bytes` UTF-8 bytes, the same in every run.

    The order is that of the documents' hashes, which mixes the sources; the document that would cross the limit is
    cut there, at a character. Empty documents are not taken.
    """
    smallest: list[tuple[int, str]] = []  # a heap: the largest hash on top, to be dropped first
    for text in read_documents(path):
        if text:
            digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
            heapq.heappush(smallest, (-digest, text[:max_bytes]))  # a character is at least a byte
            if len(smallest) > max_documents:
                heapq.heappop(smallest)
    chosen, left = [], max_bytes
    for _, text in sorted(smallest, key=lambda item: (-item[0], item[1])):
        if left <= 0:
            break
        data = text.encode()
        whole = data[:left].decode(errors="ignore")  # drops no more than a cut character
        if whole:
            chosen.append(whole)
        left -= len(data)
    return chosen


@dataclass
class TokenizerFigures:
    """Counts over all held-out documents."""

    documents: int = 0
    bytes: int = 0
    tokens_before: int = 0
    tokens_after: int = 0
    pretokens: int = 0
    agreeing_pretokens: int = 0
    agreeing_documents: int = 0

    def results(self) -> dict[str, Any]:
        """Rounded shares in percent; None where there was nothing to count."""
        return {
            "heldout_documents": self.documents,
            "heldout_bytes": self.bytes,
            "heldout_tokens_before": self.tokens_before,
            "heldout_tokens_after": self.tokens_after,
            "tokens_saved_percent": _percent(self.tokens_before - self.tokens_after, self.tokens_before),
            "agreement_percent": _percent(self.agreeing_pretokens, self.pretokens),
            "agreement_documents_percent": _percent(self.agreeing_documents, self.documents),
            "heldout_pretokens": self.pretokens,
        }


def compare_tokenizers(documents: Iterable[str], original: Any, distilled: Any, remapped: Any) -> TokenizerFigures:
    """Tokens of `original` and `remapped`; pretoken occurrences to which `distilled` gives the ids of `original`."""
    figures = TokenizerFigures()
    # a token in the byte alphabet has a character for each of its bytes
    sizes = {token_id: len(token) for token, token_id in original.get_vocab().items()}
    for texts in text_chunks(documents):
        before = original.encode_batch(texts, add_special_tokens=False)
        exact = distilled.encode_batch_fast(texts, add_special_tokens=False)
        after = remapped.encode_batch_fast(texts, add_special_tokens=False)
        for text, first, second, third in zip(texts, before, exact, after, strict=True):
            figures.documents += 1
            figures.bytes += len(text.encode())
            figures.tokens_before += len(first.ids)
            figures.tokens_after += len(third.ids)
            words = _words(first.ids, first.word_ids, sizes)
            figures.pretokens += len(words)
            if first.ids == second.ids:
                figures.agreeing_documents += 1
                figures.agreeing_pretokens += len(words)
            else:
                figures.agreeing_pretokens += _agreeing(words, second.ids, sizes)
    return figures


def _words(ids: list[int], word_ids: list[int], sizes: Mapping[int, int]) -> list[tuple[int, list[int]]]:
    """Every pretoken: (byte at which it starts, its ids)."""
    found: list[tuple[int, list[int]]] = []
    place, current = 0, None
    for token_id, word in zip(ids, word_ids, strict=True):
        if word != current:
            found.append((place, []))
            current = word
        found[-1][1].append(token_id)
        place += sizes[token_id]
    return found


def _agreeing(words: list[tuple[int, list[int]]], ids: list[int], sizes: Mapping[int, int]) -> int:
    """How many pretokens stand in `ids` with the same ids at the same bytes (its own pretokens may be cut finer)."""
    starts = dict(zip(accumulate((sizes[token_id] for token_id in ids), initial=0), range(len(ids) + 1), strict=True))
    return sum(
        place in starts and ids[starts[place] : starts[place] + len(expected)] == expected for place, expected in words
    )


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 6) if whole else None
