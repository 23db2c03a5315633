"""What a selection is made on: distinct pretokens of both corpora with their counts; for superwords their sequences.

Very long pretokens (a line of base64, a chromosome) come in parts, so that counting stays linear in text and memory.
Candidates are spans of a pretoken, and its score is a sum of 64 bits: both want it bounded. A string across the border
of two parts is not seen, and a part may take a token more there, one in hundreds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ivr.analysis.pretokens import PretokenSplitter
from ivr.analysis.tables import PretokenTable
from ivr.console import LOG
from ivr.encoding.batch import Batch
from ivr.errors import StaleInputError
from ivr.tokenizer.select.recount import CutBatch
from ivr.tokenizer.superwords.boundaries import Boundaries, joints
from ivr.tokenizer.superwords.stream import PretokenStream, read_stream

# characters, 4,096 bytes at most: of a file's largest scores, for two bytes or more each, 2^62 holds the sum
LONGEST = 1024


@dataclass(frozen=True)
class Sequences:
    """The texts as streams of their distinct pretokens, which superwords need."""

    domain: PretokenStream
    protected: PretokenStream
    numbers_share: float  # of the domain's pretokens, those that are numbers


@dataclass(frozen=True)
class Texts:
    """Distinct pretokens of both corpora, with their counts in each. P rows."""

    batch: CutBatch
    domain_P: np.ndarray
    documents_P: np.ndarray
    protected_P: np.ndarray
    pretokens: Sequence[str] = ()
    sequences: Sequences | None = None
    num_in_parts: int = 0  # distinct pretokens of the domain that are counted in parts


def in_parts(table: PretokenTable) -> PretokenTable:
    """The table with every pretoken of more than LONGEST characters replaced by its parts, each distinct one once.

    A part occurs as often as in all pretokens together, in as many documents as that one of them which is in most.
    """
    long_rows = [row for row, text in enumerate(table.pretokens) if len(text) > LONGEST]
    if not long_rows:
        return table
    LOG.warning(
        "%s pretokens of more than %s characters, the longest of %s, are counted in parts of that size: "
        "the tokenizer may take a token more or less at each border of two parts",
        f"{len(long_rows):,}", f"{LONGEST:,}", f"{max(len(table.pretokens[row]) for row in long_rows):,}",
    )  # fmt: skip
    left_out = set(long_rows)
    kept = [row for row in range(len(table)) if row not in left_out]
    texts = [table.pretokens[row] for row in kept]
    counts, documents = table.counts_P[kept].tolist(), table.documents_P[kept].tolist()
    place = {text: row for row, text in enumerate(texts)}
    for row in long_rows:
        text, count, in_documents = table.pretokens[row], int(table.counts_P[row]), int(table.documents_P[row])
        for begin in range(0, len(text), LONGEST):
            part = text[begin : begin + LONGEST]
            at = place.setdefault(part, len(texts))
            if at == len(texts):
                texts.append(part)
                counts.append(0)
                documents.append(0)
            counts[at] += count
            documents[at] = max(documents[at], in_documents)
    return PretokenTable(texts, np.array(counts, np.int64), np.array(documents, np.int64))


def join_texts(domain: PretokenTable, protected: PretokenTable | None, splitter: PretokenSplitter) -> Texts:
    """Both corpora as one batch, cut as the distilled tokenizer cuts runs; very long pretokens in parts."""
    num_in_parts = sum(len(text) > LONGEST for text in domain.pretokens)
    domain, protected = in_parts(domain), in_parts(protected) if protected else None
    texts = list(domain.pretokens)
    known = set(texts)
    only = [text for text in protected.pretokens if text not in known] if protected else []
    texts += only
    place = {text: row for row, text in enumerate(texts)}
    protected_P = np.zeros(len(texts), np.int64)
    if protected:
        protected_P[[place[text] for text in protected.pretokens]] = protected.counts_P
    nothing = np.zeros(len(only), np.int64)
    return Texts(
        batch=CutBatch.cut(splitter.split([text.encode() for text in texts])),
        domain_P=np.concatenate([domain.counts_P, nothing]),
        documents_P=np.concatenate([domain.documents_P, nothing]),
        protected_P=protected_P,
        pretokens=texts,
        num_in_parts=num_in_parts,
    )


def with_sequences(
    texts: Texts,
    domain: Iterable[bytes],
    protected: Iterable[bytes],
    splitter: PretokenSplitter,
    boundaries: Boundaries,
) -> Texts:
    """The same with its documents as streams of pretokens. `splitter`: the original tokenizer's."""
    pretokens = Batch.of([text.encode() for text in texts.pretokens])
    kinds = joints(texts.pretokens, splitter, boundaries)
    streams = [read_stream(documents, splitter, pretokens, kinds, LONGEST) for documents in (domain, protected)]
    for stream, counts_P in zip(streams, (texts.domain_P, texts.protected_P), strict=True):
        if len(stream) != counts_P.sum() and not stream.has_unknown:  # a very long one counts for its parts
            raise StaleInputError("the corpus is not the one that was counted; run `ivr analyze` again")
    share = float(texts.domain_P @ kinds.numbers_P) / max(int(texts.domain_P.sum()), 1)
    return replace(texts, sequences=Sequences(streams[0], streams[1], share))
