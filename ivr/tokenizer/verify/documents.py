"""Whole documents through two tokenizers: ids, decoding, and which pretoken differs where."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np

from ivr.console import Progress
from ivr.corpus.reading.items import Document
from ivr.corpus.sources import Source
from ivr.disk.digest import sha256_file
from ivr.encoding.string_table import StringTable
from ivr.tokenizer.verify.causes import SUPERWORD
from ivr.tokenizer.verify.pair import Pair, Workers
from ivr.tokenizer.verify.sources import Chunk, read_chunks

# what is counted of every file, in the report's order
FIGURES = (
    "documents", "bytes", "pretokens", "different_documents", "different_decodings", "not_restored",
    "mismatched_pretokens",
)  # fmt: skip
CONTEXT_CHARACTERS = 30
IDS_SHOWN = 8
REMEMBERED = 1_000_000  # strings that a worker remembers; then it forgets them all, and memory stays bounded


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
    new: np.ndarray  # hashes of pretokens that this worker had not met, uint64
    wrong: dict[str, Wrong] = field(default_factory=dict)
    different_documents: int = 0
    different_decodings: int = 0
    not_restored: int = 0  # decoded to something else than the text; no difference where both do the same
    others: list[dict[str, Any]] = field(default_factory=list)  # differences that no single pretoken explains

    def figures(self) -> tuple[int, ...]:
        """In the order of FIGURES."""
        mismatched = sum(found.count for found in self.wrong.values())
        return (
            self.documents, self.num_bytes, self.pretokens, self.different_documents, self.different_decodings,
            self.not_restored, mismatched,
        )  # fmt: skip


# comparison, in a worker ----------------------------------------------------------------------------------------
Verdicts = dict[str, tuple[list[int], list[int]] | None]  # pretoken -> its ids where they differ


def check_chunk(pair: Pair, chunk: Chunk) -> ChunkOutcome:
    """Encode and decode every document with both tokenizers, whole; look closer at those that differ."""
    texts = [document.text for document in chunk.documents]
    raw = [text.encode() for text in texts]
    pieces = pair.split(raw)
    outcome = ChunkOutcome(
        file=chunk.file,
        documents=len(texts),
        num_bytes=sum(map(len, raw)),
        pretokens=len(pieces.ends),
        new=_new_pretokens(pair, pieces.data, pieces.ends),
    )
    ours, theirs = pair.encode(texts)
    our_texts, their_texts = pair.decode(ours, theirs)
    for place, document in enumerate(chunk.documents):
        where = {"document": chunk.first + place}
        if ours[place] != theirs[place]:
            outcome.different_documents += 1
            pretokens = pair.pretokens(document.text)
            explained = _find_pretokens(pair, document, pretokens, where, outcome.wrong)
            explained |= _find_superwords(pair, document, pretokens, where, ours[place], outcome.wrong)
            if not explained:
                outcome.others.append(_first_id(pair, document, where, ours[place], theirs[place]))
        outcome.not_restored += not pair.same_text(our_texts[place], document.text)
        if our_texts[place] != their_texts[place]:
            outcome.different_decodings += 1
            outcome.others.append(_first_character(document, where, our_texts[place], their_texts[place]))
    return outcome


def _new_pretokens(pair: Pair, data: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Hashes of those pretokens that are none of the last million or so, each once."""
    table = pair.kept.setdefault("pretokens", StringTable())
    known = len(table)
    table.numbers(data, ends)
    strings = table.strings(known)
    if len(table) > REMEMBERED:
        del pair.kept["pretokens"]
    return hashes(strings.string(row) for row in range(len(strings)))


def hashes(strings: Iterable[bytes]) -> np.ndarray:
    """64 bits of each string: among ten million two are the same with a probability of three in a million."""
    return np.frombuffer(b"".join(blake2b(string, digest_size=8).digest() for string in strings), np.uint64)


Pretokens = Sequence[tuple[str, tuple[int, int]]]  # each with its place in the text


