"""`analyze` in parts: each counts a share of the documents, on a node of its own; joined, they are the whole result.

Counts of pretokens, of ids and of the documents that hold them add up, because a part has whole documents; the ids'
lines follow one another. A part is a directory, whole or absent, and knows what it was counted from.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ivr.analysis.counting import CorpusCounts, count_documents, sorted_rows
from ivr.artifacts import ArtifactPaths
from ivr.console import LOG, Progress
from ivr.corpus.documents import corpus_files
from ivr.corpus.parts import part_bytes, read_part
from ivr.disk.digest import sha256_file, sha256_json
from ivr.disk.writer import atomic_directory, atomic_file
from ivr.encoding.batch import Batch
from ivr.encoding.text.tokenizer_file import load_tokenizer
from ivr.errors import CorruptInputError, StaleInputError
from ivr.manifest import FileFacts, Manifest, facts_below
from ivr.schema import read_record, read_table, write_sealed
from ivr.stage import artifacts_lock

DOMAIN, GENERAL, FACTS = "domain", "general", "part.json"
COUNTS = {"count": "int64", "document_count": "int64"}
STRINGS = {"pretoken": "binary", **COUNTS}


@dataclass(frozen=True)
class PartFacts:
    """part.json: what the part was counted from, and by corpus how much of it."""

    key: str
    documents: dict[str, int]
    bytes: dict[str, int]
    files: dict[str, FileFacts] = field(default_factory=dict)  # by name below the part
    checksum: str = ""


@dataclass(frozen=True)
class Shards:
    """`parts` parts of a corpus, below `folder`. `general` is the text to protect, `identity` the options' hash."""

    folder: Path
    paths: ArtifactPaths
    tokenizer_file: Path
    corpus: Path
    parts: int
    threads: int
    sequences: bool
    identity: str

    @property
    def key(self) -> str:
        """Hash of what the parts are counted from: options, tokenizer, and every file as `ivr init` recorded it."""
        return sha256_json(
            [
                self.identity,
                self.parts,
                sha256_file(self.tokenizer_file),
                [_listing(c, self.paths) for c in self.corpora],
            ]
        )

    @property
    def corpora(self) -> list[Path]:
        general = self.paths.general_cleaned
        return [self.corpus, *([general] if general.is_dir() else [])]

    def path(self, part: int) -> Path:
        return self.folder / f"part-{part}-of-{self.parts}"

    def is_current(self, part: int, key: str) -> bool:
        try:
            facts = _facts(self.path(part))
        except CorruptInputError as error:
            LOG.warning("analyze: %s", error)
            return False
        return facts is not None and facts.key == key

    def count(self, part: int, key: str) -> None:
        """Count one part and put its directory in place."""
        tokenizer = load_tokenizer(self.tokenizer_file)
        documents, num_bytes = {}, {}
        with atomic_directory(self.path(part), contents=False) as staging:
            for name, corpus in zip((DOMAIN, GENERAL), self.corpora, strict=False):
                with contextlib.ExitStack() as stack:
                    lines = None
                    if name == DOMAIN and self.sequences:
                        lines = stack.enter_context((staging / "sequences.txt").open("wb"))
                    what = f"analyze part {part} of {self.parts}" + ("" if name == DOMAIN else ", general text")
                    bar = stack.enter_context(Progress(what, part_bytes(corpus, part, self.parts), "B"))
                    texts = read_part(corpus, part, self.parts)
                    counts = count_documents(tokenizer, texts, self.threads, lines, bar.update)
                _write_counts(staging / name, counts)
                documents[name], num_bytes[name] = counts.num_documents, counts.num_bytes
            files = {name: asdict(facts) for name, facts in facts_below(staging).items()}
            write_sealed(staging / FACTS, {"key": key, "documents": documents, "bytes": num_bytes, "files": files})

    def join(self, sequences: Path | None) -> tuple[CorpusCounts, CorpusCounts | None]:
        """Counts of the domain and of the general text; parts that are not there are counted first, one by one."""
        key = self.key
        for part in range(self.parts):
            if not self.is_current(part, key):
                self.count(part, key)
        if sequences is not None:
            with atomic_file(sequences, "wb") as stream:
                self._copy_lines(stream)
        domain = self._add_up(DOMAIN)
        return domain, self._add_up(GENERAL) if len(self.corpora) > 1 else None

    def _copy_lines(self, stream: IO[bytes]) -> None:
        for part in range(self.parts):
            with (self.path(part) / "sequences.txt").open("rb") as lines:
                shutil.copyfileobj(lines, stream, 1 << 20)

    def _add_up(self, name: str) -> CorpusCounts:
        folders = [self.path(part) for part in range(self.parts)]
        pretokens = pa.concat_tables([_read(folder, name, "pretokens", STRINGS) for folder in folders])
        sums = pretokens.group_by("pretoken").aggregate([("count", "sum"), ("document_count", "sum")])
        strings = _batch(sums["pretoken"].combine_chunks())
        counts_P, documents_P = sums["count_sum"].to_numpy(), sums["document_count_sum"].to_numpy()
        order = sorted_rows(strings, counts_P)
        ids = [_read(folder, name, "tokens", COUNTS) for folder in folders]
        facts = [found for folder in folders if (found := _facts(folder)) is not None]
        return CorpusCounts(
            pretokens=strings.select(order),
            counts_P=counts_P[order],
            documents_P=documents_P[order],
            token_counts_V=np.stack([table["count"].to_numpy() for table in ids]).sum(axis=0),
            token_documents_V=np.stack([table["document_count"].to_numpy() for table in ids]).sum(axis=0),
            num_documents=sum(fact.documents[name] for fact in facts),
            num_bytes=sum(fact.bytes[name] for fact in facts),
        )


