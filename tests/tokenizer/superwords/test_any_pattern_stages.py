"""Superwords of tokenizers whose pre-tokenizer is not GPT-2's, through the stages and back."""

import json
from pathlib import Path

import pytest
from builders import tiny_model
from pre_tokenizers_of_others import OTHERS, trained
from tiny_run import END, TinyRun, domain_documents
from tokenizers import Tokenizer

from ivr.analysis.pretokens import PretokenSplitter
from ivr.corpus.documents import read_documents
from ivr.encoding.byte_alphabet import from_alphabet
from ivr.tokenizer.remap.rules import read_rules
from ivr.tokenizer.superwords.placing import has_superwords


def run_of(root: Path, name: str) -> TinyRun:
    """A run that stands behind `distill-tokenizer`, of a BPE behind this pre-tokenizer."""
    run = TinyRun(root)
    arguments = run.write_inputs([("a", "b")], domain_documents(), domain_documents(30, seed=9))
    folder = trained(root / "base", size=900, splits=OTHERS[name]())
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": END}))
    tiny_model(Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()).save_pretrained(folder)
    assert run("init", *arguments, "--model-name", str(folder)) == 0
    for stage in ("analyze", "distill-tokenizer"):
        assert run(stage) == 0
    return run


@pytest.mark.slow
def test_a_pre_tokenizer_of_steps_that_hang_on_each_other_takes_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path, "a string")
    assert run("select", "--swaps", "40", "--max-words", "3") == 2
    assert "--max-words 3: the pre-tokenizer's steps are not one pattern" in capfd.readouterr().err
    assert run("select", "--swaps", "40") == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["single digits", "three digits", "three splits"])
def test_they_are_counted_placed_and_taken_back(tmp_path: Path, name: str) -> None:
    run = run_of(tmp_path, name)
    assert run("select", "--swaps", "40", "--max-words", "3") == 0
    assert run("remap") == 0
    after, distilled = run.tokenizer("remapped"), run.tokenizer("distilled_unigram")
    assert has_superwords(after.to_str()) and not has_superwords(distilled.to_str())
    rules = read_rules(run.paths.remap_rules)
    spans = [swap for swap in rules.swaps if swap.words > 1]
    assert len(spans) > 5
    texts = list(read_documents(run.paths.cleaned_corpora))
    counts = sum(len(after.encode(text, add_special_tokens=False).ids) for text in texts)
    assert run.results("select")["tokens_after"] == counts < run.results("select")["tokens_before"]
    split = PretokenSplitter(run.tokenizer("original"))
    for swap in spans:
        text = from_alphabet(swap.new).decode()
        assert swap.words == len(split(text))
        assert after.encode(text, add_special_tokens=False).ids == [swap.id]
    # parts of characters stand in no text as themselves: those ids may go anywhere
    strings = [from_alphabet(text) for swap in rules.swaps for text in (swap.new, swap.old)]
    untouched = 0
    for text in [*texts, "Zwölf 1234 Boxkämpfer; étude\r\n\r\n x", "中・か 12 345"]:
        for part in [text, *text.split(" ")]:
            if not any(string in part.encode() for string in strings):
                assert after.encode(part).ids == distilled.encode(part).ids, part
                untouched += 1
        assert after.decode(after.encode(text).ids) == distilled.decode(distilled.encode(text).ids)
    assert untouched > 200
    assert run("remap", "--undo") == 0
    assert json.loads(run.tokenizer("remapped").to_str()) == json.loads(distilled.to_str())
