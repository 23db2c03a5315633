"""Which documents are scored, and the counts over all of them."""

import random
from pathlib import Path

from builders import END, bpe_tokenizer, documents, save_tokenizer, unigram_tokenizer, write_corpus
from tokenizers import Tokenizer

from ivr.encoding.text.tokenizer_file import load_for_text
from ivr.evaluation.heldout import choose_documents, compare_tokenizers


def test_the_choice_does_not_depend_on_files_or_their_order(tmp_path: Path) -> None:
    texts = documents(50, seed=9)
    write_corpus(tmp_path / "a" / "all.txt", texts)
    random.Random(1).shuffle(texts)
    write_corpus(tmp_path / "b" / "one.txt", texts[:20])
    write_corpus(tmp_path / "b" / "two.txt", texts[20:])
    assert choose_documents(tmp_path / "a", 10, 10**6) == choose_documents(tmp_path / "b", 10, 10**6)
    assert sorted(choose_documents(tmp_path / "a", 100, 10**6)) == sorted(texts)


def test_both_limits_hold_and_a_document_is_cut_at_a_character(tmp_path: Path) -> None:
    write_corpus(tmp_path / "x.txt", ["세포" * 50, "포가" * 50, ""])
    chosen = choose_documents(tmp_path, 10, 400)
    assert len(chosen) == 2
    assert 397 < sum(len(text.encode()) for text in chosen) <= 400
    assert all(text and set(text) <= set("세포가") for text in chosen)
    assert len(choose_documents(tmp_path, 1, 10**6)) == 1


def test_counts_against_a_plain_encoding_of_every_document(tmp_path: Path) -> None:
    original = bpe_tokenizer()
    tokens = [original.id_to_token(i) for i in range(original.get_vocab_size())]
    worse = list(tokens)
    dropped = original.token_to_id("Ġcell")
    worse[dropped] = "Ġnowhere"
    tokenizers: list[Tokenizer] = []
    for name, made in (
        ("original", original),
        ("distilled", unigram_tokenizer(tokens)),
        ("lossy", unigram_tokenizer(worse)),
    ):
        save_tokenizer(made, tmp_path / name)
        tokenizers.append(load_for_text(tmp_path / name))
    original, distilled, lossy = tokenizers
    texts = ["the cell binding cell", "the protein", f"x {END} y"]

    same = compare_tokenizers(texts, original, distilled, lossy).results()
    assert same["heldout_documents"] == 3
    assert same["heldout_bytes"] == sum(len(text.encode()) for text in texts)
    assert same["heldout_tokens_before"] == sum(len(original.encode(text).ids) for text in texts)
    assert same["heldout_tokens_after"] == sum(len(lossy.encode(text).ids) for text in texts)
    saved = 1 - same["heldout_tokens_after"] / same["heldout_tokens_before"]
    assert abs(same["tokens_saved_percent"] - 100 * saved) < 1e-4

    different = compare_tokenizers(texts[:2], original, lossy, lossy).results()
    assert different["heldout_pretokens"] == 6  # the, cell, binding, cell, the, protein
    assert abs(different["agreement_percent"] - 100 * 4 / 6) < 1e-4
    assert different["agreement_documents_percent"] == 50


def test_nothing_to_count() -> None:
    tokenizer = bpe_tokenizer()
    results = compare_tokenizers([], tokenizer, tokenizer, tokenizer).results()
    assert results["agreement_percent"] is None
    assert results["heldout_tokens_before"] == 0
