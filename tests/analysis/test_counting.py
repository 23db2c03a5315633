"""Counts of pretokens and tokens against counts made with the `tokenizers` library and collections.Counter."""

import io
import lzma
import random
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_bpe import END
from tiny_run import NASTY, domain_documents, learnt_merges
from tokenizers import AddedToken, Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from ivr.analysis.counting import CorpusCounts, chunks_of, count_documents
from ivr.base.tokenizer import build_tokenizer
from ivr.encoding.batch import Batch


def as_text(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.encode_special_tokens = True
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    from small_bpe import bpe_of

    return as_text(bpe_of(learnt_merges(domain_documents())))


def count(tokenizer: Tokenizer, documents: list[str], threads: int = 1) -> tuple[CorpusCounts, list[list[int]]]:
    """(counts, ids of every document)."""
    lines = io.BytesIO()
    counts = count_documents(tokenizer, iter(documents), threads, lines)
    written = lines.getvalue().decode("ascii")
    assert written.count("\n") == len(documents)
    return counts, [[int(word) for word in line.split(" ") if word] for line in written.split("\n")[:-1]]


def strings(batch: Batch) -> list[str]:
    return [batch.string(row).decode() for row in range(len(batch))]


def documents_for_everyone() -> list[str]:
    """Chunks of several documents, documents of several chunks, empty ones, the same one twice."""
    long = " ".join(domain_documents(seed=2) * 40)
    return [*domain_documents(), "", *NASTY, long, "", *NASTY, "\n", " "]


def check_against_the_library(tokenizer: Tokenizer, documents: list[str], threads: int = 1) -> CorpusCounts:
    counts, ids = count(tokenizer, documents, threads)
    expected = [encoding.ids for encoding in tokenizer.encode_batch(documents)]
    assert ids == expected
    tokens = Counter(token_id for row in expected for token_id in row)
    token_documents = Counter(token_id for row in expected for token_id in set(row))
    num_ids = tokenizer.get_vocab_size()
    assert counts.token_counts_V.tolist() == [tokens[token_id] for token_id in range(num_ids)]
    assert counts.token_documents_V.tolist() == [token_documents[token_id] for token_id in range(num_ids)]
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 3])
def test_ids_and_counts_are_the_librarys(tokenizer: Tokenizer, threads: int) -> None:
    documents = documents_for_everyone()
    counts = check_against_the_library(tokenizer, documents, threads)
    split = [
        [text[begin:end] for _, (begin, end) in tokenizer.pre_tokenizer.pre_tokenize_str(text)] for text in documents
    ]
    occurrences = Counter(pretoken for pieces in split for pretoken in pieces)
    holders = Counter(pretoken for pieces in split for pretoken in set(pieces))
    order = sorted(occurrences, key=lambda pretoken: (-occurrences[pretoken], pretoken))
    assert strings(counts.pretokens) == order
    assert counts.counts_P.tolist() == [occurrences[pretoken] for pretoken in order]
    assert counts.documents_P.tolist() == [holders[pretoken] for pretoken in order]
    assert counts.num_documents == len(documents)
    assert counts.num_bytes == sum(len(document.encode()) for document in documents)


def test_a_literal_end_of_text_is_text(tokenizer: Tokenizer) -> None:
    counts, ids = count(tokenizer, [END, f"a{END}b"])
    special = tokenizer.token_to_id(END)
    assert counts.token_counts_V[special] == 0
    assert [tokenizer.decode(row, skip_special_tokens=False) for row in ids] == [END, f"a{END}b"]
    assert special not in ids[0]


@pytest.mark.parametrize("prefix", [False, True])
def test_added_tokens_that_are_not_special_are_cut_out_of_text(prefix: bool) -> None:
    """As the library does it for training: its ids, and no pretoken that holds one."""
    tokenizer = build_tokenizer(*_vocabulary())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=prefix)
    kinds = [AddedToken("COVID-19"), AddedToken("cell", single_word=True), AddedToken("한", lstrip=True, rstrip=True)]
    tokenizer.add_tokens([*kinds, AddedToken("e"), AddedToken("<s>", special=True)])
    documents = [
        "a COVID-19 b",
        "COVID-19",
        "COVID-19COVID-19",
        "the cell cells, cell.",
        " 한 x 한한",
        "e",
        "<s>the<s>",
    ]
    documents += ["", "no", *domain_documents()[:20]]
    counts = check_against_the_library(as_text(tokenizer), documents)
    found = strings(counts.pretokens)
    assert not any("COVID" in pretoken for pretoken in found) and "cells" in "".join(found)
    assert counts.token_counts_V[tokenizer.token_to_id("COVID-19")] == 4


