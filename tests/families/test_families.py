"""Every family through init, align, train and evaluate: rows found, the other tensors untouched, the result loads."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from family_models import FAMILIES, PADDING_ROWS, make_model, write_family
from safetensors.torch import load_file
from small_pipeline import STAGE_OPTIONS
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from ivr.artifacts import ArtifactPaths
from ivr.base.weights.layout import layout_of
from ivr.cli import main
from ivr.embedding.initialisers.body import Body, for_head, with_bias
from ivr.embedding.rows_of_model import read_rows
from ivr.embedding.weights import embedding_names, read_config, read_layout, read_state
from ivr.evaluation.compute import attention_width, flops_per_token, num_multiplied
from ivr.tokenizer.remap.rules import read_rules

OPTIONS = {
    **STAGE_OPTIONS,
    "align": ["--init-strategy", "distill", "--text-bytes", "4000", "--max-snippets", "16", "--threads", "1"],
    "train": ["--max-steps", "3", "--eval-every", "3", "--batch-size", "2", "--block-size", "32", "--threads", "1"],
    "evaluate": ["--max-documents", "3", "--samples", "1", "--sample-tokens", "4", "--threads", "1"],
}


def run(stage: str, artifacts: Path, *more: str) -> dict[str, Any]:
    """Run a stage; its results."""
    assert main([stage, "--artifacts-dir", str(artifacts), "-q", *OPTIONS[stage], *more]) == 0
    return json.loads(ArtifactPaths(artifacts).manifest(stage).read_text())["results"]


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(torch.uint8)


QUICK = {"Llama"}  # one of them without `slow`
EACH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_a_family_goes_through_the_pipeline(name: str, inputs: Path, artifacts: Path, tmp_path: Path) -> None:
    family, paths = FAMILIES[name], ArtifactPaths(artifacts)
    brought = write_family(tmp_path / "model", name)
    corpora = ["--raw-corpora-dir", str(inputs / "domain"), "--general-corpora-dir", str(inputs / "general")]
    record = run("init", artifacts, "--model-name", str(brought), *corpora)["model"]
    assert (record["model_type"], record["context"]) == (family.kind, 64)
    assert record["head"] == ("tied" if family.tied else "untied")
    assert record["positions"] == ("learned" if family.learned_positions else "computed")

    aligned = run("align", artifacts)
    assert aligned["positions"] == record["positions"] and aligned["bits_per_byte"] > 0
    assert (paths.embeddings / "original_wpe.pt").exists() == family.learned_positions
    check_rows(paths, brought)

    run("train", artifacts)
    found = run("evaluate", artifacts)
    assert set(found["bits_per_byte"]["domain"]) == {"base", "aligned", "trained"}
    check_final(paths, name)
    assert main(["report", "--artifacts-dir", str(artifacts), "-q"]) == 0


def check_rows(paths: ArtifactPaths, brought: Path) -> None:
    """Only rows of new tokens differ from what was brought: in the input embeddings, an untied head and its bias."""
    before, after = load_file(brought / "model.safetensors"), load_file(paths.aligned_model / "model.safetensors")
    assert before.keys() == after.keys()
    names = embedding_names(before, read_layout(brought))
    new = sorted(swap.id for swap in read_rules(paths.remap_rules).swaps)
    moved = {name for name in (names.input, names.output, names.output_bias) if name}
    for tensor_name, tensor in before.items():
        assert after[tensor_name].dtype == tensor.dtype
        if tensor_name not in moved:
            assert torch.equal(bits(after[tensor_name]), bits(tensor)), tensor_name
            continue
        kept = [i for i in range(len(tensor)) if i not in new]
        assert kept[-PADDING_ROWS:] == list(range(len(tensor)))[-PADDING_ROWS:]
        assert torch.equal(bits(after[tensor_name][kept]), bits(tensor[kept])), tensor_name
        assert (after[tensor_name][new] != tensor[new]).any(), tensor_name
    exported = torch.load(paths.embeddings / "original_wte.pt", weights_only=True)
    assert torch.equal(bits(exported), bits(before[names.input]))
    if names.positions:
        exported = torch.load(paths.embeddings / "original_wpe.pt", weights_only=True)
        assert torch.equal(bits(exported), bits(before[names.positions]))


def check_final(paths: ArtifactPaths, name: str) -> None:
    """It loads whole, tied as the base and by the names of the base; its tokenizer gives the remapped ids."""
    family = FAMILIES[name]
    model, loading = AutoModelForCausalLM.from_pretrained(paths.final_model, output_loading_info=True)
    assert not (loading["missing_keys"] or loading["unexpected_keys"] or loading["mismatched_keys"])
    rows, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert (head is rows) == family.tied and model.dtype == torch.float32
    base, final = (load_file(folder / "model.safetensors") for folder in (paths.base_model, paths.final_model))
    assert base.keys() == final.keys()
    # beside a Qwen2 AutoTokenizer builds a tokenizer of its own, and the card says so
    plain = family.kind == "qwen2"
    card = (paths.final_model / "README.md").read_text()
    assert ("PreTrainedTokenizerFast.from_pretrained" in card) == plain
    loaded = (PreTrainedTokenizerFast if plain else AutoTokenizer).from_pretrained(paths.final_model)
    expected = PreTrainedTokenizerFast.from_pretrained(paths.remapped_tokenizer)
    text = "zebrafish carcinoma of the cell"
    assert loaded(text).input_ids == expected(text).input_ids


@pytest.mark.parametrize("name", FAMILIES)
def test_states_times_the_head_are_the_models_logits(name: str, tmp_path: Path) -> None:
    make_model(name, 300).float().save_pretrained(tmp_path)
    state = read_state(tmp_path)
    names = embedding_names(state, read_layout(tmp_path))
    body = Body(read_config(tmp_path), state, names)
    ids_BT = torch.arange(40).reshape(2, 20)
    model = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    head_VD = state[names.output or names.input]
    head_VD = with_bias(head_VD, state[names.output_bias] if names.output_bias else None)
    with torch.no_grad():
        states = for_head(body.hidden(state[names.input][ids_BT]), head_VD.shape[1])
        assert torch.allclose(states @ head_VD.T, model(ids_BT).logits, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_flops_of_a_token_are_what_pytorch_counts(name: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model, block, batch = make_model(name, 300).float(), 32, 2
    model.set_attn_implementation("eager")  # products that it knows how to count
    ids_BT = torch.arange(block * batch).reshape(batch, block)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids_BT, labels=ids_BT, use_cache=False).loss.backward()
    counted = counter.get_total_flops() / ids_BT.numel()
    assert flops_per_token(num_multiplied(model), attention_width(model.config), block) == pytest.approx(
        counted, rel=0.02
    )


def test_gpt2_is_written_down_as_transformers_builds_it() -> None:
    from ivr.base.weights.gpt2_layout import gpt2_layout
    from ivr.base.weights.transformers_layout import transformers_layout

    for tied in (True, False):
        config = {"model_type": "gpt2", "vocab_size": 300, "n_embd": 32, "n_layer": 2, "n_head": 2}
        config |= {"tie_word_embeddings": tied, "n_positions": 64}
        written, built = gpt2_layout(config, "here"), transformers_layout(config, "here")
        for name in ("kind", "prefix", "prefixed", "input", "output", "output_bias", "positions", "rows", "context"):
            assert getattr(written, name) == getattr(built, name), name
        assert dict(written.shapes) == dict(built.shapes) and dict(written.tied) == dict(built.tied)
        assert {key: written.said(key) for key in built.stated_as} == dict(built.stated_as)


@pytest.mark.parametrize(
    ("stored", "bare"),
    [
        ("embed_out.weight", "lm_head.weight"),
        ("gpt_neox.layers.0.mlp.dense_h_to_4h.bias", "layers.0.mlp.dense_h_to_4h.bias"),
        ("module._orig_mod.gpt_neox.embed_in.weight", "embed_in.weight"),
    ],
)
def test_names_in_files_of_gpt_neox(stored: str, bare: str) -> None:
    layout = layout_of(make_model("GPT-NeoX", 300).config.to_dict(), "here")
    assert layout.bare(stored) == bare


@pytest.mark.slow
def test_the_older_name_of_a_head_stays(tmp_path: Path, artifacts: Path) -> None:
    """As in the files of Pythia: transformers renames embed_out when it loads, and names it so again when it saves."""
    folder = write_family(tmp_path / "model", "GPT-NeoX")
    assert "embed_out.weight" in load_file(folder / "model.safetensors")
    paths = ArtifactPaths(artifacts)
    rows = read_rows(folder, paths.original_tokenizer, paths.remapped_tokenizer, read_rules(paths.remap_rules))
    assert rows.names.output == "embed_out.weight" and list(rows.matrices) == ["input", "output"]
