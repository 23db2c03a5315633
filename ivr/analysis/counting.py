"""Counting pretokens and tokens of a corpus: every distinct pretoken is encoded once, not every occurrence.

Documents travel to worker processes in chunks of a few megabytes and come back, in order, as counts and as lines
of ids. Time grows with the bytes of the corpus (the splitting regular expression), memory with the number of
distinct pretokens and the size of a chunk.
"""

import multiprocessing
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.batch import Batch
from ivr.encoding.bpe import read_bpe
from ivr.encoding.bpe_encoder import BpeEncoder

CHUNK_CHARACTERS = 1 << 20


@dataclass
class ChunkCounts:
    """What one chunk of documents holds. P distinct pretokens, V ids."""

    pretokens: list[str]  # P
    counts_P: np.ndarray  # occurrences, int64
    documents_P: np.ndarray  # documents that hold it, int64
    token_counts_V: np.ndarray
    token_documents_V: np.ndarray
    lines: str  # one document a line, ids separated by blanks; empty when not asked for
    num_documents: int
    num_bytes: int


@dataclass
class CorpusCounts:
    """Totals over a corpus. `pretokens` maps a pretoken to [occurrences, documents]."""

    num_ids: int
    pretokens: dict[str, list[int]] = field(default_factory=dict)
    num_documents: int = 0
    num_bytes: int = 0
    token_counts_V: np.ndarray = field(init=False)
    token_documents_V: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.token_counts_V = np.zeros(self.num_ids, np.int64)
        self.token_documents_V = np.zeros(self.num_ids, np.int64)

    def add(self, chunk: ChunkCounts) -> None:
        """Add one chunk's counts; the order of the chunks does not matter."""
        totals = self.pretokens
        for pretoken, count, documents in zip(
            chunk.pretokens, chunk.counts_P.tolist(), chunk.documents_P.tolist(), strict=True
        ):
            total = totals.get(pretoken)
            if total is None:
                totals[pretoken] = [count, documents]
            else:
                total[0] += count
                total[1] += documents
        self.token_counts_V += chunk.token_counts_V
        self.token_documents_V += chunk.token_documents_V
        self.num_documents += chunk.num_documents
        self.num_bytes += chunk.num_bytes

    def sorted_pretokens(self) -> tuple[list[str], list[int], list[int]]:
        """(pretokens, occurrences, documents), most frequent first, then in code point order."""
        order = sorted(self.pretokens, key=lambda pretoken: (-self.pretokens[pretoken][0], pretoken))
        return order, [self.pretokens[p][0] for p in order], [self.pretokens[p][1] for p in order]


class ChunkCounter:
    """Counts chunks with one tokenizer; keeps the ids of every pretoken met so far."""

    def __init__(self, tokenizer: Tokenizer, write_lines: bool) -> None:
        self.num_ids = tokenizer.get_vocab_size(with_added_tokens=True)
        self._splitter = PretokenSplitter(tokenizer)
        self._encoder = BpeEncoder(read_bpe(tokenizer))
        self._write_lines = write_lines
        self._index: dict[str, int] = {}  # pretoken -> its row
        self._rows: list[str] = []
        self._ids = _Ragged()
        self._texts: list[str] = []  # the ids of a row as text

    def __call__(self, documents: list[str]) -> ChunkCounts:
        split = self._splitter.for_texts(documents)
        pieces = [split(document) for document in documents]
        flat = list(chain.from_iterable(pieces))
        self._learn(set(flat))
        rows_N = np.fromiter(map(self._index.__getitem__, flat), np.int64, len(flat))
        lengths = [len(piece) for piece in pieces]
        document_N = np.repeat(np.arange(len(documents)), lengths)

        # (document, pretoken) pairs, each once: for document counts
        pairs_M = _distinct(document_N * len(self._rows) + rows_N)
        pair_document_M, pair_row_M = pairs_M // len(self._rows), pairs_M % len(self._rows)
        counts = np.bincount(rows_N, minlength=len(self._rows))
        rows_P = np.flatnonzero(counts)
        counts_P = counts[rows_P]
        documents_P = np.bincount(pair_row_M, minlength=len(self._rows))[rows_P]
        # tokens: the ids of each distinct pretoken, weighted by its count
        ids, lengths_P = self._ids.of_rows(rows_P)
        token_counts_V = np.zeros(self.num_ids, np.int64)
        np.add.at(token_counts_V, ids, np.repeat(counts_P, lengths_P))
        ids, lengths_M = self._ids.of_rows(pair_row_M)
        token_pairs = _distinct(np.repeat(pair_document_M, lengths_M) * self.num_ids + ids)
        return ChunkCounts(
            pretokens=[self._rows[row] for row in rows_P],
            counts_P=counts_P,
            documents_P=documents_P,
            token_counts_V=token_counts_V,
            token_documents_V=np.bincount(token_pairs % self.num_ids, minlength=self.num_ids),
            lines=self._lines(rows_N, lengths) if self._write_lines else "",
            num_documents=len(documents),
            num_bytes=sum(len(document.encode()) for document in documents),
        )

    def _learn(self, pretokens: set[str]) -> None:
        new = sorted(pretokens.difference(self._index))
        encoded = self._encoder.encode(Batch.of([pretoken.encode() for pretoken in new]), threads=1)
        ids, bounds = encoded.ids.tolist(), encoded.starts.tolist()
        self._index.update(zip(new, range(len(self._rows), len(self._rows) + len(new)), strict=True))
        self._rows += new
        texts = list(map(str, ids))
        self._texts += [" ".join(texts[begin:end]) for begin, end in pairwise(bounds)]
        self._ids.append(encoded.ids, encoded.lengths())

    def _lines(self, rows_N: np.ndarray, lengths: list[int]) -> str:
        texts = list(map(self._texts.__getitem__, rows_N.tolist()))
        ends = list(accumulate(lengths))
        return "".join(" ".join(texts[end - n : end]) + "\n" for n, end in zip(lengths, ends, strict=True))