def test_a_prefix_blank_is_counted_but_its_byte_is_not() -> None:
    tokenizer = as_text(build_tokenizer(*_vocabulary()))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=True)
    documents = ["the cell", " the cell", "", *NASTY]
    counts = check_against_the_library(tokenizer, documents)
    assert counts.num_bytes == sum(len(document.encode()) for document in documents)


def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    from small_bpe import vocabulary

    merges = learnt_merges(domain_documents())
    return vocabulary(merges), merges


def test_nothing_at_all(tokenizer: Tokenizer) -> None:
    counts, ids = count(tokenizer, [])
    assert (ids, len(counts.pretokens), counts.num_documents, counts.token_counts_V.sum()) == ([], 0, 0, 0)


def test_chunks_hold_every_document_once_and_in_order() -> None:
    documents = [character * length for character, length in zip("abcdefg", (3, 50, 0, 9, 1, 1, 200), strict=True)]
    chunks = list(chunks_of(documents, characters=10))
    assert [document for chunk in chunks for document in chunk] == documents
    assert [len(chunk) for chunk in chunks] == [2, 3, 2]


def test_memory_grows_with_distinct_pretokens_not_with_the_corpus(tokenizer: Tokenizer) -> None:
    documents = domain_documents(3000)

    def peak(times: int) -> int:
        tracemalloc.start()
        count_documents(tokenizer, (text for _ in range(times) for text in documents), threads=1)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)  # compiled code
    once, often = peak(4), peak(24)
    assert often < 1.2 * once


def corpus(file: Path) -> list[str]:
    """The documents of a corpus."""
    separator = "\n" if file.name.split(".")[0] in LINES else "\n\n"
    with lzma.open(file, "rt", encoding="utf-8", newline="\n") as stream:
        return [document for document in stream.read().split(separator) if document]


def parts(documents: list[str], characters: int) -> Iterator[list[str]]:
    """Documents in parts of about this size: the library's encodings are large."""
    part: list[str] = []
    size = 0
    for document in documents:
        part.append(document)
        size += len(document)
        if size > characters:
            yield part
            part, size = [], 0
    yield part


LINES = {"korean_reviews", "chem_smiles"}
NAMES = ["biomedical", "chem_smiles", "english_books", "english_docs", "korean_reviews", "legal_uscode"]


@pytest.mark.needs_gpt2
@pytest.mark.needs_corpora
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_document_of_the_real_corpora_has_the_ids_of_the_library(
    gpt2: Tokenizer, corpora_dir: Path, name: str
) -> None:
    tokenizer = as_text(gpt2)
    for part in parts(corpus(corpora_dir / f"{name}.txt.xz"), 4_000_000):
        lines = io.BytesIO()
        count_documents(tokenizer, iter(part), 2, lines)
        expected = "".join(" ".join(map(str, found.ids)) + "\n" for found in tokenizer.encode_batch(part))
        assert lines.getvalue().decode("ascii") == expected


@pytest.mark.needs_gpt2
@pytest.mark.needs_corpora
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_counts_of_the_real_corpora(gpt2: Tokenizer, corpora_dir: Path, name: str) -> None:
    """Counts too, on a megabyte of each."""
    documents = corpus(corpora_dir / f"{name}.txt.xz")
    random.Random(0).shuffle(documents)
    check_against_the_library(as_text(gpt2), next(parts(documents, 1_000_000)), threads=2)


@pytest.mark.needs_gpt2
def test_nasty_documents_with_gpt2s_vocabulary(gpt2: Tokenizer) -> None:
    check_against_the_library(as_text(gpt2), [*NASTY, "".join(NASTY), *domain_documents(40)])
