"""Very long pretokens (a line of base64, a chromosome) in parts, so that counting stays linear in text and memory.

Candidates are spans of a pretoken, and its score is a sum of 64 bits: both want it bounded. A string across the border
of two parts is not seen, and a part may take a token more there, one in hundreds.
"""

import numpy as np

from ivr.analysis.tables import PretokenTable
from ivr.console import LOG

# characters, 4,096 bytes at most: of a file's largest scores, for two bytes or more each, 2^62 holds the sum
LONGEST = 1024


def in_parts(table: PretokenTable) -> PretokenTable:
    """The table with every pretoken of more than LONGEST characters replaced by its parts, each distinct one once.

    A part occurs as often as in all pretokens together, in as many documents as that one of them which is in most.
    """
    long_rows = [row for row, text in enumerate(table.pretokens) if len(text) > LONGEST]
    if not long_rows:
        return table
    LOG.info(
        "%s pretokens of more than %s characters, the longest of %s, are taken in parts of that size",
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
