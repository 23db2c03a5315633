"""What is known of new rows before training: the frozen body, the loss, the zero-row trap, distillation."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import documents, tiny_model, write_corpus, write_manifest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from ivr.artifacts import ArtifactPaths
from ivr.embedding import align
from ivr.embedding.initialisers.body import Body
from ivr.embedding.initialisers.distillation import Frozen, Schedule, distill
from ivr.embedding.initialisers.domain_text import DomainText, encode, sample_documents
from ivr.embedding.initialisers.snippets import SnippetRules, choose_snippets
from ivr.embedding.probe import probe
from ivr.embedding.weights import embedding_names, read_config, read_layout, read_state
from ivr.errors import ConfigError
from ivr.evaluation.bits_per_byte import score_documents
from ivr.tokenizer.remap.rules import read_rules

WTE, HEAD = "transformer.wte.weight", "lm_head.weight"


def body_of(model_dir: Path) -> tuple[Body, dict[str, torch.Tensor]]:
    config, state = read_config(model_dir), read_state(model_dir)
    return Body(config, state, embedding_names(state, read_layout(model_dir))), state


NEW_WORDS = ["zebrafish", "carcinomaneuron"]


def texts_with_new_tokens(count: int, seed: int) -> list[str]:
    """Documents in which every third word is one of the new tokens."""
    draw = random.Random(seed)
    return [
        " ".join(draw.choice(NEW_WORDS) if k % 3 == 2 else word for k, word in enumerate(text.split(" ")))
        for text in documents(count, seed)
    ]


@pytest.fixture
def spoken(world: ArtifactPaths) -> ArtifactPaths:
    """The world with new tokens in its text."""
    write_corpus(world.cleaned_corpora / "domain.txt", texts_with_new_tokens(60, 5))
    write_corpus(world.heldout_corpora / "domain.txt", texts_with_new_tokens(10, 6))
    note_inputs(world)
    return world


def note_inputs(world: ArtifactPaths) -> None:
    outputs = [world.original_tokenizer, world.base_model, world.cleaned_corpora, world.heldout_corpora]
    write_manifest(world, "init", outputs)


def make_untied(world: ArtifactPaths) -> None:
    size = json.loads((world.base_model / "config.json").read_text())["vocab_size"]
    tiny_model(size, tied=False).save_pretrained(world.base_model)
    note_inputs(world)


def test_the_body_fed_with_rows_is_the_model_fed_with_ids(world: ArtifactPaths) -> None:
    body, state = body_of(world.base_model)
    ids_BT = torch.arange(40).reshape(2, 20)
    model = AutoModelForCausalLM.from_pretrained(world.base_model).eval()
    with torch.no_grad():
        expected = model.transformer(ids_BT).last_hidden_state
        assert torch.allclose(body.hidden(state[WTE][ids_BT]), expected, atol=1e-6)


@pytest.mark.parametrize("tied", [True, False])
def test_the_loss_before_training_is_what_evaluate_would_say(world: ArtifactPaths, tied: bool) -> None:
    if not tied:
        make_untied(world)
    manifest = align.run(align.Config(world.root, init_strategy="pieces"))
    model = AutoModelForCausalLM.from_pretrained(world.aligned_model)
    # documents that fit the context: there both read the same windows
    texts = [text for text in documents(30, seed=3) if len(text) < 80]
    text = encode(texts, world.aligned_model)
    body, state = body_of(world.aligned_model)
    new = [swap.id for swap in read_rules(world.remap_rules).swaps]
    found = probe(body, state[WTE], None if tied else state[HEAD], new, text)
    pairs = [(one, ids.tolist()) for one, ids in zip(texts, text.documents, strict=True)]
    assert max(len(ids) for _, ids in pairs) < 32
    scores = score_documents(model, pairs, text.start_id, 32, 32, "cpu")
    assert found.bits_per_byte == pytest.approx(scores.bits_per_byte, rel=1e-5)
    assert found.tokens_per_byte == pytest.approx(scores.tokens_per_byte)
    every = [token_id for ids in text.documents for token_id in ids.tolist()]
    assert found.share_K.tolist() == pytest.approx([every.count(token_id) / len(every) for token_id in new])
    everything = probe(body, state[WTE], None if tied else state[HEAD], range(len(state[WTE])), text)
    assert everything.mass_K.sum() == pytest.approx(1, abs=1e-4)
    assert 1 < manifest.results["bits_per_byte"] < 10


def test_zero_rows_that_take_the_probability_are_flagged(
    world: ArtifactPaths, caplog: pytest.LogCaptureFixture
) -> None:
    state = dict(load_file(world.base_model / "model.safetensors"))
    state["transformer.ln_f.bias"] = torch.full((32,), 3.0)
    state[WTE] -= 0.05  # every trained logit is negative now
    save_file(state, world.base_model / "model.safetensors", metadata={"format": "pt"})
    note_inputs(world)
    with caplog.at_level("WARNING", logger="ivr"):
        trapped = align.run(align.Config(world.root, init_strategy="zeros")).results
        assert "more than 1 % of the probability" in caplog.text
        caplog.clear()
        fine = align.run(align.Config(world.root, init_strategy="mean")).results
        assert not caplog.text
    assert len(trapped["flagged"]) == 3
    assert trapped["new_rows_mass"] > 0.3 > 10 * fine["new_rows_mass"]
    assert fine["flagged"] == []
    assert trapped["bits_per_byte"] > fine["bits_per_byte"]


def test_held_out_text_may_be_left_unread(world: ArtifactPaths) -> None:
    results = align.run(align.Config(world.root, heldout_bytes=0)).results
    assert "bits_per_byte" not in results
    assert "new_norm_mean" in results


def test_all_strategies_in_one_table(world: ArtifactPaths, capsys: pytest.CaptureFixture[str]) -> None:
    config = align.Config(world.root, init_strategy="pieces", compare_strategies=True)
    results = align.run(config).results
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[0] for line in lines[1:]) == sorted(align.STRATEGIES)
    losses = [float(line.split()[1]) for line in lines[1:]]
    assert losses == sorted(losses)
    assert set(results["strategies"]) == set(align.STRATEGIES)
    compared = load_file(world.aligned_model / "model.safetensors")
    align.run(align.Config(world.root, init_strategy="pieces"))
    assert torch.equal(compared[WTE], load_file(world.aligned_model / "model.safetensors")[WTE])


# snippets and distillation --------------------------------------------------------------------------------------


def test_both_sides_of_a_snippet_spell_the_same_text() -> None:
    text = DomainText([np.array([1, 2, 90, 3, 91, 4])], 20, start_id=99)
    sources = np.arange(100)
    sources[3] = 50  # a token that moved: its row is elsewhere in the base
    (snippet,) = choose_snippets(
        text,
        [90, 91],
        [[10, 11], [12, 13, 14]],
        sources,
        SnippetRules(per_token=1, max_snippets=5, length=10, context=32, seed=0),
    )
    assert snippet.student.tolist() == [99, 1, 2, 90, 3, 91, 4]
    assert snippet.teacher.tolist() == [99, 1, 2, 10, 11, 50, 12, 13, 14, 4]
    assert snippet.ends.tolist() == [0, 1, 2, 4, 5, 8, 9]
    assert snippet.first == 3


def test_rare_tokens_are_served_first_and_the_context_is_respected() -> None:
    rare = [np.array([91, 5, 5])]
    text = DomainText([np.array([90, 5, 5])] * 50 + rare, 200, start_id=99)

    def chosen(**options: int) -> list[list[int]]:
        settings = {"per_token": 3, "max_snippets": 100, "length": 3, "context": 32, "seed": 1} | options
        found = choose_snippets(text, [90, 91], [[1, 2], [3, 4]], np.arange(100), SnippetRules(**settings))
        return [snippet.student.tolist() for snippet in found]

    assert sorted(chosen()) == [[99, 90, 5, 5]] * 3 + [[99, 91, 5, 5]]
    assert sorted(chosen(max_snippets=2)) == [[99, 90, 5, 5], [99, 91, 5, 5]]
    assert sorted(chosen(context=4)) == [[99, 90, 5]] * 3 + [[99, 91, 5]]
    assert chosen(context=2) == []


def test_the_sample_of_the_text_is_the_same_in_any_order_and_bounded() -> None:
    texts = documents(50, seed=9)
    chosen = sample_documents(texts, 1000, seed=0)
    assert chosen == sample_documents(reversed(texts), 1000, seed=0)
    assert 500 < sum(len(text.encode()) for text in chosen) <= 1000
    assert chosen != sample_documents(texts, 1000, seed=1)
    assert sample_documents(["세포" * 100], 7, seed=0) == ["세포"]


def small_problem(world: ArtifactPaths) -> tuple[Body, dict[str, torch.Tensor], list[int], list[list[int]], DomainText]:
    body, state = body_of(world.base_model)
    swaps = read_rules(world.remap_rules).swaps
    text = encode(documents(60, seed=5), world.remapped_tokenizer)
    return body, state, [swap.id for swap in swaps], [list(swap.pieces) for swap in swaps], text


def test_a_row_equal_to_its_only_piece_has_nothing_to_learn_from_the_states(world: ArtifactPaths) -> None:
    body, state, new, _, text = small_problem(world)
    same = [[3], [4], [5]]
    ids = [np.where(np.arange(len(ids)) % 4 == 3, new[0], ids) for ids in text.documents]
    snippets = choose_snippets(
        DomainText(ids, text.num_bytes, text.start_id),
        new,
        same,
        np.arange(len(state[WTE])),
        SnippetRules(per_token=4, max_snippets=8, length=20, context=32, seed=0),
    )
    assert snippets
    # an untied wte learns from the distance alone, which is 0 from the start
    head = state[WTE].clone()
    start = state[WTE][[3, 4, 5]].double().numpy()
    frozen = Frozen(body, state[WTE], head, state[WTE], new)
    rows, _ = distill(frozen, [start, start], snippets, Schedule(rate=0.01))
    assert np.abs(rows - start).max() < 0.01 * float(state[WTE].std())


@pytest.mark.parametrize(("shift", "expected"), [(3.0, "pieces"), (0.0, "zeros")])
def test_distillation_starts_where_the_frozen_model_is_least_surprised(
    spoken: ArtifactPaths, shift: float, expected: str
) -> None:
    world = spoken
    state = dict(load_file(world.base_model / "model.safetensors"))
    if shift:  # the zero-row trap: every trained logit is far below 0
        state["transformer.ln_f.bias"] = torch.full((32,), shift)
        state[WTE] -= 0.5
    else:  # rows of pieces that are long, and wrong
        pieces = {piece for swap in read_rules(world.remap_rules).swaps for piece in swap.pieces}
        state[WTE][sorted(pieces)] *= 30.0
    save_file(state, world.base_model / "model.safetensors", metadata={"format": "pt"})
    note_inputs(world)
    results = align.run(align.Config(world.root, init_strategy="distill", snippet_tokens=20, heldout_bytes=0)).results
    assert results["distilled_from"]["started_from"] == expected
    assert results["distilled_from"]["student_tokens"] < results["distilled_from"]["teacher_tokens"]


@pytest.mark.parametrize("tied", [True, False])
def test_distilled_rows_lose_less_and_touch_nothing_else(spoken: ArtifactPaths, tied: bool) -> None:
    world = spoken
    if not tied:
        make_untied(world)
    state = dict(load_file(world.base_model / "model.safetensors"))
    pieces = sorted({piece for swap in read_rules(world.remap_rules).swaps for piece in swap.pieces})
    for name in (WTE,) if tied else (WTE, HEAD):
        state[name][pieces] *= 30.0  # their mean is long, and far from what the model makes of them in turn
    save_file(state, world.base_model / "model.safetensors", metadata={"format": "pt"})
    note_inputs(world)
    before = load_file(world.base_model / "model.safetensors")
    options = {"snippets_per_token": 50, "snippet_tokens": 20, "heldout_bytes": 5000}
    loss = {
        strategy: align.run(align.Config(world.root, init_strategy=strategy, **options)).results["bits_per_byte"]  # type: ignore[arg-type]
        for strategy in ("pieces", "distill")
    }
    assert loss["distill"] < loss["pieces"] - 0.001
    after = load_file(world.aligned_model / "model.safetensors")
    new = [swap.id for swap in read_rules(world.remap_rules).swaps]
    kept = [i for i in range(len(before[WTE])) if i not in new]
    for name in before:
        rows = kept if name in (WTE, HEAD) else slice(None)
        assert torch.equal(before[name][rows].view(torch.int32), after[name][rows].view(torch.int32)), name
    if not tied:
        assert not torch.equal(after[WTE][new], after[HEAD][new])


@pytest.mark.parametrize("strategy", ["distill", "focus", "gaussian"])
def test_two_runs_of_a_seed_write_the_same_rows(another_world: Callable[[str], ArtifactPaths], strategy: str) -> None:
    found = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        world = another_world(name)
        write_corpus(world.cleaned_corpora / "domain.txt", texts_with_new_tokens(20, 5))
        note_inputs(world)
        align.run(align.Config(world.root, init_strategy=strategy, seed=seed, heldout_bytes=0))
        found.append((world.embeddings / "final_wte.pt").read_bytes())
    assert found[0] == found[1]
    assert strategy == "focus" or found[0] != found[2]


def test_text_is_an_input_of_the_strategies_that_read_it(world: ArtifactPaths) -> None:
    corpus = str(world.cleaned_corpora.relative_to(world.root))
    for strategy, reads in (("distill", True), ("focus", True), ("pieces", False)):
        manifest = align.run(align.Config(world.root, init_strategy=strategy))
        assert any(row.path.startswith(corpus) for row in manifest.inputs) is reads


def test_a_bfloat16_base_can_be_distilled(spoken: ArtifactPaths) -> None:
    world = spoken
    state = {name: value.bfloat16() for name, value in load_file(world.base_model / "model.safetensors").items()}
    save_file(state, world.base_model / "model.safetensors", metadata={"format": "pt"})
    note_inputs(world)
    results = align.run(align.Config(world.root, init_strategy="distill")).results
    assert results["dtype"] == "bfloat16"
    assert load_file(world.aligned_model / "model.safetensors")[WTE].dtype == torch.bfloat16


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"snippet_tokens": 1}, {"heldout_bytes": -1}, {"device": "tpu"}])
def test_options_that_cannot_work(world: ArtifactPaths, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        align.run(align.Config(world.root, **wrong))  # type: ignore[arg-type]


# memory ---------------------------------------------------------------------------------------------------------

PEAK = """
import resource, sys
from pathlib import Path
from ivr.embedding import align
import torch, transformers, tokenizers
from ivr.embedding import trials, model_directory
from ivr.embedding.initialisers import body
transformers.GPT2Model
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
first = peak()
align.run(align.Config(Path(sys.argv[1]), init_strategy=sys.argv[2], heldout_bytes=2000))
print(peak() - first)
"""


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["pieces", "distill"])
def test_no_more_than_the_model_and_one_matrix_is_in_memory(spoken: ArtifactPaths, strategy: str) -> None:
    world = spoken
    config = GPT2Config(vocab_size=100_000, n_positions=32, n_embd=512, n_layer=1, n_head=2)  # 195 MiB, mostly padding
    model = GPT2LMHeadModel(config)
    matrix = model.transformer.wte.weight.nbytes
    model.save_pretrained(world.base_model)
    del model
    note_inputs(world)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(world.root), strategy], capture_output=True, text=True, check=True
    )
    used = int(done.stdout.splitlines()[-1])
    assert used < 2.5 * matrix, f"{used / matrix:.2f} matrices"
