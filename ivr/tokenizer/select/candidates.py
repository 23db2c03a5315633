"""Strings that may become tokens: runs of consecutive tokens inside a pretoken, and its beginnings and ends.

Runs of two or more current tokens hold the continued merges of BPE and whole pretokens; borders only ever disappear
when such a string becomes a token. Beginnings and ends need not stop at a token's border: inflected forms share them
where BPE splits each form in its own way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
    documents_C: np.ndarray  # that hold it, one counted for each distinct pretoken in which it does


@dataclass(frozen=True)
class Pretokens:
    """P distinct pretokens, and what each counts."""

    batch: Batch
    segmentations: Segmentations  # as they are now
    counts_P: np.ndarray  # occurrences in the corpus, int64
    documents_P: np.ndarray  # documents that hold it, int64
    weights_P: np.ndarray  # in the objective, float64


class _Text(NamedTuple):
    """Pretokens for compiled loops."""

    data: np.ndarray
    starts: np.ndarray
    ids: np.ndarray
    id_starts: np.ndarray
    lengths_V: np.ndarray  # bytes of each token
    frequent: np.ndarray  # bool: the token and the one before it are a frequent pair


class _Spans(NamedTuple):
    """Where spans go: `out` (S, 5), empty to count only; a hash table numbers the distinct ones."""

    out: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    counts: np.ndarray  # (2,): spans written, distinct spans


class _Span(NamedTuple):
    row: int
    begin: int  # in the data of all pretokens, as all places here
    end: int
    digest: int  # of its bytes, FNV-1a
    saves: int  # tokens, at most


@compiled
def _add(spans, span):  # type: ignore[no-untyped-def]
    """Write one span; spans are told apart by a 62-bit hash."""
    out = spans.out
    if len(out) > 0:
        written, digest = spans.counts[0], span.digest
        mixed = digest ^ (digest >> np.uint64(29))
        key = np.int64(mixed & np.uint64(0x3FFFFFFFFFFFFFFF))
        number = find(spans.keys, spans.values, key)
        if number < 0:
            number = spans.counts[1]
            insert(spans.keys, spans.values, key, number)
            spans.counts[1] += 1
        out[written, 0] = span.row
        out[written, 1] = span.begin
        out[written, 2] = span.end - span.begin
        out[written, 3] = number
        out[written, 4] = span.saves
    spans.counts[0] += 1


@compiled
def _find_spans(text, max_bytes, spans):  # type: ignore[no-untyped-def]
    """Every span whose inner pairs of tokens are all frequent, as (row, begin, bytes, number, tokens saved at most).

    Spans of two or more tokens; those from the pretoken's begin to inside a token, and from inside a token to its end.
    """
    data, starts, ids, id_starts, lengths_V, frequent = text
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
                        _add(spans, _Span(row, begin, k, digest, j - i - 1))
                    digest = (digest ^ np.uint64(data[k])) * np.uint64(1099511628211)
                end += step
                if end - begin > max_bytes:
                    break
                if j > i:
                    _add(spans, _Span(row, begin, end, digest, j - i))
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
                        _add(spans, _Span(row, place, end, digest, last - i - 2))


def find_candidates(pretokens: Pretokens, tokens: Sequence[bytes], rules: CandidateRules, limit: int) -> Candidates:
    """The `limit` best candidates in the current segmentations of the pretokens, by tokens saved at most.

    Time and memory grow with the number of spans, at most (tokens a pretoken)^2 / 2 for each distinct pretoken.
    """
    lengths_V = np.array([len(token) for token in tokens], np.int64)
    batch, segmentations, counts_P = pretokens.batch, pretokens.segmentations, pretokens.counts_P
    frequent = _frequent_pairs(segmentations, counts_P, len(tokens), rules.min_count)
    text = _Text(batch.data, batch.starts, segmentations.ids, segmentations.starts, lengths_V, frequent)
    dtype = np.int32 if len(batch.data) <= LARGEST_INT32 else np.int64  # of a row, a byte offset, a number
    total = _written(text, rules.max_bytes, np.zeros((0, 5), dtype))[0]
    if total > LARGEST_INT32:
        raise ConfigError(
            f"{total:,} strings could become tokens, more than {LARGEST_INT32:,}; give a smaller --max-bytes than "
            f"{rules.max_bytes} or a larger --min-count than {rules.min_count}"
        )
    spans = np.empty((total, 5), dtype)
    distinct = _written(text, rules.max_bytes, spans)[1]
    row, begin, size, number, saves = spans.T
    counts = np.bincount(number, counts_P[row], minlength=distinct)
    documents = np.zeros(distinct, np.int64)
    np.maximum.at(documents, number, pretokens.documents_P[row])
    holding = np.bincount(number, pretokens.documents_P[row], minlength=distinct)
    bounds = np.bincount(number, pretokens.weights_P[row] * saves, minlength=distinct)
    example = np.zeros(distinct, np.int64)
    example[number[::-1]] = np.arange(total)[::-1]  # the first span of each
    possible = np.flatnonzero((counts >= rules.min_count) & (documents >= rules.min_documents))
    known = {token for token in tokens if token} | rules.taken
    excluded = regex.compile(rules.exclude) if rules.exclude else None
    kept: list[tuple[float, bytes, int, int]] = []
    for candidate in possible[np.argsort(-bounds[possible], kind="stable")].tolist():
        if len(kept) >= limit and bounds[candidate] < kept[-1][0]:
            break
        place = example[candidate]
        string = batch.data[begin[place] : begin[place] + size[place]].tobytes()
        if string not in known and _acceptable(string, rules.whole_characters, excluded):
            kept.append((float(bounds[candidate]), string, int(counts[candidate]), int(holding[candidate])))
    kept.sort(key=lambda found: (-found[0], found[1]))
    return Candidates(
        [string for _, string, _, _ in kept],
        np.array([bound for bound, _, _, _ in kept], np.float64),
        np.array([count for _, _, count, _ in kept], np.int64),
        np.array([held for _, _, _, held in kept], np.int64),
    )


def _written(text: _Text, max_bytes: int, out: np.ndarray) -> tuple[int, int]:
    """Find spans, into `out`; returns (spans, distinct spans)."""
    counts = np.zeros(2, np.int64)
    # all may be distinct, and are not by far: a table that would be two thirds full then
    _find_spans(text, max_bytes, _Spans(out, *empty_table(max(len(out) // 2, 1)), counts))
    return int(counts[0]), int(counts[1])


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
