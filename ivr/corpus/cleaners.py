"""A whole corpus cleaned by several processes, with the same bytes as by one.

Every file is cut into pieces (ivr.corpus.reading.splitting). A file of one piece is written by the process that cleans
it; the pieces of a cut file come back as bytes and are appended here in their order. Memory holds a few pieces a
process.
"""

import contextlib
import json
import multiprocessing
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from ivr.console import Progress
from ivr.corpus.cleaning import CleaningOptions, SourceCount, clean_piece
from ivr.corpus.readers import decide_reading
from ivr.corpus.reading.items import Reject
from ivr.corpus.reading.splitting import Piece, pieces_of
from ivr.corpus.sources import Source, cleaned_names, find_sources
from ivr.corpus.summary import log_summary
from ivr.errors import TryAgainError
from ivr.workers import end_with_parent

INLINE_BYTES = 4 << 20  # a corpus so small is cleaned before a process has started
PIECES_AHEAD = 2  # per process
POLL_SECONDS = 0.5
SCRATCH = ".rejects"  # below the directory of cleaned files, while they are made


@dataclass
class _Result:
    """What came of a piece of a cut file."""

    count: SourceCount
    kept: bytes
    heldout: bytes
    rejects: list[Reject]
    lines: int


@dataclass(frozen=True)
class _Task:
    """A piece, and where its file's documents and rejects go."""

    piece: Piece
    options: CleaningOptions
    train: Path
    heldout: Path
    rejects: Path


def clean_corpus(
    root: Path, options: CleaningOptions, train: Path, heldout: Path, rejects: IO[str], processes: int = 1
) -> list[SourceCount]:
    """Clean every file below `root` into `train`/<source>.txt and `heldout`/<source>.txt (existing directories).

    One line of JSON goes to `rejects` for everything left out. A file without a kept document gets no output.
    """
    begun = time.monotonic()
    sources, left_out = find_sources(root)
    names = cleaned_names(sources)
    counts = []
    for item in left_out:
        counts.append(SourceCount(item.name, "", rejected={item.reason: 1}))
        rejects.write(_row(options.corpus, item.name, Reject(0, item.reason, "")))
    raw_bytes = sum(source.path.stat().st_size for source in sources)
    if raw_bytes < INLINE_BYTES:
        processes = 1
    scratch = train / SCRATCH
    scratch.mkdir()
    try:
        with Progress(f"clean {options.corpus}", unit="B") as bar, _Workers(processes, bar.update) as workers:
            cleaned = _clean_sources(sources, names, options, (train, heldout, scratch), workers)
        for number, source in enumerate(sources):
            with contextlib.suppress(FileNotFoundError), (scratch / str(number)).open(encoding="utf-8") as stream:
                shutil.copyfileobj(stream, rejects)
            count = cleaned[source]
            if not (count.documents or count.heldout_documents or count.rejected):
                count.rejected["no document in the file"] = 1
                rejects.write(_row(options.corpus, source.name, Reject(0, "no document in the file", "")))
    finally:
        shutil.rmtree(scratch)
    counts += [cleaned[source] for source in sources]
    log_summary(options, counts, raw_bytes, time.monotonic() - begun, processes)
    return counts


def _clean_sources(
    sources: Sequence[Source],
    names: dict[Source, str],
    options: CleaningOptions,
    folders: tuple[Path, Path, Path],
    workers: "_Workers",
) -> dict[Source, SourceCount]:
    train, heldout, scratch = folders
    counts: dict[Source, SourceCount] = {}
    cut: list[tuple[Source, list[_Task]]] = []
    whole: list[_Task] = []
    for number, source in enumerate(sources):
        reading = decide_reading(source, options.read)
        counts[source] = SourceCount(source.name, names[source], reading.parted, said=reading.said)
        made = [
            _Task(piece, options, train / names[source], heldout / names[source], scratch / str(number))
            for piece in pieces_of(source, reading, options.read.delimiters)
        ]
        if made[0].piece.is_whole:
            whole += made
        else:
            cut.append((source, made))
    # the largest first: they are what is waited for at the end
    whole.sort(key=lambda task: (-task.piece.source.path.stat().st_size, task.piece.source.name))
    running = [(task, workers.submit(_clean_whole, task)) for task in whole]
    for source, tasks in cut:
        _join(tasks, counts[source], workers)
    for task, future in running:
        counts[task.piece.source].add(workers.result(future))
    return counts


def _join(tasks: list[_Task], count: SourceCount, workers: "_Workers") -> None:
    """Append what comes of the pieces of one file to its files, in their order."""
    first = tasks[0]
    line = 0
    with contextlib.ExitStack() as stack:
        streams: dict[Path, IO[bytes]] = {}
        for result in workers.in_order(_clean_cut, tasks):
            rejects = b"".join(
                _row(first.options.corpus, count.file, replace(reject, line=reject.line + line)).encode()
                for reject in result.rejects
            )
            for path, data in ((first.train, result.kept), (first.heldout, result.heldout), (first.rejects, rejects)):
                if data:
                    if path not in streams:
                        streams[path] = stack.enter_context(path.open("wb"))
                    streams[path].write(data)
            count.add(result.count)
            line += result.lines


