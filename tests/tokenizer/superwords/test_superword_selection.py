"""Words and superwords in one selection: every count is that of a plain recount, and nothing spans what it must not."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.encoding.batch import Batch
from ivr.tokenizer.superwords.ngrams import SuperwordRules, SuperwordTrie, find_superwords
from ivr.tokenizer.superwords.parse import Segments, SuperwordParse
from ivr.tokenizer.superwords.scores import STEP, keeps_whole, superword_scores
from ivr.tokenizer.superwords.stream import PretokenStream, no_stream

P, MOST = 5, 4
DOCUMENT = st.lists(st.tuples(st.integers(0, P - 1), st.booleans()), max_size=14)
DOCUMENTS = st.lists(DOCUMENT, min_size=1, max_size=6)
Documents = list[list[tuple[int, bool]]]


def stream_of(documents: Documents) -> PretokenStream:
    """(pretoken, may the next one stand in one superword with it) of every position."""
    rows = [row for document in documents for row, _ in document]
    joined = [join and at + 1 < len(document) for document in documents for at, (_, join) in enumerate(document)]
    numbers = [number for number, document in enumerate(documents) for _ in document]
    return PretokenStream(np.array(rows, np.int32), np.array(numbers, np.int32), np.array(joined, bool))


def ngrams(stream: PretokenStream) -> list[tuple[int, tuple[int, ...]]]:
    """(position, sequence) of all that superwords may be."""
    found = []
    for at in range(len(stream)):
        for size in range(2, MOST + 1):
            if at + size <= len(stream) and stream.joined_T[at : at + size - 1].all():
                found.append((at, tuple(stream.rows_T[at : at + size].tolist())))
    return found


def longest_match(stream: PretokenStream, used: set[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The pieces of the stream, by the definition."""
    every = ngrams(stream)
    pieces, at = [], 0
    while at < len(stream):
        here = [parts for begin, parts in every if begin == at and parts in used]
        pieces.append(max(here, key=len, default=(int(stream.rows_T[at]),)))
        at += len(pieces[-1])
    return pieces


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, st.integers(1, 3), st.integers(1, 2))
def test_candidates_are_the_frequent_sequences_with_their_documents(
    documents: Documents, min_count: int, min_documents: int
) -> None:
    stream = stream_of(documents)
    pretokens = Batch.of([b" a", b"b", b" cc", b"-", b" e"])
    counts = Counter(parts for _, parts in ngrams(stream))
    holding: dict[tuple[int, ...], set[int]] = {}
    for at, parts in ngrams(stream):
        holding.setdefault(parts, set()).add(int(stream.documents_T[at]))
    rules = SuperwordRules(MOST, min_count, min_documents, 128, "")
    found = find_superwords(stream, pretokens, np.full(P, 2), frozenset({b" ab"}), rules, 10**6)
    strings = {row: pretokens.string(row) for row in range(P)}
    wanted = {
        parts: count
        for parts, count in counts.items()
        if count >= min_count and len(holding[parts]) >= min_documents and parts != (0, 1)
    }
    assert dict(zip(found.rows, found.counts_S.tolist(), strict=True)) == wanted
    assert found.strings == [b"".join(strings[row] for row in parts) for parts in found.rows]
    assert found.bounds_S.tolist() == [wanted[parts] * (2 * len(parts) - 1) for parts in found.rows]
    assert found.bounds_S.tolist() == sorted(found.bounds_S.tolist(), reverse=True)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(DOCUMENTS, DOCUMENTS, st.data())
def test_changes_and_counts_are_those_of_a_plain_recount(
    documents: Documents, protected: Documents, data: st.DataObject
) -> None:
    streams = stream_of(documents), stream_of(protected)
    every = sorted({parts for stream in streams for _, parts in ngrams(stream)})
    chosen = data.draw(st.lists(st.sampled_from(every), unique=True, max_size=8)) if every else []
    segments = Segments.of(*streams, SuperwordTrie(chosen, P))
    lengths_P = np.array([data.draw(st.integers(1, 4)) for _ in range(P)], np.int32)
    weights = 1.0, 3.0
    parse = SuperwordParse(segments, len(chosen), segments.domain_T + 3.0 * segments.protected_T)
    rows = [np.bincount(stream.rows_T, minlength=P) for stream in streams]
    alone_P = sum(weight * count for weight, count in zip(weights, rows, strict=True)).astype(np.float64)
    used: set[tuple[int, ...]] = set()

    def objective() -> float:
        return sum(
            weight * sum(1 if len(piece) > 1 else lengths_P[piece[0]] for piece in longest_match(stream, used))
            for weight, stream in zip(weights, streams, strict=True)
        )

    for _ in range(data.draw(st.integers(0, 10)) if chosen else 0):
        number = data.draw(st.integers(0, len(chosen) - 1))
        on, before = not parse.is_used(number), objective()
        foreseen = parse.change(number, on, lengths_P)
        assert parse.switch(number, on, lengths_P, alone_P) == foreseen
        used ^= {chosen[number]}
        assert objective() - before == foreseen
    for stream, weights_T in zip(streams, (segments.domain_T, segments.protected_T), strict=True):
        uses_S, covered_P = parse.counts(weights_T, P)
        pieces = Counter(longest_match(stream, used))
        assert uses_S.tolist() == [pieces[parts] for parts in chosen]
        inside = Counter(row for piece in longest_match(stream, used) if len(piece) > 1 for row in piece)
        assert covered_P.tolist() == [inside[row] for row in range(P)]
    singles = [Counter(piece[0] for piece in longest_match(stream, used) if len(piece) == 1) for stream in streams]
    assert alone_P.tolist() == [sum(w * s[row] for w, s in zip(weights, singles, strict=True)) for row in range(P)]


def test_equal_parts_of_a_stream_are_kept_once() -> None:
    stream = stream_of([[(0, True), (1, True), (2, False), (3, True)]] * 50)
    segments = Segments.of(stream, no_stream(), SuperwordTrie([(0, 1)], P))
    assert segments.rows_T.tolist() == [0, 1]
    assert segments.domain_T.tolist() == [50, 50]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("ab", min_size=2, max_size=9).map(str.encode), min_size=1, max_size=8, unique=True),
    st.lists(st.integers(-(2**49), 2**50), min_size=2, max_size=2),
)
def test_a_superword_scores_more_than_any_split_of_itself(strings: list[bytes], bytes_scores: list[int]) -> None:
    """By every split, in float64, as the library adds scores up."""
    scores = dict(zip(strings, superword_scores([b"a", b"b"], np.array(bytes_scores), strings), strict=True))
    assert all(score % STEP == 0 for score in scores.values())
    best = {b"": 0.0}
    known = {b"a": float(bytes_scores[0]), b"b": float(bytes_scores[1]), **{s: float(v) for s, v in scores.items()}}
    for string in strings:
        for end in range(1, len(string) + 1):
            parts = [string[begin:end] for begin in range(end)]
            best[string[:end]] = max(
                best[string[:begin]] + known[part]
                for begin, part in enumerate(parts)
                if part in known and part != string
            )
        assert scores[string] > best[string] + STEP / 2
        assert keeps_whole(scores[string], int(best[string]))
        assert not keeps_whole(int(best[string]), int(best[string]))
