"""Superword dropout on a tiny run: the same text in other ids, as many as asked for, the same ones each time."""

from collections.abc import Callable

import pytest
from tiny_run import TinyRun
from tokenizers import Tokenizer

from ivr.corpus.documents import read_documents
from ivr.encoding.byte_alphabet import from_alphabet
from ivr.errors import ConfigError
from ivr.tokenizer.remap.dropout import SuperwordDropout, read_dropout
from ivr.tokenizer.remap.rules import read_rules


@pytest.fixture(scope="module")
def spanning(distilled: TinyRun, copy_run: Callable[[TinyRun], TinyRun]) -> TinyRun:
    run = copy_run(distilled)
    assert run("select", "--swaps", "40", "--max-words", "3") == 0
    assert run("remap") == 0
    return run


def dropout_of(run: TinyRun, share: float = 1.0, seed: int = 0) -> SuperwordDropout:
    paths = run.paths
    return read_dropout(paths.remap_rules, paths.remapped_tokenizer, paths.original_tokenizer, share, seed)


def encoded(run: TinyRun) -> tuple[Tokenizer, list[tuple[str, list[int]]]]:
    tokenizer = run.tokenizer("remapped")
    texts = list(read_documents(run.paths.cleaned_corpora))
    return tokenizer, [(text, tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]


@pytest.mark.slow
def test_each_superword_is_cut_at_each_of_its_borders_as_its_parts_are_written(spanning: TinyRun) -> None:
    tokenizer, cuts = spanning.tokenizer("remapped"), dropout_of(spanning).cuts
    swaps = [swap for swap in read_rules(spanning.paths.remap_rules).swaps if swap.words > 1]
    assert swaps and {swap.id for swap in swaps} == set(cuts)
    for swap in swaps:
        text = from_alphabet(swap.new).decode()
        assert len(cuts[swap.id]) == swap.words - 1
        for ids in cuts[swap.id]:
            assert swap.id not in ids and tokenizer.decode(ids) == text


@pytest.mark.slow
def test_the_text_stays_and_the_share_is_the_one_asked_for(spanning: TinyRun) -> None:
    tokenizer, documents = encoded(spanning)
    half, every = dropout_of(spanning, 0.5), dropout_of(spanning)
    superwords = cut = 0
    for number, (text, ids) in enumerate(documents):
        here = sum(token_id in half.cuts for token_id in ids)
        respelled = half.respell(number, ids)
        assert tokenizer.decode(respelled) == tokenizer.decode(ids) == text
        superwords, cut = superwords + here, cut + (respelled != ids)
        assert (respelled != ids) <= (here > 0)
        assert (every.respell(number, ids) != ids) == (here > 0)
        assert half.respell(number, ids) == respelled
    assert superwords > 200 and 0 < cut <= len(documents)
    drawn = [half.respell(number, [max(half.cuts)] * 100) for number in range(20)]
    kept = sum(ids.count(max(half.cuts)) for ids in drawn)
    assert abs(kept - 1000) < 4 * 500**0.5
    assert drawn[0] != drawn[1] and drawn != [
        dropout_of(spanning, 0.5, 1).respell(n, [max(half.cuts)] * 100) for n in range(20)
    ]


@pytest.mark.slow
def test_what_decides_the_ids_decides_the_digest(spanning: TinyRun) -> None:
    digests = [dropout_of(spanning, *how).digest for how in ((0.5, 0), (0.5, 0), (0.5, 1), (0.4, 0))]
    assert digests[0] == digests[1] and len(set(digests)) == 3


@pytest.mark.slow
def test_rules_without_a_superword_or_of_another_tokenizer_are_refused(spanning: TinyRun, remapped: TinyRun) -> None:
    with pytest.raises(ConfigError, match="name no superword; `ivr select --max-words 2`"):
        dropout_of(remapped)
    paths = spanning.paths
    with pytest.raises(ConfigError, match=r"give id \d+ to '.*--remap-rules-path"):
        read_dropout(paths.remap_rules, paths.original_tokenizer, paths.original_tokenizer, 1.0, 0)