def _distinct(values: np.ndarray) -> np.ndarray:
    """Sorted distinct values; several times faster here than np.unique, which hashes."""
    values = np.sort(values)
    return values[np.flatnonzero(np.diff(values, prepend=-1))]


class _Ragged:
    """Rows of ids of different lengths in one flat array."""

    def __init__(self) -> None:
        self._flat = np.zeros(0, np.int64)
        self._starts = np.zeros(1, np.int64)

    def append(self, flat: np.ndarray, lengths: np.ndarray) -> None:
        self._flat = np.concatenate([self._flat, flat])
        self._starts = np.concatenate([self._starts, self._starts[-1] + np.cumsum(lengths)])

    def of_rows(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ids of all these rows one after another, length of each row)."""
        lengths = self._starts[rows + 1] - self._starts[rows]
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        return self._flat[np.repeat(self._starts[rows], lengths) + within], lengths


def chunks_of(documents: Iterable[str], characters: int = CHUNK_CHARACTERS) -> Iterator[list[str]]:
    """Group documents until a group holds `characters`; a longer document is a group of its own."""
    group: list[str] = []
    size = 0
    for document in documents:
        group.append(document)
        size += len(document)
        if size >= characters:
            yield group
            group, size = [], 0
    if group:
        yield group


_COUNTER: Any = None  # one per worker process


def _start_worker(tokenizer_json: str, write_lines: bool) -> None:
    global _COUNTER
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    _COUNTER = ChunkCounter(Tokenizer.from_str(tokenizer_json), write_lines)


def _count_chunk(documents: list[str]) -> ChunkCounts:
    return _COUNTER(documents)


def count_chunks(
    tokenizer: Tokenizer, documents: Iterable[str], write_lines: bool = False, processes: int = 1
) -> Iterator[ChunkCounts]:
    """Count documents chunk by chunk, in order, in `processes` worker processes."""
    chunks = chunks_of(documents)
    if processes <= 1:
        yield from map(ChunkCounter(tokenizer, write_lines), chunks)
        return
    # spawn: a fork would copy the threads of whatever library is loaded
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, _start_worker, (tokenizer.to_str(), write_lines)) as pool:
        yield from _in_order(pool, chunks, ahead=2 * processes)


def _in_order(pool: Any, chunks: Iterable[list[str]], ahead: int) -> Iterator[ChunkCounts]:
    """Like `imap`, with at most `ahead` chunks under way, so that a corpus is never in memory whole."""
    waiting: list[Any] = []
    for chunk in chunks:
        waiting.append(pool.apply_async(_count_chunk, (chunk,)))
        if len(waiting) >= ahead:
            yield waiting.pop(0).get()
    for result in waiting:
        yield result.get()
