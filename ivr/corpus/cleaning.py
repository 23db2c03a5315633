"""Raw files -> cleaned and held-out text, every document in one of the two or among the rejects.

The text is the ground truth: line ends become LF, NUL and a leading BOM go, blank lines around a document go;
nothing else is touched (no NFC, no trimming of blanks).
"""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from ivr.console import LOG, Progress
from ivr.corpus.documents import write_document
from ivr.corpus.readers import ReadOptions, Reject, choose_separator, excerpt, read_source
from ivr.corpus.sources import Source, cleaned_names, find_sources

HASH_BYTES = 8
SUMMARY_ROWS = 30
SEPARATOR_MEANS = {
    "blank-line": "documents are parted by blank lines",
    "line": "every line is a document",
    "file": "the file is one document",
}


@dataclass
class SourceCount:
    """What became of one raw file."""

    file: str
    cleaned: str
    separator: str = ""
    documents: int = 0
    bytes: int = 0
    heldout_documents: int = 0
    heldout_bytes: int = 0
    nul_removed: int = 0
    rejected: dict[str, int] = field(default_factory=dict)  # reason -> number


def clean_text(text: str) -> str:
    """The document as it is kept; empty where it holds nothing but blanks.

    >>> clean_text("\\n \\n  a\\r\\nb  \\n\\n")
    '  a\\nb  '
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    end = len(text.rstrip())
    if not end:
        return ""
    start = len(text) - len(text.lstrip())
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    return text[first:] if last < 0 else text[first:last]


def is_heldout(text: bytes, fraction: float, seed: int) -> bool:
    """Whether a document is held out: by its own bytes, so that copies of it are never on both sides."""
    digest = hashlib.blake2b(text, digest_size=HASH_BYTES, key=str(seed).encode()).digest()
    number = int.from_bytes(digest, "big")
    return number < fraction * 256**HASH_BYTES


@dataclass(frozen=True)
class CleaningOptions:
    """How a corpus is read and split; `corpus` is its name in the log and among the rejects."""

    corpus: str
    read: ReadOptions
    heldout_fraction: float
    seed: int


def clean_corpus(
    root: Path, options: CleaningOptions, train: Path, heldout: Path, rejects: IO[str]
) -> list[SourceCount]:
    """Clean every file below `root` into `train`/<source>.txt and `heldout`/<source>.txt (existing directories).

    One line of JSON goes to `rejects` for everything left out. A file without a kept document gets no output.
    """
    sources, left_out = find_sources(root)
    names = cleaned_names(sources)
    counts = []
    for item in left_out:
        count = SourceCount(item.name, "", rejected={item.reason: 1})
        _write_reject(rejects, options.corpus, item.name, Reject(0, item.reason, ""))
        counts.append(count)
    with Progress(f"clean {options.corpus}", unit="B") as bar:
        for source in sources:
            counts.append(_clean_source(source, names[source], options, train, heldout, rejects, bar))
    _log_summary(options.corpus, counts)
    return counts


def _clean_source(
    source: Source,
    name: str,
    options: CleaningOptions,
    train: Path,
    heldout: Path,
    rejects: IO[str],
    bar: Progress,
) -> SourceCount:
    count = SourceCount(source.name, name)
    read = options.read
    if source.format == ".txt":
        count.separator = choose_separator(source, read)
        read = replace(read, document_separator=count.separator)
        LOG.info("%s: %s", source.name, SEPARATOR_MEANS[count.separator])
    with contextlib.ExitStack() as stack:
        # opened at their first document: a file without one would be a source without text
        streams: dict[bool, IO[str]] = {}
        for item in read_source(source, read):
            if not isinstance(item, Reject):
                text = clean_text(item.text)
                if text:
                    encoded = text.encode()
                    out = is_heldout(encoded, options.heldout_fraction, options.seed)
                    if out not in streams:
                        path = (heldout if out else train) / name
                        streams[out] = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
                    write_document(streams[out], text)
                    _add(count, out, len(encoded), item.text.count("\0"))
                    bar.update(len(encoded))
                    continue
                item = Reject(item.line, "empty", excerpt(item.text))
            count.rejected[item.reason] = count.rejected.get(item.reason, 0) + 1
            _write_reject(rejects, options.corpus, source.name, item)
    if not (count.documents or count.heldout_documents or count.rejected):
        count.rejected["no document in the file"] = 1
        _write_reject(rejects, options.corpus, source.name, Reject(0, "no document in the file", ""))
    return count


def total(counts: Sequence[SourceCount]) -> dict[str, Any]:
    """The figures of a whole corpus, and of each of its files."""
    rejected: Counter[str] = Counter()
    for count in counts:
        rejected.update(count.rejected)
    names = ("documents", "bytes", "heldout_documents", "heldout_bytes", "nul_removed")
    return {
        **{name: sum(getattr(count, name) for count in counts) for name in names},
        "rejected": dict(sorted(rejected.items())),
        "sources": [asdict(count) for count in counts],
    }


def _add(count: SourceCount, out: bool, num_bytes: int, nul_removed: int) -> None:
    if out:
        count.heldout_documents += 1
        count.heldout_bytes += num_bytes
    else:
        count.documents += 1
        count.bytes += num_bytes
    count.nul_removed += nul_removed


def _write_reject(stream: IO[str], corpus: str, file: str, reject: Reject) -> None:
    row = {"corpus": corpus, "file": file, "line": reject.line, "reason": reject.reason, "excerpt": reject.excerpt}
    stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def _log_summary(corpus: str, counts: Sequence[SourceCount]) -> None:
    documents, heldout = sum(c.documents for c in counts), sum(c.heldout_documents for c in counts)
    num_bytes, heldout_bytes = sum(c.bytes for c in counts), sum(c.heldout_bytes for c in counts)
    LOG.info(
        "%s: %s documents (%.2f MB) to learn from, %s (%.2f MB) held out, of %d files",
        *(corpus, f"{documents:,}", num_bytes / 1e6, f"{heldout:,}", heldout_bytes / 1e6, len(counts)),
    )
    for count in counts:
        if count.nul_removed:
            LOG.info("%s: %s NUL characters removed", count.file, f"{count.nul_removed:,}")
    rows = [(count.file, reason, number) for count in counts for reason, number in count.rejected.items()]
    for file, reason, number in rows[:SUMMARY_ROWS]:
        LOG.warning("left out: %s: %s (%s)", file, reason, f"{number:,}")
    if len(rows) > SUMMARY_ROWS:
        LOG.warning("left out: %s more kinds, all in the rejects file", f"{len(rows) - SUMMARY_ROWS:,}")
