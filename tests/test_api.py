"""`import ivr`: what people script, without the command line."""

import doctest
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_bpe import bpe_of
from tokenizers import Tokenizer

import ivr
from ivr import api
from ivr.errors import CorruptInputError, StaleInputError

MERGES = [("t", "h"), ("th", "e"), ("a", "n"), ("Ġ", "a"), ("an", "d"), ("Ġ", "the")]


def test_import_takes_nothing_with_it() -> None:
    script = "import sys, ivr; print(len(ivr.__all__), *(name for name in sys.modules if name.startswith('ivr.')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3"]
    assert set(ivr.__all__) <= set(dir(ivr))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ivr.nothing


@pytest.mark.slow
def test_examples_hold() -> None:
    assert doctest.testmod(api).failed == 0


@pytest.mark.slow
def test_a_distilled_tokenizer_gives_the_same_ids(tmp_path: Path) -> None:
    base = bpe_of(MERGES)
    base.save(str(tmp_path / "tokenizer.json"))
    texts = ["the hand and the and", "an then"]
    found = ivr.distill(tmp_path, texts)
    assert found.different == () and found.pretokens == 6
    for text in texts:
        assert found.tokenizer.encode(text).ids == base.encode(text).ids
    again = ivr.distill(base, texts)
    assert again.tokenizer.to_str() == found.tokenizer.to_str()


def test_what_is_no_tokenizer_and_no_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CorruptInputError):
        ivr.distill(tmp_path, [])
    with pytest.raises(StaleInputError, match="no stage has run"):
        ivr.load_run(tmp_path)


@pytest.mark.slow
def test_a_run_gives_its_tables_and_its_rules_can_be_applied(small_run: Path, tmp_path: Path) -> None:
    run = ivr.load_run(shutil.copytree(small_run / "artifacts", tmp_path / "artifacts"))
    assert run.stages["stage"].to_pylist() == [*run.manifests]
    assert set(run.evaluation["model"].to_pylist()) == {"base", "aligned", "trained"}
    assert set(run.documents["model"].to_pylist()) == {"base", "aligned", "trained"}
    assert run.training.num_rows > 1 and "heldout_bits_per_byte" in run.training.column_names
    assert run.tokens["token_id"].to_pylist() == list(range(run.tokens.num_rows))
    paths = run.paths
    made = ivr.apply_rules(paths.remap_rules, paths.distilled_tokenizer, paths.original_tokenizer)
    assert made.to_str() == Tokenizer.from_file(str(paths.remapped_tokenizer / "tokenizer.json")).to_str()
    for swap in run.swaps.to_pylist():
        assert made.id_to_token(swap["id"]) == swap["new"] != swap["old"]
    metrics = paths.training / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"step": "7"}\n')
    with pytest.raises(CorruptInputError, match=r"metrics\.jsonl, line \d+, step = '7'"):
        ivr.load_run(paths.root).training
    metrics.unlink()
    with pytest.raises(StaleInputError, match="run `ivr train"):
        ivr.load_run(paths.root).training
