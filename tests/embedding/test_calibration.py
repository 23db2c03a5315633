"""Calibrated rows, a head that is untied, how far training is followed, and what a new token costs the model."""

import json

import numpy as np
import pytest
import torch
from builders import documents
from safetensors.torch import load_file
from test_trials import HEAD, WTE, make_untied, small_problem, spoken  # noqa: F401
from transformers import AutoModelForCausalLM

from ivr.artifacts import ArtifactPaths
from ivr.embedding import align
from ivr.embedding.initialisers.calibration import bias_direction, calibrated, rest_shares
from ivr.embedding.initialisers.distillation import Frozen, keep_what_pays, losses
from ivr.embedding.initialisers.domain_text import DomainText, encode
from ivr.embedding.initialisers.rows import Problem
from ivr.embedding.initialisers.snippets import MOST_TOKENS, set_aside
from ivr.tokenizer.remap.rules import read_rules


def problem(role: str, matrix_VD: torch.Tensor) -> Problem:
    return Problem(matrix_VD, [5, 6], [0, 1, 2, 3], [[1, 2], [3, 0, 2]], 0.02, 0, role=role)


def test_the_head_takes_the_logit_of_the_first_piece_and_how_often_the_rest_follows() -> None:
    draw = np.random.default_rng(0)
    states_ND = draw.normal(size=(400, 4)) + np.array([0, 0, 3, 0])
    bias_D = bias_direction(states_ND)
    assert (states_ND @ bias_D).mean() == pytest.approx(1, abs=0.2)
    matrix_VD = torch.tensor(draw.normal(size=(7, 4)))
    shares_K = np.array([0.5, 0.125])
    rows_KD = calibrated(problem("output", matrix_VD), shares_K, bias_D)
    logits_NK, firsts_NK = states_ND @ rows_KD.T, states_ND @ matrix_VD[[1, 3]].numpy().T
    expected_NK = np.log(shares_K) * (states_ND @ bias_D)[:, None]
    assert np.allclose(logits_NK - firsts_NK, expected_NK)
    assert np.array_equal(calibrated(problem("input", matrix_VD), shares_K, bias_D), matrix_VD[[2, 2]].numpy())


def test_a_heads_own_bias_takes_the_logarithm_exactly() -> None:
    matrix_VD = torch.arange(35, dtype=torch.float64).reshape(7, 5)  # four columns and the bias
    rows_KD = calibrated(problem("output", matrix_VD), np.array([0.5, 0.25]), np.ones(4))
    assert np.allclose(rows_KD - matrix_VD[[1, 3]].numpy(), [[0, 0, 0, 0, np.log(0.5)], [0, 0, 0, 0, np.log(0.25)]])


def test_shares_count_the_first_piece_where_it_stands_alone_and_where_tokens_begin_with_it() -> None:
    sources = np.array([0, 2, 1, 3, 4, 5, 6])  # remapped ids 1 and 2 stand for the base's 2 and 1
    texts = [np.array([2, 2, 5, 5, 5]), np.array([6, 1])]
    shares_K = rest_shares(texts, [5, 6], [[1, 3], [1, 4]], sources)
    assert shares_K.tolist() == [3.5 / 7, 1.5 / 7]  # six first pieces: two alone, three and one in tokens


def test_what_is_set_aside_is_no_snippets_text() -> None:
    text = DomainText([np.arange(30 * n, 30 * n + 30) for n in range(3)], 100, start_id=99)
    rest, windows = set_aside(text, 3)  # ten windows a document; the last three of its eighth, sixteenth, ...
    assert [ids.tolist() for ids in windows] == [[99, 21, 22, 23], [99, 45, 46, 47], [99, 69, 70, 71]]
    assert sorted(np.concatenate([*rest.documents, *(ids[1:] for ids in windows)]).tolist()) == list(range(90))
    assert [len(ids) for ids in rest.documents] == [21, 6, 15, 12, 9, 18]
    long = DomainText([np.zeros(100_000, np.int64)], 100, start_id=99)
    assert sum(len(ids) - 1 for ids in set_aside(long, 200)[1]) == MOST_TOKENS
    short = DomainText([np.arange(5)], 5, start_id=99)
    assert set_aside(short, 3)[1] == []


