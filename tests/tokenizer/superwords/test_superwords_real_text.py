"""Superwords on real text: any of it comes back, figures are the library's, and what is not concerned is as before."""

import lzma
from itertools import islice
from pathlib import Path

import pytest
from tiny_run import TinyRun, learnt_merges

from ivr.corpus.documents import read_documents
from ivr.encoding.byte_alphabet import from_alphabet
from ivr.tokenizer.remap.rules import read_rules

LINES = 1200


@pytest.mark.needs_corpora
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "boundaries"),
    [("biomedical", "sentences,digits"), ("korean_reviews", "sentences"), ("chem_smiles", "none")],
)
def test_real_text(name: str, boundaries: str, corpora_dir: Path, tmp_path: Path) -> None:
    with lzma.open(corpora_dir / f"{name}.txt.xz", "rt", encoding="utf-8", newline="\n") as stream:
        lines = [line for line in islice(stream, LINES) if line.strip()]
    run = TinyRun(tmp_path)
    assert run("init", *run.write_inputs(learnt_merges(lines, num_merges=700), lines)) == 0
    for stage in ("analyze", "distill-tokenizer"):
        assert run(stage) == 0
    assert run("select", "--swaps", "120", "--max-words", "4", "--superword-boundaries", boundaries) == 0
    assert run("remap") == 0
    swaps = read_rules(run.paths.remap_rules).swaps
    assert any(swap.words > 1 for swap in swaps)
    distilled, remapped = run.tokenizer("distilled_unigram"), run.tokenizer("remapped")
    dropped, new = {swap.id for swap in swaps}, [from_alphabet(swap.new).decode(errors="replace") for swap in swaps]
    texts = list(read_documents(run.paths.cleaned_corpora))
    total = as_before = 0
    for text in texts:
        ids = remapped.encode(text, add_special_tokens=False).ids
        assert remapped.decode(ids) == text
        total += len(ids)
        for place in range(0, len(text), 48):
            part = text[place : place + 16]
            before = distilled.encode(part, add_special_tokens=False).ids
            if not dropped.intersection(before) and not any(string in part for string in new):
                assert remapped.encode(part, add_special_tokens=False).ids == before
                as_before += 1
    assert total == run.results("select")["tokens_after"]
    assert as_before > 20
