"""`ivr evaluate`: the same documents for every model there is."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from builders import write_corpus, write_manifest
from transformers import AutoModelForCausalLM

from ivr.artifacts import ArtifactPaths
from ivr.corpus.documents import read_documents
from ivr.embedding import align
from ivr.encoding.text.tokenizer_file import load_for_text
from ivr.errors import ConfigError, CorruptInputError, StaleInputError
from ivr.evaluation.evaluate import Config, run
from ivr.training import train


def config(world: ArtifactPaths, **options: object) -> Config:
    return Config(world.root, threads=1, **{"prompt_cuts": 20, **options})  # type: ignore[arg-type]


@pytest.mark.slow
def test_before_training_the_trained_model_is_left_out_and_afterwards_it_is_in(world: ArtifactPaths) -> None:
    first = run(config(world)).results
    assert set(first["bits_per_byte"]) == {"domain", "general"}
    assert set(first["bits_per_byte"]["domain"]) == {"base", "aligned"}
    train.run(train.Config(world.root, threads=1, max_steps=30, lr=3e-3, batch_size=4, eval_bytes=10**6))
    manifest = run(config(world))
    second = manifest.results
    assert set(second["bits_per_byte"]["domain"]) == {"base", "aligned", "trained"}
    assert second["bits_per_byte"]["domain"]["base"] == first["bits_per_byte"]["domain"]["base"]
    assert second["bits_per_byte"]["domain"]["trained"] < second["bits_per_byte"]["domain"]["aligned"]
    trained = json.loads(world.manifest("train").read_text())["results"]
    assert trained["heldout_bits_per_byte_last"] == pytest.approx(
        second["bits_per_byte"]["domain"]["trained"], rel=1e-5
    )
    assert json.loads(world.evaluation.read_text()) == second, "no clock is in it: equal models look equal"
    content = [path.read_bytes() for path in (world.evaluation, world.evaluated_documents)]
    run(config(world, force=True))
    assert [path.read_bytes() for path in (world.evaluation, world.evaluated_documents)] == content

    table = pq.read_table(world.evaluated_documents).to_pylist()
    for kind, of in second["bits_per_byte"].items():
        for name, figure in of.items():
            rows = [row for row in table if (row["text"], row["model"]) == (kind, name)]
            assert len(rows) == second["scored"][kind]["documents"]
            assert sum(row["bits"] for row in rows) / sum(row["bytes"] for row in rows) == pytest.approx(figure)
    found = second["differences"]["domain"]["trained - base"]
    assert found["difference"] == pytest.approx(
        second["bits_per_byte"]["domain"]["trained"] - second["bits_per_byte"]["domain"]["base"]
    )
    assert found["low"] < found["difference"] < found["high"] < 0
    assert found["documents"] == 12
    ends = second["prompt_ends"]["domain"]
    assert {name: (of["cuts"], of["cuts_inside_a_token"]) for name, of in ends.items()} == dict.fromkeys(
        ("base", "aligned", "trained"), (20, 0)
    )
    assert ends["trained"]["all"]["as_prompt"] < ends["base"]["all"]["as_prompt"]
    drawn = second["sampling"]
    assert drawn["trained"]["tokens"] == 16 * 32  # no more than the context
    assert "new_token_share_sampled" not in drawn["base"]  # there, these ids are the old tokens
    assert drawn["trained"]["new_tokens"] == 3


@pytest.mark.slow
def test_a_trained_model_whose_aligned_model_is_another_by_now(world: ArtifactPaths) -> None:
    train.run(train.Config(world.root, threads=1, max_steps=1, eval_bytes=0))
    before = json.loads(world.manifest("train").read_text())["inputs"]
    used = next(row["sha256"] for row in before if row["path"].endswith("aligned/model.safetensors"))
    align.run(align.Config(world.root, init_strategy="random"))
    with pytest.raises(StaleInputError, match=f"trained model was made from .* sha256 {used[:16]}, .*run `ivr train`"):
        run(config(world))
    results = run(config(world, leave_out=("trained",))).results
    assert set(results["bits_per_byte"]["domain"]) == {"base", "aligned"}
    train.run(train.Config(world.root, threads=1, max_steps=1, eval_bytes=0))
    assert set(run(config(world)).results["bits_per_byte"]["domain"]) == {"base", "aligned", "trained"}


def test_other_models_and_texts_beside_the_runs_own(world: ArtifactPaths, tmp_path: Path) -> None:
    shutil.copytree(world.aligned_model, tmp_path / "copy")
    write_corpus(tmp_path / "more" / "a.txt", ["the cell", "a protein of the gene"])
    results = run(config(world, model=(f"copy={tmp_path / 'copy'}",), text=(f"more={tmp_path / 'more'}",))).results
    assert set(results["bits_per_byte"]) == {"domain", "general", "more"}
    for of in results["bits_per_byte"].values():
        assert list(of) == ["base", "aligned", "copy"]
        assert of["copy"] == of["aligned"]
    same = results["differences"]["domain"]["copy - aligned"]
    assert (same["difference"], same["low"], same["high"]) == (0, 0, 0)
    assert results["sampling"]["copy"] == results["sampling"]["aligned"]
    assert results["scored"]["more"]["documents"] == 2


def test_a_model_of_no_numbers_is_refused_before_a_figure_is_written(world: ArtifactPaths, tmp_path: Path) -> None:
    broken = AutoModelForCausalLM.from_pretrained(world.aligned_model)
    with torch.no_grad():
        broken.transformer.h[0].ln_1.weight[0] = float("nan")
    broken.save_pretrained(tmp_path / "broken")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(world.aligned_model / name, tmp_path / "broken" / name)
    with pytest.raises(CorruptInputError, match="the broken model gives domain text no finite probability"):
        run(config(world, model=(f"broken={tmp_path / 'broken'}",)))
    assert not world.evaluation.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ("base=somewhere",)}, "--model base=somewhere: the name 'base' is taken"),
        ({"model": ("a=x", "a=y")}, "the name 'a' is taken"),
        ({"model": ("somewhere",)}, "must be NAME=PATH"),
        ({"model": ("a b=somewhere",)}, "must be NAME=PATH"),
        ({"model": ("a=nowhere",)}, "nowhere: no such file or directory"),
        ({"text": ("domain=nowhere",)}, "--text domain=nowhere: the name"),
        (
            {"leave_out": ("copy",)},
            "--leave-out copy: the run's models are base, aligned, control-bytes, control-flops, trained",
        ),
    ],
)
def test_names_that_cannot_work(world: ArtifactPaths, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(config(world, **options))


def test_figures_against_the_library_one_document_at_a_time(world: ArtifactPaths) -> None:
    results = run(config(world)).results
    texts = [text for text in read_documents(world.general_heldout) if text]
    for name, model_dir in (("base", world.base_model), ("aligned", world.aligned_model)):
        model = AutoModelForCausalLM.from_pretrained(model_dir).eval()
        tokenizer = load_for_text(model_dir)
        bits = tokens = 0.0
        for text in texts:
            ids = torch.tensor([[tokenizer.token_to_id("<|endoftext|>"), *tokenizer.encode(text).ids]])
            if ids.shape[1] > model.config.n_positions:
                pytest.fail("the general documents are meant to fit the context")
            with torch.no_grad():
                bits += float(model(ids, labels=ids).loss) * (ids.shape[1] - 1) / torch.log(torch.tensor(2.0)).item()
            tokens += ids.shape[1] - 1
        num_bytes = sum(len(text.encode()) for text in texts)
        assert results["bits_per_byte"]["general"][name] == pytest.approx(bits / num_bytes, rel=1e-5)
        assert results["tokens_per_byte"]["general"][name] == pytest.approx(tokens / num_bytes)
    assert results["scored"]["general"] == {"documents": len(texts), "bytes": num_bytes}


def test_limits_bound_what_is_scored(world: ArtifactPaths) -> None:
    results = run(config(world, max_documents=3, max_bytes=100)).results
    assert results["scored"]["domain"]["documents"] <= 3
    assert results["scored"]["domain"]["bytes"] <= 100
    assert results["heldout_documents"] == 12  # token counts are over all of them


def test_a_model_that_its_stage_made_and_somebody_deleted(world: ArtifactPaths) -> None:
    (world.aligned_model / "model.safetensors").unlink()
    (world.aligned_model / "config.json").unlink()
    for path in world.aligned_model.iterdir():
        path.unlink()
    world.aligned_model.rmdir()
    with pytest.raises(StaleInputError, match="ivr align"):
        run(config(world))


def test_a_stride_beyond_the_context(world: ArtifactPaths) -> None:
    with pytest.raises(ConfigError, match="--stride 33"):
        run(config(world, stride=33))


def test_no_general_text(world: ArtifactPaths) -> None:
    for path in world.general_heldout.iterdir():
        path.unlink()
    world.general_heldout.rmdir()
    assert set(run(config(world)).results["bits_per_byte"]) == {"domain"}


def test_held_out_text_without_a_document(world: ArtifactPaths) -> None:
    write_corpus(world.heldout_corpora / "domain.txt", [])
    write_manifest(world, "init", [world.original_tokenizer, world.base_model, world.heldout_corpora])
    align.run(align.Config(world.root, init_strategy="mean"))  # it measures the held-out text too
    results = run(config(world)).results
    assert set(results["bits_per_byte"]) == {"general"}
    assert results["tokens_saved_percent"] is None
