"""Strings that may become tokens: runs of two or more consecutive current tokens inside a pretoken.

They hold the continued merges of BPE, whole pretokens, and their prefixes and suffixes. Because borders only ever
disappear when such a string becomes a token, the set stays the same while tokens are chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import regex

from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.compiler import compiled
from ivr.encoding.hash_table import empty_table, find, insert

# a vocabulary should not memorise people: e-mail addresses, web addresses, long digit strings
DEFAULT_EXCLUDE = r"\S+@\S+|https?:|www\.|\d{5,}"


@dataclass(frozen=True)
class CandidateRules:
    """What a new token must be."""

    min_count: int  # occurrences in the corpus
    min_documents: int  # documents, counted per pretoken that holds it
    max_bytes: int
    whole_characters: bool
    exclude: str  # a pattern searched in the text of the candidate; empty: nothing is excluded


@dataclass(frozen=True)
class Candidates:
    """C strings, each with the rows of the batch that hold it: `rows[starts[c]:starts[c + 1]]`."""

    strings: list[bytes]
    counts_C: np.ndarray  # occurrences in the corpus
    saved_C: np.ndarray  # tokens saved if it were the only one chosen (overlaps with itself counted twice)
    starts: np.ndarray
    rows: np.ndarray

    def rows_of(self, candidate: int) -> np.ndarray:
        return self.rows[self.starts[candidate] : self.starts[candidate + 1]]


@compiled
def _spans(data, starts, ids, id_starts, lengths_V, frequent, keys, values, max_bytes, out, num_known):  # type: ignore[no-untyped-def]
    """Every span of two or more tokens whose inner pairs are all frequent, as (row, begin, bytes, key number, tokens).

    Spans are told apart by a 62-bit hash of their bytes. Returns (spans written, distinct spans); when `out` is
    empty it only counts.
    """
    written = 0
    for row in range(len(starts) - 1):
        first, last = id_starts[row], id_starts[row + 1]
        begin = starts[row]
        for i in range(first, last - 1):
            end = begin
            digest = np.uint64(14695981039346656037)
            for j in range(i, last):
                if j > i and not frequent[j]:
                    break
                step = lengths_V[ids[j]]
                if end + step - begin > max_bytes:
                    break
                for k in range(end, end + step):
                    digest = (digest ^ np.uint64(data[k])) * np.uint64(1099511628211)
                end += step
                if j > i:
                    if len(out) > 0:
                        mixed = digest ^ (digest >> np.uint64(29))
                        key = np.int64(mixed & np.uint64(0x3FFFFFFFFFFFFFFF))
                        number = find(keys, values, key)
                        if number < 0:
                            number = num_known
                            insert(keys, values, key, number)
                            num_known += 1
                        out[written, 0] = row
                        out[written, 1] = begin
                        out[written, 2] = end - begin
                        out[written, 3] = number
                        out[written, 4] = j - i
                    written += 1
            begin += lengths_V[ids[i]]
    return written, num_known


def find_candidates(
    batch: Batch,
    segmentations: Segmentations,
    counts_P: np.ndarray,
    documents_P: np.ndarray,
    tokens: Sequence[bytes],
    rules: CandidateRules,
) -> Candidates:
    """All candidates in the current segmentations of the P distinct pretokens, by tokens saved, most first.

    Time and memory grow with the number of spans, at most (tokens a pretoken)^2 / 2 for each distinct pretoken.
    """
    lengths_V = np.array([len(token) for token in tokens], np.int64)
    frequent = _frequent_pairs(segmentations, counts_P, len(tokens), rules.min_count)
    arguments = (batch.data, batch.starts, segmentations.ids, segmentations.starts, lengths_V, frequent)
    nothing = np.zeros((0, 5), np.int32)
    total, _ = _spans(*arguments, *empty_table(1), rules.max_bytes, nothing, 0)
    spans = np.empty((total, 5), np.int32)
    _, distinct = _spans(*arguments, *empty_table(total), rules.max_bytes, spans, 0)
    row, begin, size, number, joins = spans.T

    assert len(batch.data) < 2**31, "byte offsets are kept in 32 bits"
    counts = np.bincount(number, counts_P[row], minlength=distinct).astype(np.int64)
    documents = np.bincount(number, documents_P[row], minlength=distinct).astype(np.int64)
    saved = np.bincount(number, counts_P[row] * joins, minlength=distinct).astype(np.int64)
    example = np.zeros(distinct, np.int64)
    example[number[::-1]] = np.arange(total)[::-1]  # the first span of each
    known = {token for token in tokens if token}
    excluded = regex.compile(rules.exclude) if rules.exclude else None
    kept = []
    for candidate in np.flatnonzero((counts >= rules.min_count) & (documents >= rules.min_documents)).tolist():
        place = example[candidate]
        string = batch.data[begin[place] : begin[place] + size[place]].tobytes()
        if string not in known and _acceptable(string, rules.whole_characters, excluded):
            kept.append((-int(saved[candidate]), string, candidate))
    kept.sort()
    new_number = np.full(distinct, -1, np.int64)
    new_number[[candidate for _, _, candidate in kept]] = np.arange(len(kept))
    pairs = np.unique(np.stack([new_number[number], row], axis=1)[new_number[number] >= 0], axis=0)
    order = [candidate for _, _, candidate in kept]
    return Candidates(
        strings=[string for _, string, _ in kept],
        counts_C=counts[order],
        saved_C=saved[order],
        starts=np.searchsorted(pairs[:, 0], np.arange(len(kept) + 1)),
        rows=pairs[:, 1].copy(),
    )


def _frequent_pairs(segmentations: Segmentations, counts_P: np.ndarray, num_ids: int, min_count: int) -> np.ndarray:
    """For each token, does it and the one before it form a pair that occurs at least `min_count` times?"""
    ids = segmentations.ids.astype(np.int64)
    pairs = np.concatenate([[-1], ids[:-1] * num_ids + ids[1:]])
    weights = np.repeat(counts_P, segmentations.lengths())
    _, inverse = np.unique(pairs, return_inverse=True)
    return np.bincount(inverse, weights)[inverse] >= min_count


def _acceptable(string: bytes, whole_characters: bool, excluded: "regex.Pattern[str] | None") -> bool:
    try:
        text = string.decode("utf-8")
    except UnicodeDecodeError:
        return not whole_characters
    return excluded is None or not excluded.search(text)
