"""`ivr align`: new rows for reassigned ids, every other bit as it was."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from builders import END, tiny_model, write_manifest, write_rules
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from ivr.artifacts import ArtifactPaths
from ivr.disk.writer import files_below
from ivr.embedding import align
from ivr.embedding.align import Config, run
from ivr.embedding.strategies import STRATEGIES
from ivr.errors import ConfigError, CorruptInputError, IvrError, StaleInputError
from ivr.tokenizer.remap.rules import read_rules

WTE, WPE = "transformer.wte.weight", "transformer.wpe.weight"
MATRICES = ["original_wte", "original_wpe", "aligned_wte", "aligned_wpe", "final_wte"]


def base_state(world: ArtifactPaths) -> dict[str, torch.Tensor]:
    return dict(load_file(world.base_model / "model.safetensors"))


def aligned_state(world: ArtifactPaths) -> dict[str, torch.Tensor]:
    return dict(load_file(world.aligned_model / "model.safetensors"))


def swapped_ids(world: ArtifactPaths) -> list[int]:
    return [swap.id for swap in read_rules(world.remap_rules).swaps]


def replace_base(world: ArtifactPaths, state: dict[str, torch.Tensor], **config: object) -> None:
    """Another base model with the same tokenizer."""
    path = world.base_model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    save_file(state, world.base_model / "model.safetensors", metadata={"format": "pt"})
    init_outputs = [world.original_tokenizer, world.base_model, world.cleaned_corpora, world.heldout_corpora]
    write_manifest(world, "init", init_outputs)


def test_every_bit_outside_the_new_rows_is_the_bases(world: ArtifactPaths) -> None:
    run(Config(world.root))
    before, after = base_state(world), aligned_state(world)
    new = swapped_ids(world)
    assert len(new) == 3
    assert before.keys() == after.keys()
    for name in before.keys() - {WTE}:
        assert torch.equal(before[name].view(torch.int32), after[name].view(torch.int32)), name
    kept = [i for i in range(len(before[WTE])) if i not in new]
    assert torch.equal(before[WTE][kept].view(torch.int32), after[WTE][kept].view(torch.int32))
    assert not torch.equal(before[WTE][new], after[WTE][new])


def test_five_matrices_load_as_plain_weights_and_their_json_describes_them(world: ArtifactPaths) -> None:
    run(Config(world.root))
    before, after = base_state(world), aligned_state(world)
    expected = {
        "original_wte": before[WTE],
        "original_wpe": before[WPE],
        "aligned_wte": before[WTE],  # in-place swaps: the old rows are carried
        "aligned_wpe": before[WPE],
        "final_wte": after[WTE],
    }
    assert sorted(path.stem for path in world.embeddings.glob("*.pt")) == sorted(MATRICES)
    for name in MATRICES:
        tensor = torch.load(world.embeddings / f"{name}.pt", weights_only=True)
        facts = json.loads((world.embeddings / f"{name}.json").read_text())
        assert torch.equal(tensor, expected[name]), name
        assert facts["shape"] == list(tensor.shape)
        assert facts["dtype"] == "float32"
        assert facts["sha256_of_values"] == hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
    assert json.loads((world.embeddings / "final_wte.json").read_text())["replaced_ids"] == swapped_ids(world)


def test_logits_of_untouched_ids_are_the_bases_on_text_without_new_tokens(world: ArtifactPaths) -> None:
    run(Config(world.root))
    new = set(swapped_ids(world))
    base = AutoModelForCausalLM.from_pretrained(world.base_model).eval()
    aligned = AutoModelForCausalLM.from_pretrained(world.aligned_model).eval()
    kept = [i for i in range(base.config.vocab_size) if i not in new]
    ids_BT = torch.tensor([kept[3:30], kept[40:67]])
    with torch.no_grad():
        base_logits, aligned_logits = base(ids_BT).logits, aligned(ids_BT).logits
        loss = aligned(torch.tensor([sorted(new) * 4]), labels=torch.tensor([sorted(new) * 4])).loss
    assert torch.equal(base_logits[..., kept], aligned_logits[..., kept])
    assert not torch.equal(base_logits, aligned_logits)
    assert torch.isfinite(loss)


@pytest.mark.slow
def test_a_fresh_process_loads_model_and_tokenizer_with_a_tied_head(world: ArtifactPaths) -> None:
    run(Config(world.root))
    script = (
        "import sys, json\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "print(json.dumps([model.lm_head.weight.data_ptr() == model.transformer.wte.weight.data_ptr(),\n"
        "                  tokenizer('a zebrafish carcinomaneuron')['input_ids']]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(world.aligned_model)], capture_output=True, text=True, check=True
    )
    tied, ids = json.loads(done.stdout.splitlines()[-1])
    assert tied
    tokenizer = Tokenizer.from_file(str(world.remapped_tokenizer / "tokenizer.json"))
    assert ids == tokenizer.encode("a zebrafish carcinomaneuron").ids
    assert len(set(ids) & set(swapped_ids(world))) == 2


@pytest.mark.parametrize("strategy", ["mean", "zeros", "pieces", "keep", "random", "gaussian"])
def test_each_strategy_gives_the_rows_its_formula_says(world: ArtifactPaths, strategy: str) -> None:
    manifest = run(Config(world.root, init_strategy=strategy, seed=7))
    before, after = base_state(world)[WTE].double(), aligned_state(world)[WTE].double()
    rules = read_rules(world.remap_rules).swaps
    new = [swap.id for swap in rules]
    rows = after[new]
    if strategy == "mean":
        kept = torch.tensor([i for i in range(len(before)) if i not in new])
        assert torch.allclose(rows, before[kept].mean(dim=0).expand_as(rows), atol=1e-8)
        assert manifest.results["new_cosine_to_mean"] == pytest.approx(1, abs=1e-5)
    elif strategy == "zeros":
        assert not rows.any()
        assert manifest.results["new_cosine_to_mean"] is None
    elif strategy == "pieces":
        for swap, row in zip(rules, rows, strict=True):
            assert torch.allclose(row, before[torch.tensor(list(swap.pieces))].mean(dim=0), atol=1e-8)
    elif strategy == "keep":
        assert torch.equal(rows, before[new])
    else:
        assert strategy in ("random", "gaussian")
        assert 0.01 < rows.std() < 0.03  # initializer_range is 0.02
        assert len({tuple(row.tolist()) for row in rows}) == len(new)
    assert manifest.results["new_rows"] == len(new)
    assert manifest.results["new_norm_mean"] == pytest.approx(rows.norm(dim=1).mean().item(), abs=1e-5)


def test_the_option_offers_what_the_table_holds() -> None:
    assert align.STRATEGIES == STRATEGIES


def test_random_rows_follow_the_seed(world: ArtifactPaths) -> None:
    found = []
    for seed in (1, 1, 2):
        run(Config(world.root, init_strategy="random", seed=seed, force=True))
        found.append(aligned_state(world)[WTE])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_two_runs_write_the_same_bytes(another_world: Callable[[str], ArtifactPaths]) -> None:
    contents = []
    for name in ("first", "second-longer-name"):
        world = another_world(name)
        run(Config(world.root))
        files = [*files_below(world.embeddings), *files_below(world.aligned_model)]
        contents.append({str(path.relative_to(world.root)): path.read_bytes() for path in files})
    assert len(contents[0]) == 15
    assert contents[0] == contents[1]


def test_the_second_run_is_current_and_a_new_strategy_is_not(world: ArtifactPaths) -> None:
    first = run(Config(world.root))
    assert run(Config(world.root)).started_at == first.started_at
    assert run(Config(world.root)).wall_seconds == first.wall_seconds
    assert run(Config(world.root, init_strategy="zeros")).identity != first.identity


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["shards", "bin", "bin-shards"])
def test_weights_may_be_sharded_or_pytorch_bin(world: ArtifactPaths, layout: str) -> None:
    run(Config(world.root))
    expected = aligned_state(world)
    state = base_state(world)
    (world.base_model / "model.safetensors").unlink()
    halves = [dict(sorted(state.items())[:10]), dict(sorted(state.items())[10:])]
    if layout == "bin":
        tied = {**state, "lm_head.weight": state[WTE]}
        torch.save(tied, world.base_model / "pytorch_model.bin")
    else:
        single = "model.safetensors" if layout == "shards" else "pytorch_model.bin"
        stem, _, ending = single.rpartition(".")
        weight_map = {}
        for number, half in enumerate(halves, start=1):
            shard = f"{stem}-{number:05d}-of-00002.{ending}"
            weight_map |= dict.fromkeys(half, shard)
            if layout == "shards":
                save_file(half, world.base_model / shard)
            else:
                torch.save(half, world.base_model / shard)
        (world.base_model / f"{single}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    write_manifest(world, "init", [world.original_tokenizer, world.base_model])
    run(Config(world.root))
    found = aligned_state(world)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_names_without_prefix_as_on_the_hub(world: ArtifactPaths) -> None:
    state = {name.removeprefix("transformer."): tensor for name, tensor in base_state(world).items()}
    replace_base(world, state)
    run(Config(world.root))
    assert aligned_state(world).keys() == state.keys()
    model = AutoModelForCausalLM.from_pretrained(world.aligned_model)
    assert torch.equal(model.transformer.wte.weight, aligned_state(world)["wte.weight"])


def test_rows_beyond_the_vocabulary_are_kept_and_not_in_the_mean(world: ArtifactPaths) -> None:
    state = base_state(world)
    size = len(state[WTE])
    state[WTE] = torch.cat([state[WTE], torch.full((5, 32), 100.0)])
    replace_base(world, state, vocab_size=size + 5)
    run(Config(world.root))
    after = aligned_state(world)[WTE]
    assert torch.equal(after[size:], state[WTE][size:])
    assert after[swapped_ids(world)].abs().max() < 1


def test_bfloat16_stays_bfloat16(world: ArtifactPaths) -> None:
    state = {name: tensor.bfloat16() for name, tensor in base_state(world).items()}
    replace_base(world, state, dtype="bfloat16")
    run(Config(world.root, init_strategy="pieces"))
    after = aligned_state(world)
    assert {tensor.dtype for tensor in after.values()} == {torch.bfloat16}
    swap = read_rules(world.remap_rules).swaps[0]
    expected = state[WTE].double()[torch.tensor(list(swap.pieces))].mean(dim=0).bfloat16()
    assert torch.equal(after[WTE][swap.id], expected)


def test_an_untied_head_gets_its_own_rows_by_the_same_rule(world: ArtifactPaths) -> None:
    model = tiny_model(json.loads((world.base_model / "config.json").read_text())["vocab_size"], tied=False)
    model.save_pretrained(world.base_model)
    write_manifest(world, "init", [world.original_tokenizer, world.base_model])
    run(Config(world.root, init_strategy="pieces"))
    before, after = base_state(world), aligned_state(world)
    for name in (WTE, "lm_head.weight"):
        for swap in read_rules(world.remap_rules).swaps:
            expected = before[name].double()[torch.tensor(list(swap.pieces))].mean(dim=0)
            assert torch.allclose(after[name][swap.id].double(), expected, atol=1e-8)
    run(Config(world.root, init_strategy="random"))
    after = aligned_state(world)
    new = swapped_ids(world)
    assert not torch.equal(after[WTE][new], after["lm_head.weight"][new])


# what a user can get wrong --------------------------------------------------------------------------------------


def refusal(world: ArtifactPaths, kind: type[IvrError], **options: object) -> str:
    with pytest.raises(kind) as caught:
        run(Config(world.root, **options))  # type: ignore[arg-type]
    assert not world.manifest("align").exists()
    assert not world.aligned_model.exists()
    return str(caught.value)


def test_a_model_directory_without_weights(world: ArtifactPaths, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_bytes((world.base_model / "config.json").read_bytes())
    assert "holds no weights" in refusal(world, CorruptInputError, model_name=bare)


def test_a_directory_that_is_no_model(world: ArtifactPaths) -> None:
    assert "no config.json" in refusal(world, ConfigError, model_name=world.original_tokenizer)


def test_another_architecture(world: ArtifactPaths) -> None:
    replace_base(world, base_state(world), model_type="t5")
    assert "'t5'" in refusal(world, ConfigError)


def test_a_tokenizer_larger_than_the_model(world: ArtifactPaths) -> None:
    state = base_state(world)
    size = len(state[WTE])
    state[WTE] = state[WTE][: size - 4].clone()
    replace_base(world, state, vocab_size=size - 4)
    message = refusal(world, ConfigError)
    assert str(size) in message
    assert str(size - 4) in message


def test_a_matrix_that_is_not_what_the_config_says(world: ArtifactPaths) -> None:
    replace_base(world, base_state(world), vocab_size=50257)
    assert "50257" in refusal(world, CorruptInputError)


def test_rules_made_for_another_tokenizer(world: ArtifactPaths) -> None:
    write_rules(world, [], original_sha256="0" * 64)
    write_manifest(world, "remap", [world.remapped_tokenizer])
    assert "0000000000000000" in refusal(world, StaleInputError)


def test_rules_that_the_remapped_tokenizer_does_not_follow(world: ArtifactPaths) -> None:
    write_rules(world, [])
    write_manifest(world, "remap", [world.remapped_tokenizer])
    assert "run `ivr remap` again" in refusal(world, StaleInputError)


def test_a_head_that_the_config_calls_tied_but_is_not(world: ArtifactPaths) -> None:
    state = base_state(world)
    replace_base(world, {**state, "lm_head.weight": state[WTE] + 1})
    assert "tie_word_embeddings" in refusal(world, CorruptInputError)


def test_a_shard_that_is_missing(world: ArtifactPaths) -> None:
    (world.base_model / "model.safetensors").unlink()
    index = {"weight_map": {WTE: "model-00001-of-00002.safetensors"}}
    (world.base_model / "model.safetensors.index.json").write_text(json.dumps(index))
    write_manifest(world, "init", [world.original_tokenizer, world.base_model])
    assert "model-00001-of-00002.safetensors" in refusal(world, CorruptInputError)


def test_a_weights_file_cut_short(world: ArtifactPaths) -> None:
    path = world.base_model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    write_manifest(world, "init", [world.original_tokenizer, world.base_model])
    assert str(path) in refusal(world, CorruptInputError)


def test_a_pickle_that_runs_code_is_not_run(world: ArtifactPaths, tmp_path: Path) -> None:
    (world.base_model / "model.safetensors").unlink()
    touched = tmp_path / "touched"
    torch.save({WTE: _Touches(touched)}, world.base_model / "pytorch_model.bin")
    write_manifest(world, "init", [world.original_tokenizer, world.base_model])
    assert "plain weights" in refusal(world, CorruptInputError)
    assert not touched.exists()


class _Touches:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_remapped_tokenizer_without_its_class_is_refused(world: ArtifactPaths) -> None:
    (world.remapped_tokenizer / "tokenizer_config.json").unlink()
    write_manifest(world, "remap", [world.remapped_tokenizer])
    assert "tokenizer_config.json" in refusal(world, CorruptInputError)


def test_the_special_token_is_no_row_to_replace(world: ArtifactPaths) -> None:
    run(Config(world.root))
    tokenizer = Tokenizer.from_file(str(world.aligned_model / "tokenizer.json"))
    end = tokenizer.token_to_id(END)
    assert torch.equal(base_state(world)[WTE][end], aligned_state(world)[WTE][end])