def count_part(shards: Shards, part: int, force: bool) -> None:
    """What `ivr analyze --shards N --part K` does; several parts may be at work in one artifacts directory."""
    with _part_lock(shards, part):
        key = shards.key
        if not force and shards.is_current(part, key):
            LOG.info("analyze: part %d of %d is current, nothing to do (--force runs it again)", part, shards.parts)
            return
        shards.count(part, key)
        LOG.info("analyze: part %d of %d is counted", part, shards.parts)


@contextlib.contextmanager
def _part_lock(shards: Shards, part: int) -> Iterator[None]:
    """No stage at work in the directory, and nobody at the same part."""
    name = f"analyze --shards {shards.parts} --part {part}"
    with (
        artifacts_lock(shards.paths.lock, name, shared=True),
        artifacts_lock(shards.folder / f".part-{part}-of-{shards.parts}.lock", name),
    ):
        yield


def _listing(corpus: Path, paths: ArtifactPaths) -> list[list[str | int]]:
    """[name, bytes, sha256 as recorded by init] of each file; its time where `init` did not make it.

    Hashing a terabyte in every part would cost more than counting it. The stage itself hashes everything, once.
    """
    manifest = Manifest.read(paths.manifest("init"))
    recorded = {row.path: row for row in manifest.outputs} if manifest else {}
    rows: list[list[str | int]] = []
    by_init = any((paths.root / path).is_relative_to(corpus) for path in recorded)
    for file in corpus_files(corpus):
        facts = file.stat()
        try:
            row = recorded.get(str(file.absolute().relative_to(paths.root.absolute())))
        except ValueError:
            row = None
        if row is None and by_init:
            raise StaleInputError(f"{file} lies where `ivr init` writes, and is none of it; move it elsewhere")
        if row is not None and row.bytes != facts.st_size:
            raise StaleInputError(f"{file} is not what `ivr init` wrote (its size differs); run `ivr init` again")
        rows.append([str(file.relative_to(corpus)), facts.st_size, row.sha256 if row else facts.st_mtime_ns])
    return rows


def _read(folder: Path, name: str, table: str, columns: Mapping[str, str]) -> pa.Table:
    return read_table(folder / name / f"{table}.parquet", columns, _mend(folder))


def _mend(folder: Path) -> str:
    return f"delete {folder}, and `ivr analyze` counts this part again"


def read_part_facts(folder: Path) -> PartFacts:
    """What a part says of itself. Raises FileNotFoundError, CorruptInputError."""
    return read_record(folder / FACTS, PartFacts, _mend(folder))


def _facts(folder: Path) -> PartFacts | None:
    try:
        return read_part_facts(folder)
    except FileNotFoundError:
        return None


def _write_counts(folder: Path, counts: CorpusCounts) -> None:
    folder.mkdir()
    strings = counts.pretokens
    pretokens = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(strings), [None, pa.py_buffer(strings.starts), pa.py_buffer(strings.data)]
    )
    columns = {"pretoken": pretokens, "count": counts.counts_P, "document_count": counts.documents_P}
    pq.write_table(pa.table(columns), folder / "pretokens.parquet", compression="zstd")
    columns = {"count": counts.token_counts_V, "document_count": counts.token_documents_V}
    pq.write_table(pa.table(columns), folder / "tokens.parquet", compression="zstd")


def _batch(strings: pa.Array) -> Batch:
    """An Arrow array of strings as flat arrays."""
    starts = np.frombuffer(strings.buffers()[1], np.int64)[strings.offset : strings.offset + len(strings) + 1]
    data = np.frombuffer(strings.buffers()[2], np.uint8)
    return Batch(data[starts[0] : starts[-1]], starts - starts[0])
