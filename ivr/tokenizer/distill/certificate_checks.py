"""What the certificate says beyond pretokens and ids, from the files as written: whole documents, runs, hard strings.

A taste of each, in seconds, by the code of `ivr verify`, which does the same at any length and knows nothing of fits.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ivr.corpus.documents import corpus_files
from ivr.corpus.reading.items import Document
from ivr.corpus.sources import Source
from ivr.tokenizer.verify.added_tokens import compare_added
from ivr.tokenizer.verify.adversarial import compare_adversarial
from ivr.tokenizer.verify.causes import MEANING
from ivr.tokenizer.verify.documents import check_chunk
from ivr.tokenizer.verify.pair import Pair, Workers, read_tokenizer_text
from ivr.tokenizer.verify.repeats import compare_runs
from ivr.tokenizer.verify.sources import Chunk, read_chunks

SEED = 0
CHARACTERS = 300_000  # of whole documents, about, of all files together
LONGEST_RUN = 12
STRINGS = 5_000
KEPT = 1_000


def quick_checks(base_file: Path, result_file: Path, corpora: Sequence[Path]) -> dict[str, Any]:
    """Compare the two files; `corpora`: directories of cleaned text, of which the first documents are taken."""
    base = read_tokenizer_text(base_file)
    with Workers(read_tokenizer_text(result_file), base, processes=1) as workers:
        return {
            "documents": _documents(workers.pair, [file for corpus in corpora for file in corpus_files(corpus)]),
            "runs": compare_runs(workers, base, LONGEST_RUN, quick=True),
            "adversarial": compare_adversarial(workers, SEED, STRINGS, KEPT),
            "added_tokens": compare_added(read_tokenizer_text(result_file), base),
            "causes": MEANING,
        }


def _documents(pair: Pair, files: Sequence[Path]) -> dict[str, Any]:
    """Whole documents, encoded and decoded by both: the first ones of every file."""
    totals = dict.fromkeys(("documents", "num_bytes", "different_documents", "different_decodings", "not_restored"), 0)
    for place, file in enumerate(files):
        chunk = next(iter(read_chunks([Source(file, file.name)])), None)
        if chunk is not None:
            outcome = asdict(check_chunk(pair, Chunk(place, 1, _first(chunk.documents, CHARACTERS // len(files)))))
            totals = {name: total + outcome[name] for name, total in totals.items()}
    return {"which": f"the first of every file, {CHARACTERS:,} characters in all, or so", **totals}


def _first(documents: Sequence[Document], characters: int) -> list[Document]:
    taken = []
    for document in documents:
        taken.append(document)
        characters -= len(document.text)
        if characters <= 0:
            break
    return taken
