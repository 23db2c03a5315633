"""`ivr evaluate`: the same documents for every model there is."""

import json

import pytest
import torch
from builders import write_corpus, write_manifest
from transformers import AutoModelForCausalLM

from ivr.artifacts import ArtifactPaths
from ivr.corpus.documents import read_documents
from ivr.errors import ConfigError, StaleInputError
from ivr.training import train
from ivr.training.evaluate import Config, run
from ivr.training.packing import load_tokenizer


def test_before_training_the_trained_model_is_left_out_and_afterwards_it_is_in(world: ArtifactPaths) -> None:
    first = run(Config(world.root)).results
    assert set(first["bits_per_byte"]) == {"domain", "general"}
    assert set(first["bits_per_byte"]["domain"]) == {"base", "aligned"}
    train.run(train.Config(world.root, max_steps=30, lr=3e-3, batch_size=4, eval_bytes=10**6))
    manifest = run(Config(world.root))
    second = manifest.results
    assert set(second["bits_per_byte"]["domain"]) == {"base", "aligned", "trained"}
    assert second["bits_per_byte"]["domain"]["base"] == first["bits_per_byte"]["domain"]["base"]
    assert second["bits_per_byte"]["domain"]["trained"] < second["bits_per_byte"]["domain"]["aligned"]
    trained = json.loads(world.manifest("train").read_text())["results"]
    assert trained["heldout_bits_per_byte_last"] == pytest.approx(
        second["bits_per_byte"]["domain"]["trained"], rel=1e-5
    )
    assert json.loads(world.evaluation.read_text()) == second
    content = world.evaluation.read_bytes()
    run(Config(world.root, force=True))
    assert world.evaluation.read_bytes() == content


def test_figures_against_the_library_one_document_at_a_time(world: ArtifactPaths) -> None:
    results = run(Config(world.root)).results
    texts = [text for text in read_documents(world.general_heldout) if text]
    for name, model_dir in (("base", world.base_model), ("aligned", world.aligned_model)):
        model = AutoModelForCausalLM.from_pretrained(model_dir).eval()
        tokenizer = load_tokenizer(model_dir)
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
    results = run(Config(world.root, max_documents=3, max_bytes=100)).results
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
        run(Config(world.root))


def test_a_stride_beyond_the_context(world: ArtifactPaths) -> None:
    with pytest.raises(ConfigError, match="--stride 33"):
        run(Config(world.root, stride=33))


def test_no_general_text(world: ArtifactPaths) -> None:
    for path in world.general_heldout.iterdir():
        path.unlink()
    world.general_heldout.rmdir()
    assert set(run(Config(world.root)).results["bits_per_byte"]) == {"domain"}


def test_held_out_text_without_a_document(world: ArtifactPaths) -> None:
    write_corpus(world.heldout_corpora / "domain.txt", [])
    write_manifest(world, "init", [world.original_tokenizer, world.base_model, world.heldout_corpora])
    results = run(Config(world.root)).results
    assert set(results["bits_per_byte"]) == {"general"}
    assert results["tokens_saved_percent"] is None
