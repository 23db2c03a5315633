"""Counting pretokens and tokens of a corpus: every distinct pretoken is encoded once, not every occurrence.

Documents travel to worker threads in chunks of about a megabyte; compiled loops, without the interpreter lock, split
them, number their pretokens and write their ids. Time grows with the bytes of the corpus, memory with the number of
distinct pretokens (times the threads) and the size of the longest document.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import IO, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from ivr.analysis.added_tokens import PieceEncoder, TextPieces, is_added
from ivr.encoding.batch import Batch, Segmentations
from ivr.encoding.bpe import read_bpe
from ivr.encoding.compiler import compiled
from ivr.encoding.string_table import StringTable, resized

CHUNK_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class CorpusCounts:
    """Totals over a corpus. P distinct pretokens, most frequent first, then in code point order; V ids."""

    pretokens: Batch  # P, UTF-8
    counts_P: np.ndarray  # occurrences, int64
    documents_P: np.ndarray  # documents that hold it, int64
    token_counts_V: np.ndarray
    token_documents_V: np.ndarray
    num_documents: int
    num_bytes: int


class _Tally(NamedTuple):
    """Counts of P pretokens and of V ids so far."""

    counts_P: np.ndarray
    documents_P: np.ndarray
    last_document_P: np.ndarray  # the number of the last document that holds it, from 1
    token_documents_V: np.ndarray
    last_document_V: np.ndarray

    def with_room(self, size: int) -> "_Tally":
        """For `size` pretokens."""
        counts, documents, last = (resized(array, size) for array in self[:3])
        return self._replace(counts_P=counts, documents_P=documents, last_document_P=last)


@compiled
def _count(rows, piece_starts, document, ids, id_starts, tally):  # type: ignore[no-untyped-def]
    """Count pretokens, and the documents that hold a pretoken or an id; `document` numbers the first one, from 1."""
    for text in range(len(piece_starts) - 1):
        for piece in range(piece_starts[text], piece_starts[text + 1]):
            row = rows[piece]
            tally.counts_P[row] += 1
            if tally.last_document_P[row] != document:
                tally.last_document_P[row] = document
                tally.documents_P[row] += 1
                for place in range(id_starts[row], id_starts[row + 1]):
                    if tally.last_document_V[ids[place]] != document:
                        tally.last_document_V[ids[place]] = document
                        tally.token_documents_V[ids[place]] += 1
        document += 1


@compiled
def _write_lines(rows, piece_starts, ids, id_starts, numerals, numeral_starts, out):  # type: ignore[no-untyped-def]
    """One text a line; `numerals` holds every id as text, with a blank. Returns the bytes written."""
    written = 0
    for text in range(len(piece_starts) - 1):
        begin = written
        for piece in range(piece_starts[text], piece_starts[text + 1]):
            for place in range(id_starts[rows[piece]], id_starts[rows[piece] + 1]):
                for i in range(numeral_starts[ids[place]], numeral_starts[ids[place] + 1]):
                    out[written] = numerals[i]
                    written += 1
        if written == begin:
            written += 1
        out[written - 1] = ord("\n")  # in place of the last blank
    return written


class PretokenCounter:
    """Counts documents; keeps every distinct pretoken met so far, its ids and its counts. One thread at a time."""

    def __init__(self, splitter: TextPieces, encoder: PieceEncoder, numerals: Batch) -> None:
        self._splitter, self._encoder, self._numerals = splitter, encoder, numerals
        self._table = StringTable()
        self._known = 0  # rows of the table that are encoded
        self._ids = np.zeros(1 << 12, np.int32)
        self._id_starts = np.zeros(1, np.int64)
        sizes = (0, 0, 0, len(numerals), len(numerals))
        self._tally = _Tally(*(np.zeros(size, np.int64) for size in sizes))
        self._num_documents = self._num_bytes = 0

    def count(self, documents: list[bytes], write_lines: bool) -> bytes:
        """Count; returns the ids, one document a line, separated by blanks, or nothing."""
        pieces = self._splitter.split(documents)
        rows = self._table.numbers(pieces.data, pieces.ends)
        self._learn()
        _count(rows, pieces.starts, self._num_documents + 1, self._ids, self._id_starts, self._tally)
        self._num_documents += len(documents)
        self._num_bytes += sum(map(len, documents))
        if not write_lines:
            return b""
        num_ids = int((self._id_starts[rows + 1] - self._id_starts[rows]).sum())
        longest = int(np.diff(self._numerals.starts).max(initial=0))
        out = np.empty(num_ids * longest + len(documents), np.uint8)
        written = _write_lines(
            rows, pieces.starts, self._ids, self._id_starts, self._numerals.data, self._numerals.starts, out
        )
        return out[:written].tobytes()

    def _learn(self) -> None:
        """Encode the pretokens that are new in the table."""
        known, size = self._known, len(self._table)
        if known == size:
            return
        encoded = self._encoder.encode(self._table.strings(known), threads=1)
        used = int(self._id_starts[known])
        total = used + len(encoded.ids)
        if total > len(self._ids):
            self._ids = resized(self._ids, 2 * total)
        if size > len(self._tally.counts_P):
            self._id_starts = resized(self._id_starts, 2 * size + 1)
            self._tally = self._tally.with_room(2 * size)
        self._ids[used:total] = encoded.ids
        self._id_starts[known + 1 : size + 1] = used + encoded.starts[1:]
        self._known = size

    def add(self, other: "PretokenCounter") -> None:
        """Add the counts of another, whose documents are others."""
        strings, size = other._table.strings(), len(other._table)
        rows = self._table.numbers(strings.data, strings.starts[1:])
        self._learn()
        self._tally.counts_P[rows] += other._tally.counts_P[:size]  # its strings are distinct, so are the rows
        self._tally.documents_P[rows] += other._tally.documents_P[:size]
        self._tally.token_documents_V[:] += other._tally.token_documents_V
        self._num_documents += other._num_documents
        self._num_bytes += other._num_bytes

    def totals(self) -> CorpusCounts:
        """What was counted, sorted."""
        size = len(self._table)
        strings, counts_P = self._table.strings(), self._tally.counts_P[:size]
        order = sorted_rows(strings, counts_P)
        order = order[~is_added(strings)[order]]  # tokens they are, and no pretokens
        segmentations = Segmentations(self._ids[: self._id_starts[size]], self._id_starts[: size + 1])
        assert self._num_bytes < 2**53, "counts are summed as float64"
        weights = np.repeat(counts_P, segmentations.lengths())
        return CorpusCounts(
            pretokens=strings.select(order),
            counts_P=counts_P[order],
            documents_P=self._tally.documents_P[:size][order],
            # floats that hold integers are exact below 2^53
            token_counts_V=np.bincount(segmentations.ids, weights, len(self._numerals)).astype(np.int64),
            token_documents_V=self._tally.token_documents_V,
            num_documents=self._num_documents,
            num_bytes=self._num_bytes,
        )


def sorted_rows(strings: Batch, counts_P: np.ndarray) -> np.ndarray:
    """Rows by falling count, then by bytes, which for UTF-8 is the order of code points."""
    texts = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(strings), [None, pa.py_buffer(strings.starts), pa.py_buffer(strings.data)]
    )
    table = pa.table({"count": counts_P, "text": texts})
    return pc.sort_indices(table, [("count", "descending"), ("text", "ascending")]).to_numpy().astype(np.int64)


Document = TypeVar("Document", str, bytes)  # text, or its UTF-8


def chunks_of(documents: Iterable[Document], characters: int = CHUNK_CHARACTERS) -> Iterator[list[Document]]:
    """Group documents until a group holds `characters` (bytes of UTF-8); a longer document ends its group."""
    group: list[Document] = []
    size = 0
    for document in documents:
        group.append(document)
        size += len(document)
        if size >= characters:
            yield group
            group, size = [], 0
    if group:
        yield group


def count_documents(
    tokenizer: Tokenizer,
    documents: Iterable[Document],
    threads: int = 1,
    lines: IO[bytes] | None = None,
    on_bytes: Callable[[int], None] = lambda done: None,
) -> CorpusCounts:
    """Count documents in `threads` threads; with `lines`, write the ids of every document there, in order.

    Raises UnicodeDecodeError for bytes that are not UTF-8.
    """
    splitter, encoder = TextPieces.of(tokenizer), PieceEncoder(read_bpe(tokenizer))
    numerals = Batch.of([b"%d " % token_id for token_id in range(tokenizer.get_vocab_size(with_added_tokens=True))])
    counters = [PretokenCounter(splitter, encoder, numerals) for _ in range(max(threads, 1))]
    free: SimpleQueue[PretokenCounter] = SimpleQueue()
    for counter in counters:
        free.put(counter)

    def work(chunk: list[Document]) -> tuple[bytes, int]:
        encoded = [document.encode() if isinstance(document, str) else document for document in chunk]
        b"\n".join(encoded).decode()  # compiled code reads on where a character promises more bytes
        counter = free.get()
        try:
            return counter.count(encoded, lines is not None), sum(map(len, encoded))
        finally:
            free.put(counter)

    with ThreadPoolExecutor(len(counters)) as pool:
        for written, num_bytes in _in_order(pool, work, chunks_of(documents), ahead=2 * len(counters)):
            if lines is not None:
                lines.write(written)
            on_bytes(num_bytes)
    for other in counters[1:]:
        counters[0].add(other)
    return counters[0].totals()


def _in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[list[Document]], tuple[bytes, int]],
    chunks: Iterable[list[Document]],
    ahead: int,
) -> Iterator[tuple[bytes, int]]:
    """Like `pool.map`, with at most `ahead` chunks under way, so that a corpus is never in memory whole."""
    waiting: deque[Future[tuple[bytes, int]]] = deque()
    for chunk in chunks:
        waiting.append(pool.submit(work, chunk))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