def test_training_is_followed_as_far_as_ordinary_text_loses_less(world: ArtifactPaths) -> None:
    body, state, new, _, _ = small_problem(world)
    text = encode(documents(40, seed=8), world.remapped_tokenizer)
    windows = [np.concatenate([[text.start_id], ids[:20]]) for ids in text.documents]
    frozen = Frozen(body, state[WTE], None, state[WTE], new)
    start = [state[WTE][new].double().numpy()]
    worse = [np.random.default_rng(0).normal(size=start[0].shape) * 3]  # rows that take probability here and there
    rows, shares = keep_what_pays(frozen, start, worse, windows)
    assert shares == [0.0]
    assert np.array_equal(rows[0], start[0])
    back, shares = keep_what_pays(frozen, worse, start, windows)
    assert shares == [1.0]
    assert losses(frozen, back, windows) < losses(frozen, worse, windows)
    assert keep_what_pays(frozen, start, worse, [])[1] == [1.0]


@pytest.mark.parametrize("strategy", ["pieces", "calibrated", "distill"])
def test_an_untied_head_differs_in_new_rows_alone(spoken: ArtifactPaths, strategy: str) -> None:  # noqa: F811
    world = spoken
    before = load_file(world.base_model / "model.safetensors")
    config = align.Config(world.root, init_strategy=strategy, untie_head=True, snippet_tokens=20)
    results = align.run(config).results
    assert results["head"] == "untied"
    after = load_file(world.aligned_model / "model.safetensors")
    assert set(after) == {*before, HEAD}
    new = [swap.id for swap in read_rules(world.remap_rules).swaps]
    kept = [i for i in range(len(before[WTE])) if i not in new]
    assert torch.equal(after[HEAD][kept], after[WTE][kept])
    assert torch.equal(after[HEAD][new], after[WTE][new]) == (strategy == "pieces")
    for name in set(before) - {WTE}:
        assert torch.equal(before[name], after[name]), name
    model = AutoModelForCausalLM.from_pretrained(world.aligned_model)
    assert model.config.tie_word_embeddings is False
    assert torch.equal(model.lm_head.weight, after[HEAD])
    assert torch.equal(model.transformer.wte.weight, after[WTE])


def test_a_head_that_is_untied_already_stays_so(world: ArtifactPaths) -> None:
    make_untied(world)
    align.run(align.Config(world.root, init_strategy="pieces"))
    plain = load_file(world.aligned_model / "model.safetensors")
    align.run(align.Config(world.root, init_strategy="pieces", untie_head=True))
    again = load_file(world.aligned_model / "model.safetensors")
    assert all(torch.equal(plain[name], again[name]) for name in plain)


def test_a_tied_config_is_the_bases_byte_for_byte(world: ArtifactPaths) -> None:
    align.run(align.Config(world.root, init_strategy="pieces"))
    assert (world.aligned_model / "config.json").read_bytes() == (world.base_model / "config.json").read_bytes()


def test_bits_lost_for_each_token_saved(spoken: ArtifactPaths) -> None:  # noqa: F811
    world = spoken
    results = align.run(align.Config(world.root, init_strategy="pieces")).results
    texts = (world.heldout_corpora / "domain.txt").read_text().split("\n<|endoftext|>\n")
    counts = [
        sum(len(ids) for ids in encode(texts, tokenizer).documents)
        for tokenizer in (world.original_tokenizer, world.remapped_tokenizer)
    ]
    assert results["tokens_saved"] == counts[0] - counts[1] > 0
    held = sum(
        len(text.encode()) for text in (world.heldout_corpora / "domain.txt").read_text().split("\n<|endoftext|>\n")
    )
    lost = (results["bits_per_byte"] - results["base_bits_per_byte"]) * held / results["tokens_saved"]
    assert results["bits_lost_per_token_saved"] == pytest.approx(lost, rel=0.01)
    assert json.loads(world.manifest("align").read_text())["results"]["tokens_saved"] == results["tokens_saved"]
