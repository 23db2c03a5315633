"""What a person is told of a cleaned corpus: what was kept, what was left out and why, and what to know of the text."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from ivr.console import LOG
from ivr.corpus.cleaning import CleaningOptions, SourceCount
from ivr.corpus.sources import shown

SUMMARY_ROWS = 30
KEYS_SHOWN = 8
HOW_PARTED = {
    "blank-line": "documents are parted by blank lines",
    "line": "every line is a document",
    "special-token": "documents are parted by",
    "file": "the file is one document",
    "json-lines": "one JSON value a line",
    "json-values": "JSON",
}


def log_summary(
    options: CleaningOptions, counts: Sequence[SourceCount], raw_bytes: int, seconds: float, processes: int
) -> None:
    """Say what became of a corpus."""
    for count in counts[:SUMMARY_ROWS]:
        if count.separator in ("blank-line", "line", "special-token", "file"):
            tokens = f" {' or '.join(options.read.delimiters)}" if count.separator == "special-token" else ""
            LOG.info("%s: %s%s", shown(count.file), HOW_PARTED[count.separator], tokens)
    for count in counts:
        if count.said:
            LOG.warning("%s %s", shown(count.file), count.said)
    documents, heldout = sum(c.documents for c in counts), sum(c.heldout_documents for c in counts)
    num_bytes, heldout_bytes = sum(c.bytes for c in counts), sum(c.heldout_bytes for c in counts)
    LOG.info(
        "%s: %s documents (%.2f MB) to learn from, %s (%.2f MB) held out, of %d files",
        *(options.corpus, f"{documents:,}", num_bytes / 1e6, f"{heldout:,}", heldout_bytes / 1e6, len(counts)),
    )
    LOG.info(
        "%s: %.2f MB of raw files in %.1f s (%.1f MB/s, processes: %d)",
        *(options.corpus, raw_bytes / 1e6, seconds, raw_bytes / 1e6 / max(seconds, 1e-9), processes),
    )
    for count in counts:
        if count.nul_removed:
            LOG.warning("%s: %s NUL characters removed", shown(count.file), f"{count.nul_removed:,}")
    _log_special_tokens(options, counts)
    _log_decomposed(options, counts)
    rows = [(count.file, reason, number) for count in counts for reason, number in count.rejected.items()]
    for file, reason, number in rows[:SUMMARY_ROWS]:
        LOG.warning("left out: %s: %s (%s)", shown(file), shown(reason), f"{number:,}")
    if len(rows) > SUMMARY_ROWS:
        LOG.warning("left out: %s more kinds, all in the rejects file", f"{len(rows) - SUMMARY_ROWS:,}")
    for count in counts[:SUMMARY_ROWS]:
        if count.text_keys:
            LOG.warning("%s: %s", shown(count.file), keys_advice(count.text_keys))


def keys_advice(text_keys: dict[str, int]) -> str:
    """Which keys hold text where the one asked for is not there.

    >>> keys_advice({"title": 90, "body.text": 4000})
    'text is under body.text, title; the most with --text-key body.text'
    """
    names = sorted(text_keys, key=lambda name: (-text_keys[name], name))
    more = ", ..." if len(names) > KEYS_SHOWN else ""
    there = ", ".join(shown(name) for name in names[:KEYS_SHOWN])
    return f"text is under {there}{more}; the most with --text-key {shown(names[0])}"


def _log_special_tokens(options: CleaningOptions, counts: Sequence[SourceCount]) -> None:
    for token in options.special_tokens:
        files = {count.file: count.special_tokens[token] for count in counts if token in count.special_tokens}
        if files:
            first = next(iter(files))
            LOG.warning(
                "%s: the special token %s stands %s times as text inside documents (%s%s); it stays text: every stage "
                "reads it as ordinary text, and it parts nothing",
                options.corpus, shown(token), f"{sum(files.values()):,}", shown(first),
                f" and {len(files) - 1:,} more files" if len(files) > 1 else "",
            )  # fmt: skip
            if token in options.read.delimiters and any(".txt" in PurePath(file).suffixes for file in files):
                LOG.warning("%s: where it parts documents, say --document-separator special-token", options.corpus)


def _log_decomposed(options: CleaningOptions, counts: Sequence[SourceCount]) -> None:
    documents = sum(count.decomposed_documents for count in counts)
    if not documents:
        return
    saved = sum(count.decomposed_characters for count in counts)
    worst = Counter({count.file: count.decomposed_documents for count in counts}).most_common(1)[0][0]
    if options.normalize == "NFC":
        LOG.info(
            "%s: %s documents were brought into NFC, %s characters fewer",
            options.corpus, f"{documents:,}", f"{saved:,}",
        )  # fmt: skip
    else:
        LOG.warning(
            "%s: %s documents are not in NFC (%s most of all): letters in parts, as macOS writes Hangul and accents, "
            "%s characters too many; ids would be spent on strings nobody types; --normalize NFC composes them",
            options.corpus, f"{documents:,}", shown(worst), f"{saved:,}",
        )  # fmt: skip
