"""Strings that may become tokens: runs of consecutive tokens inside a pretoken, and its beginnings and ends.

Runs of two or more current tokens hold the continued merges of BPE and whole pretokens; borders only ever disappear
when such a string becomes a token. Beginnings and ends need not stop at a token's border: inflected forms share them
where BPE splits each form in its own way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import regex

from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.compiler import compiled
from ivr.encoding.hash_table import empty_table, find, insert
from ivr.errors import ConfigError

LARGEST_INT32 = 2**31 - 1
# a vocabulary should not memorise people: e-mail addresses, web addresses, long digit strings
DEFAULT_EXCLUDE = r"\w@\w{2}|https?:|www\.|\d{5,}"


@dataclass(frozen=True)
class CandidateRules:
    """What a new token must be."""

    min_count: int  # occurrences in the corpus
    min_documents: int  # documents with one and the same pretoken that holds it: the string is in that many or more
    max_bytes: int
    whole_characters: bool
    exclude: str  # a pattern searched in the text of the candidate; empty: nothing is excluded
    taken: frozenset[bytes] = frozenset()  # strings of ids that no text gives: no second id may have one


@dataclass(frozen=True)
class Candidates:
    """C strings, those that may save most first."""

    strings: list[bytes]
    bounds_C: np.ndarray  # tokens saved if each were the only one chosen, at most
    counts_C: np.ndarray  # occurrences inside pretokens


@compiled
def _add(out, written, row, begin, size, digest, saves, keys, values, num_known):  # type: ignore[no-untyped-def]
    """Write one span, unless `out` is empty; spans are told apart by a 62-bit hash. Returns the distinct spans."""
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
        out[written, 2] = size
        out[written, 3] = number
        out[written, 4] = saves
    return num_known


@compiled
def _spans(data, starts, ids, id_starts, lengths_V, frequent, keys, values, max_bytes, out):  # type: ignore[no-untyped-def]
    """Every span whose inner pairs of tokens are all frequent, as (row, begin, bytes, number, tokens saved at most).

    Spans of two or more tokens; those from the pretoken's begin to inside a token, and from inside a token to its end.
    Returns (spans written, distinct spans); when `out` is empty it only counts.
    """
    written, known = 0, 0
    for row in range(len(starts) - 1):
        first, last = id_starts[row], id_starts[row + 1]
        begin = starts[row]
        for i in range(first, last):
            end = begin
            digest = np.uint64(14695981039346656037)
            for j in range(i, last):
                if j > i and not frequent[j]:
                    break
                step = lengths_V[ids[j]]
                for k in range(end, end + step):
                    if k - begin >= max_bytes:
                        break
                    # the beginning of the pretoken up to here, inside token j
                    if i == first and j - i >= 2 and k > end and (data[k] & 0xC0) != 0x80:
                        known = _add(out, written, row, begin, k - begin, digest, j - i - 1, keys, values, known)
                        written += 1
                    digest = (digest ^ np.uint64(data[k])) * np.uint64(1099511628211)
                end += step
                if end - begin > max_bytes:
                    break
                if j > i:
                    known = _add(out, written, row, begin, end - begin, digest, j - i, keys, values, known)
                    written += 1
            begin += lengths_V[ids[i]]
        # ends of the pretoken, from inside token i
        end = starts[row + 1]
        begin = end
        for i in range(last - 1, first - 1, -1):
            begin -= lengths_V[ids[i]]
            if i + 2 < last and not frequent[i + 2]:
                break
            if last - i >= 3:
                for place in range(begin + 1, begin + lengths_V[ids[i]]):
                    if (data[place] & 0xC0) != 0x80 and end - place <= max_bytes:
                        digest = np.uint64(14695981039346656037)
                        for k in range(place, end):
                            digest = (digest ^ np.uint64(data[k])) * np.uint64(1099511628211)
                        known = _add(out, written, row, place, end - place, digest, last - i - 2, keys, values, known)
                        written += 1
    return written, known


def find_candidates(
    batch: Batch,
    segmentations: Segmentations,
    counts_P: np.ndarray,
    documents_P: np.ndarray,
    weights_P: np.ndarray,
    tokens: Sequence[bytes],
    rules: CandidateRules,
    limit: int,
) -> Candidates:
    """The `limit` best candidates in the current segmentations of the P distinct pretokens, by tokens saved at most.

    Time and memory grow with the number of spans, at most (tokens a pretoken)^2 / 2 for each distinct pretoken.
    """
    lengths_V = np.array([len(token) for token in tokens], np.int64)
    frequent = _frequent_pairs(segmentations, counts_P, len(tokens), rules.min_count)
    arguments = (batch.data, batch.starts, segmentations.ids, segmentations.starts, lengths_V, frequent)
    dtype = np.int32 if len(batch.data) <= LARGEST_INT32 else np.int64  # of a row, a byte offset, a number
    total, _ = _spans(*arguments, *empty_table(1), rules.max_bytes, np.zeros((0, 5), dtype))
    if total > LARGEST_INT32:
        raise ConfigError(
            f"{total:,} strings could become tokens, more than {LARGEST_INT32:,}; give a smaller --max-bytes than "
            f"{rules.max_bytes} or a larger --min-count than {rules.min_count}"
        )
    spans = np.empty((total, 5), dtype)
    _, distinct = _spans(*arguments, *empty_table(total), rules.max_bytes, spans)
    row, begin, size, number, saves = spans.T
    counts = np.bincount(number, counts_P[row], minlength=distinct)
    documents = np.zeros(distinct, np.int64)
    np.maximum.at(documents, number, documents_P[row])
    bounds = np.bincount(number, weights_P[row] * saves, minlength=distinct)
    example = np.zeros(distinct, np.int64)
    example[number[::-1]] = np.arange(total)[::-1]  # the first span of each
    possible = np.flatnonzero((counts >= rules.min_count) & (documents >= rules.min_documents))
    known = {token for token in tokens if token} | rules.taken
    excluded = regex.compile(rules.exclude) if rules.exclude else None
    kept: list[tuple[float, bytes, int]] = []
    for candidate in possible[np.argsort(-bounds[possible], kind="stable")].tolist():
        if len(kept) >= limit and bounds[candidate] < kept[-1][0]:
            break
        place = example[candidate]
        string = batch.data[begin[place] : begin[place] + size[place]].tobytes()
        if string not in known and _acceptable(string, rules.whole_characters, excluded):
            kept.append((float(bounds[candidate]), string, int(counts[candidate])))
    kept.sort(key=lambda found: (-found[0], found[1]))
    return Candidates(
        [string for _, string, _ in kept],
        np.array([bound for bound, _, _ in kept], np.float64),
        np.array([count for _, _, count in kept], np.int64),
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
