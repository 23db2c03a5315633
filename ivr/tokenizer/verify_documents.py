"""Whole documents through two tokenizers: ids, decoding, and which pretoken differs where."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ivr.artifacts import sha256_file
from ivr.console import Progress
from ivr.corpus.readers import Document
from ivr.corpus.sources import Source
from ivr.tokenizer.pair import Pair, Workers
from ivr.tokenizer.verify_sources import Chunk, read_chunks

CONTEXT_CHARACTERS = 30
IDS_SHOWN = 8


@dataclass
class Wrong:
    """One pretoken that differs: how often, and where first."""

    count: int
    first: dict[str, Any]


@dataclass
class ChunkOutcome:
    """What the comparison of one chunk found."""

    file: int
    documents: int
    num_bytes: int
    pretokens: int
    distinct: set[str]
    wrong: dict[str, Wrong] = field(default_factory=dict)
    different_documents: int = 0
    different_decodings: int = 0
    not_restored: int = 0  # decoded to something else than the text; no difference where both do the same
    others: list[dict[str, Any]] = field(default_factory=list)  # differences that no single pretoken explains


# comparison, in a worker ----------------------------------------------------------------------------------------
Pretokens = list[tuple[str, tuple[int, int]]]  # (string in the byte alphabet, its place in the text)
Verdicts = dict[str, tuple[list[int], list[int]] | None]  # pretoken -> its ids where they differ


def check_chunk(pair: Pair, chunk: Chunk) -> ChunkOutcome:
    """Encode and decode every document with both tokenizers, whole; look closer at those that differ."""
    texts = [document.text for document in chunk.documents]
    pieces = [pair.pretokens(text) for text in texts]
    outcome = ChunkOutcome(
        file=chunk.file,
        documents=len(texts),
        num_bytes=sum(len(text.encode()) for text in texts),
        pretokens=sum(map(len, pieces)),
        distinct={symbols for found in pieces for symbols, _ in found},
    )
    ours, theirs = pair.encode(texts)
    our_texts, their_texts = pair.decode(ours, theirs)
    for place, document in enumerate(chunk.documents):
        where = {"document": chunk.first + place}
        if ours[place] != theirs[place]:
            outcome.different_documents += 1
            if not _find_pretokens(pair, document, where, pieces[place], outcome.wrong):
                outcome.others.append(_first_id(pair, document, where, ours[place], theirs[place]))
        outcome.not_restored += not pair.same_text(our_texts[place], document.text)
        if our_texts[place] != their_texts[place]:
            outcome.different_decodings += 1
            outcome.others.append(_first_character(document, where, our_texts[place], their_texts[place]))
    return outcome


def _find_pretokens(
    pair: Pair, document: Document, where: dict[str, Any], pretokens: Pretokens, wrong: dict[str, Wrong]
) -> bool:
    """Add the document's differing pretokens to `wrong`; False when there is none."""
    verdicts = _verdicts(pair, {symbols for symbols, _ in pretokens})
    found = False
    for symbols, (begin, end) in pretokens:
        ids = verdicts[symbols]
        if ids is None:
            continue
        found = True
        if symbols in wrong:
            wrong[symbols].count += 1
        else:
            place = {**where, **_position(document, begin, end)}
            wrong[symbols] = Wrong(1, {"text": document.text[begin:end], **pair.segmentations(*ids), **place})
    return found


def _verdicts(pair: Pair, pretokens: set[str]) -> Verdicts:
    """The verdict on these pretokens, among others; each is compared once."""
    verdicts: Verdicts = pair.kept.setdefault("verdicts", {})
    new = sorted(pretokens.difference(verdicts))
    ours, theirs = pair.encode_symbols(new)
    for pretoken, one, other in zip(new, ours, theirs, strict=True):
        verdicts[pretoken] = None if one == other else (one, other)
    return verdicts


def _position(document: Document, begin: int, end: int) -> dict[str, Any]:
    """Line in the file, character in the document (from 0), and the text around."""
    return {
        "line": document.line + document.text.count("\n", 0, begin),
        "character": begin,
        "before": document.text[max(0, begin - CONTEXT_CHARACTERS) : begin],
        "after": document.text[end : end + CONTEXT_CHARACTERS],
    }