def _find_pretokens(
    pair: Pair, document: Document, pretokens: Pretokens, where: dict[str, Any], wrong: dict[str, Wrong]
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
            wrong[symbols] = Wrong(
                1, {"text": document.text[begin:end], **pair.mismatch(symbols, *ids, symbols=True), **place}
            )
    return found


def _find_superwords(
    pair: Pair,
    document: Document,
    pretokens: Pretokens,
    where: dict[str, Any],
    ours: list[int],
    wrong: dict[str, Wrong],
) -> bool:
    """Add the tokens that span several pretokens to `wrong`; False when there is none."""
    found = pair.superwords(pretokens, ours)
    for token_id, first, last in found:
        token = pair.ours.id_to_token(token_id) or ""
        if token in wrong:
            wrong[token].count += 1
            continue
        theirs = pair.encode_symbols([symbols for symbols, _ in pretokens[first : last + 1]])[1]
        begin, end = pretokens[first][1][0], pretokens[last][1][1]
        sides = pair.segmentations([token_id], [one for ids in theirs for one in ids])
        place = {**where, **_position(document, begin, end)}
        wrong[token] = Wrong(1, {"text": document.text[begin:end], **sides, "cause": SUPERWORD, **place})
    return bool(found)


def _verdicts(pair: Pair, pretokens: set[str]) -> Verdicts:
    """The verdict on these pretokens, among others; each is compared once."""
    verdicts: Verdicts = pair.kept.setdefault("verdicts", {})
    if len(verdicts) > REMEMBERED:
        verdicts.clear()
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


class Distinct:
    """Counts distinct 64-bit hashes, in 8 to 24 bytes each."""

    def __init__(self) -> None:
        self._known = np.empty(0, np.uint64)
        self._waiting: list[np.ndarray] = []

    def add(self, found: np.ndarray) -> None:
        self._waiting.append(found)
        if sum(map(len, self._waiting)) > max(len(self._known), 1 << 16):
            self._merge()

    def __len__(self) -> int:
        self._merge()
        return len(self._known)

    def _merge(self) -> None:
        self._known = np.unique(np.concatenate([self._known, *self._waiting]))
        self._waiting = []


# totals, in the main process ------------------------------------------------------------------------------------
def compare_documents(
    workers: Workers, sources: Sequence[Source], keep: int, max_documents: int | None = None
) -> dict[str, Any]:
    """Compare all documents of these files; returns the part of the report that says so."""
    files = [dict.fromkeys(FIGURES, 0) for _ in sources]
    distinct, distinct_wrong = Distinct(), Distinct()
    wrong: dict[str, Wrong] = {}  # the first `keep`
    causes: Counter[str] = Counter()
    others: list[dict[str, Any]] = []
    total = sum(source.path.stat().st_size for source in sources)
    compressed = any(source.path.suffix.lower() in (".gz", ".xz") for source in sources)
    with Progress("documents", None if compressed or max_documents else total, "B") as bar:
        for outcome in workers.map(check_chunk, read_chunks(sources, max_documents)):
            for name, figure in zip(FIGURES, outcome.figures(), strict=True):
                files[outcome.file][name] += figure
            distinct.add(outcome.new)
            distinct_wrong.add(hashes(symbols.encode() for symbols in outcome.wrong))
            path = {"file": str(sources[outcome.file].path)}
            for symbols, found in outcome.wrong.items():
                causes[found.first["cause"]] += found.count
                if symbols in wrong:
                    wrong[symbols].count += found.count
                elif len(wrong) < keep:
                    wrong[symbols] = Wrong(found.count, {**path, **found.first})
            others += [{**path, **row} for row in outcome.others[: keep - len(others)]]
            bar.update(outcome.num_bytes)
    sums = {name: sum(figures[name] for figures in files) for name in FIGURES}
    return {
        **sums,
        "distinct_pretokens": len(distinct),
        "mismatched_distinct_pretokens": len(distinct_wrong),
        "causes": dict(sorted(causes.items())),
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
        "mismatches": [{"count": found.count, **found.first} for found in wrong.values()],
        "other_differences": others,
    }


def _per_million(figures: dict[str, int]) -> float:
    return round(1e6 * figures["mismatched_pretokens"] / max(figures["pretokens"], 1), 3)
