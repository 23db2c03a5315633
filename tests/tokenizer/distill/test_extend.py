"""`distill-tokenizer --extend`: exact on new text, without losing the text that was fitted before and is gone."""

import json
import random
import shutil
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from tiny_run import TinyRun

from ivr.analysis.pretokens import pretoken_encoder
from ivr.analysis.tables import read_pretoken_frequency
from ivr.tokenizer.distill.fitted_text import NAME, write_fitted


def certificate(run: TinyRun) -> dict[str, Any]:
    return json.loads(run.paths.certificate.read_text(encoding="utf-8"))


def fitted(run: TinyRun) -> list[str]:
    return pq.read_table(run.paths.distilled_tokenizer / NAME)["pretoken"].to_pylist()


def different(run: TinyRun, pretokens: list[str]) -> set[str]:
    base, result = (pretoken_encoder(run.tokenizer(name)) for name in ("original", "distilled_unigram"))
    return {text for text in pretokens if base.encode(text).ids != result.encode(text).ids}


def analyse_other_text(run: TinyRun) -> list[str]:
    """Replace the corpora by strings over the letters of the first ones; returns the new pretokens."""
    draw = random.Random(3)
    shutil.rmtree(run.root / "general-corpora-dir")
    shutil.rmtree(run.root / "raw-corpora-dir")
    words = ("".join(draw.choices("aeilnorst", k=draw.randint(3, 14))) for _ in range(4000))
    arguments = ["--model-name", str(run.root / "model"), "--heldout-fraction", "0"]
    folder = run.root / "raw-corpora-dir"
    folder.mkdir()
    (folder / "texts.jsonl").write_text(json.dumps({"text": " ".join(words)}) + "\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ivr.base.model_directory.check_auto_tokenizer", lambda folder, origin: None)
        assert run("init", *arguments, "--raw-corpora-dir", str(folder)) == 0
    assert run("analyze") == 0
    return read_pretoken_frequency(run.paths.pretoken_frequency).pretokens


@pytest.mark.slow
def test_the_old_text_stays_exact_and_the_new_one_becomes_so(
    distilled: TinyRun, copy_run: Callable[[TinyRun], TinyRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    # as for a large vocabulary, whose fit is not closed for strings that no text showed
    monkeypatch.setattr("ivr.tokenizer.proof.closure.MOST_IDS", 0)
    monkeypatch.setattr("ivr.tokenizer.fit.fitter.TextFitter._with_straddling", lambda self, constraints: constraints)
    run = copy_run(distilled)
    flat = ("--prior-exponent", "0")  # the usual prior leaves a vocabulary as small as this one nothing to learn
    assert run("distill-tokenizer", *flat) == 0
    old = fitted(run)
    tables = [run.paths.pretoken_frequency, run.paths.general_pretoken_frequency]
    assert set(old) == {text for table in tables for text in read_pretoken_frequency(table).pretokens}
    new = analyse_other_text(run)
    unseen = different(run, new)
    assert unseen, "the new text shows mismatches, or this test says nothing"
    assert run("distill-tokenizer", *flat, "--extend") == 0
    named = {row["pretoken"]: row["count"] for row in certificate(run)["mismatches"]}
    assert different(run, [*old, *new]) == set(named), "every other one of both is exact"
    assert len(set(named) & unseen) < len(unseen) / 10
    assert set(fitted(run)) == {*old, *new}
    kept = set(old) - set(new)
    found = certificate(run)["earlier_text"]
    assert found == {"types": len(kept), "mismatched_types": len(kept & set(named))}
    assert all(count == 0 for text, count in named.items() if text in kept)
    assert f"Of {len(kept):,} distinct pretokens of earlier text" in certificate(run)["summary"]
    # once more: nothing to do; without --extend the old text is left out
    before = run.paths.certificate.read_bytes()
    assert run("distill-tokenizer", *flat, "--extend") == 0 and run.paths.certificate.read_bytes() == before
    assert run("distill-tokenizer", *flat) == 0
    assert set(fitted(run)) == set(new) and certificate(run)["earlier_text"]["types"] == 0


def test_without_an_earlier_tokenizer(
    analyzed: TinyRun, copy_run: Callable[[TinyRun], TinyRun], said: Callable[[], str]
) -> None:
    assert copy_run(analyzed)("distill-tokenizer", "--extend") == 3
    assert "fitted_pretokens.parquet, which is not there; run `ivr distill-tokenizer`" in said()


def test_the_text_of_another_tokenizer_is_refused(fresh: TinyRun, said: Callable[[], str]) -> None:
    write_fitted(fresh.paths.distilled_tokenizer, ["a"], "0" * 64)
    assert fresh("distill-tokenizer", "--extend") == 3
    assert "was distilled from another tokenizer (sha256 0000000000000000" in said()


def test_a_damaged_file_is_named(fresh: TinyRun, said: Callable[[], str]) -> None:
    (fresh.paths.distilled_tokenizer / NAME).write_bytes(b"PAR1 cut short")
    before = fresh.paths.certificate.read_bytes()
    assert fresh("distill-tokenizer", "--extend") == 4
    told = said()
    assert NAME in told and "without --extend writes" in told and fresh.paths.certificate.read_bytes() == before