def _first_id(
    pair: Pair, document: Document, where: dict[str, Any], ours: list[int], theirs: list[int]
) -> dict[str, Any]:
    """The first place where ids differ though every pretoken alone is equal: the splitting differs, say."""
    common = next(
        (place for place, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other),
        min(len(ours), len(theirs)),
    )
    begin = min(len(pair.theirs.decode(theirs[:common], skip_special_tokens=False)), len(document.text))
    shown = slice(common, common + IDS_SHOWN)
    return _other("ids", document, where, begin, pair.segmentations(ours[shown], theirs[shown]))


def _first_character(document: Document, where: dict[str, Any], ours: str, theirs: str) -> dict[str, Any]:
    """The first character that one of the two decodes otherwise."""
    pairs = enumerate(zip(ours, theirs, strict=False))
    begin = next((place for place, (one, other) in pairs if one != other), min(len(ours), len(theirs)))
    shown = slice(begin, begin + CONTEXT_CHARACTERS)
    return _other("decoding", document, where, begin, {"tokenizer": [ours[shown]], "against": [theirs[shown]]})


def _other(
    what: str, document: Document, where: dict[str, Any], begin: int, sides: dict[str, list[Any]]
) -> dict[str, Any]:
    end = min(begin + CONTEXT_CHARACTERS, len(document.text))
    return {"what": what, "text": document.text[begin:end], **sides, **where, **_position(document, begin, end)}


# totals, in the main process ------------------------------------------------------------------------------------
def compare_documents(
    workers: Workers, sources: Sequence[Source], keep: int, max_documents: int | None = None
) -> dict[str, Any]:
    """Compare all documents of these files; returns the part of the report that says so."""
    names = (
        "documents",
        "bytes",
        "pretokens",
        "different_documents",
        "different_decodings",
        "not_restored",
        "mismatched_pretokens",
    )
    files = [dict.fromkeys(names, 0) for _ in sources]
    distinct: set[str] = set()
    wrong: dict[str, Wrong] = {}
    others: list[dict[str, Any]] = []
    total = sum(source.path.stat().st_size for source in sources)
    compressed = any(source.path.suffix.lower() in (".gz", ".xz") for source in sources)
    with Progress("documents", None if compressed or max_documents else total, "B") as bar:
        for outcome in workers.map(check_chunk, read_chunks(sources, max_documents)):
            mismatched = sum(found.count for found in outcome.wrong.values())
            figures = (
                outcome.documents,
                outcome.num_bytes,
                outcome.pretokens,
                outcome.different_documents,
                outcome.different_decodings,
                outcome.not_restored,
                mismatched,
            )
            for name, figure in zip(names, figures, strict=True):
                files[outcome.file][name] += figure
            distinct |= outcome.distinct
            path = {"file": str(sources[outcome.file].path)}
            for symbols, found in outcome.wrong.items():
                if symbols in wrong:
                    wrong[symbols].count += found.count
                else:  # of a great many only the number is kept
                    wrong[symbols] = Wrong(found.count, {**path, **found.first} if len(wrong) < keep else {})
            others += [{**path, **row} for row in outcome.others[: keep - len(others)]]
            bar.update(outcome.num_bytes)
    sums = {name: sum(figures[name] for figures in files) for name in names}
    return {
        **sums,
        "distinct_pretokens": len(distinct),
        "mismatched_distinct_pretokens": len(wrong),
        "mismatches_per_million": _per_million(sums),
        "first_documents_only": max_documents,
        "files": [
            {
                "path": str(source.path),
                "sha256": sha256_file(source.path),
                **figures,
                "mismatches_per_million": _per_million(figures),
            }
            for source, figures in zip(sources, files, strict=True)
        ],
        "mismatches": [{"count": found.count, **found.first} for found in wrong.values() if found.first],
        "other_differences": others,
    }


def _per_million(figures: dict[str, int]) -> float:
    return round(1e6 * figures["mismatched_pretokens"] / max(figures["pretokens"], 1), 3)