def _clean_cut(task: _Task, tick: Callable[[int], None]) -> _Result:
    """Clean one piece of a cut file."""
    kept: dict[bool, list[bytes]] = {False: [], True: []}
    rejects: list[Reject] = []
    count = clean_piece(task.piece, task.options, lambda out, data: kept[out].append(data), rejects.append, tick)
    raw = task.piece.open().read()
    lines = raw.count(b"\n") + (raw.replace(b"\r\n", b"").count(b"\r") if b"\r" in raw else 0)
    return _Result(count, b"".join(kept[False]), b"".join(kept[True]), rejects, lines)


def _clean_whole(task: _Task, tick: Callable[[int], None]) -> SourceCount:
    """Clean a file of one piece into its own files, opened at their first document."""
    with contextlib.ExitStack() as stack:
        streams: dict[Path, IO[bytes]] = {}

        def write(path: Path, data: bytes) -> None:
            if path not in streams:
                streams[path] = stack.enter_context(path.open("wb"))
            streams[path].write(data)

        return clean_piece(
            task.piece,
            task.options,
            lambda is_heldout, data: write(task.heldout if is_heldout else task.train, data),
            lambda item: write(task.rejects, _row(task.options.corpus, task.piece.source.name, item).encode()),
            tick,
        )


def _row(corpus: str, file: str, reject: Reject) -> str:
    row = {"corpus": corpus, "file": file, "line": reject.line, "reason": reject.reason, "excerpt": reject.excerpt}
    return json.dumps(row, ensure_ascii=False) + "\n"


class _Stopped(Exception):
    """The process that asked has given up."""


@dataclass
class _Shared:
    """What the processes share: bytes done so far, and whether to stop."""

    done: Any
    stop: Any


_SHARED: _Shared | None = None


def _start_worker(shared: _Shared) -> None:
    global _SHARED
    end_with_parent()
    _SHARED = shared


def _in_worker(work: Callable[[_Task, Callable[[int], None]], Any], task: _Task) -> Any:
    assert _SHARED is not None
    shared, waiting = _SHARED, 0

    def tick(num_bytes: int) -> None:
        nonlocal waiting
        waiting += num_bytes
        if waiting >= 1 << 20:
            if shared.stop.value:
                raise _Stopped
            with shared.done.get_lock():
                shared.done.value += waiting
            waiting = 0

    try:
        return work(task, tick)
    finally:
        with shared.done.get_lock():
            shared.done.value += waiting


@dataclass
class _Workers:
    """Runs tasks in `processes` processes, or in this one; `update` hears of the bytes done."""

    processes: int
    update: Callable[[int], None]
    _pool: ProcessPoolExecutor | None = None
    _shared: _Shared | None = None
    _told: int = field(default=0)

    def __enter__(self) -> "_Workers":
        if self.processes > 1:
            context = multiprocessing.get_context("spawn")
            self._shared = _Shared(context.Value("q", 0), context.Value("b", 0))
            self._pool = ProcessPoolExecutor(self.processes, context, _start_worker, (self._shared,))
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if self._pool is not None and self._shared is not None:
            if kind is not None:
                self._shared.stop.value = 1
            self._pool.shutdown(cancel_futures=True)

    def submit(self, work: Callable[[_Task, Callable[[int], None]], Any], task: _Task) -> "Future[Any]":
        if self._pool is not None:
            # workers start here and inherit the mask: Ctrl-C is for this process, which tells them to stop
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                return self._pool.submit(_in_worker, work, task)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        future: Future[Any] = Future()
        future.set_result(work(task, self.update))
        return future

    def result(self, future: "Future[Any]") -> Any:
        """Wait for a task, and tell meanwhile how far all are."""
        while not future.done():
            wait([future], POLL_SECONDS)
            self._tell()
        try:
            return future.result()
        except BrokenProcessPool:
            raise TryAgainError(
                "a process that cleaned text was ended from outside (was the memory full?); run `ivr init` again, "
                "with fewer --processes where it happens again"
            ) from None

    def in_order(
        self, work: Callable[[_Task, Callable[[int], None]], _Result], tasks: Sequence[_Task]
    ) -> Iterator[_Result]:
        """The tasks' results in the tasks' order; few are begun ahead of the one that is waited for."""
        waiting: deque[Future[Any]] = deque()
        for task in tasks:
            waiting.append(self.submit(work, task))
            if len(waiting) > (self.processes * PIECES_AHEAD if self._pool is not None else 0):
                yield self.result(waiting.popleft())
        while waiting:
            yield self.result(waiting.popleft())

    def _tell(self) -> None:
        if self._shared is not None:
            done = self._shared.done.value
            self.update(done - self._told)
            self._told = done
