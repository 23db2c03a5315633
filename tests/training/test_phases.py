"""Rows alone: what is not trained keeps its bits, under weight decay, accumulation and Adam. (ZeRO: test_processes.)"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from builders import make_world, tiny_model, write_corpus, write_manifest
from safetensors.torch import load_file

from ivr.artifacts import ArtifactPaths
from ivr.embedding import align
from ivr.errors import TryAgainError
from ivr.tokenizer.remap.rules import read_rules
from ivr.training import loop
from ivr.training.phases import RowMask, freeze_all_but_embeddings
from ivr.training.train import Config, run

WTE = "transformer.wte.weight"


def config(world: ArtifactPaths, **options: object) -> Config:
    small = {"max_steps": 6, "batch_size": 2, "gradient_accumulation": 2, "eval_bytes": 0, "save_every": 3}
    return Config(world.root, **{**small, "warmup_steps": 1, "lr": 1e-2, "threads": 1, **options})  # type: ignore[arg-type]


def new_ids(world: ArtifactPaths) -> list[int]:
    return [swap.id for swap in read_rules(world.remap_rules).swaps]


def assert_only_new_rows_moved(before: dict, after: dict, ids: list[int], matrices: tuple[str, ...] = (WTE,)) -> None:
    kept = [row for row in range(len(before[WTE])) if row not in ids]
    assert set(before) == set(after)
    for name in before:
        if name not in matrices:
            assert torch.equal(before[name].view(torch.int32), after[name].view(torch.int32)), name
        else:
            assert torch.equal(before[name][kept].view(torch.int32), after[name][kept].view(torch.int32))
            assert (before[name][ids] != after[name][ids]).any(dim=1).all()


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_rows_only_moves_new_rows_and_no_other_bit(tmp_path: Path, tied: bool) -> None:
    world = make_world(tmp_path / "artifacts", tied=tied)
    align.run(align.Config(world.root))
    write_corpus(
        world.cleaned_corpora / "domain.txt", ["zebrafish carcinomaneuron geneneuron the cell a zebrafish"] * 40
    )
    write_manifest(world, "init", [world.cleaned_corpora])
    manifest = run(config(world, rows_only=True))
    before, after = (load_file(path / "model.safetensors") for path in (world.aligned_model, world.final_model))
    matrices = (WTE,) if tied else (WTE, "lm_head.weight")
    assert_only_new_rows_moved(before, after, new_ids(world), matrices)
    assert manifest.results["rows_alone_steps"] == 6


def test_rows_first_then_all_weights(world: ArtifactPaths) -> None:
    run(config(world, phases="rows-then-all", rows_share=0.5))
    before = load_file(world.aligned_model / "model.safetensors")
    (boundary,) = world.training.glob("checkpoints/*/step-00000003/training.pt")
    state = torch.load(boundary, weights_only=True)["model"]
    assert_only_new_rows_moved(before, {name: state[name] for name in before}, new_ids(world))
    after = load_file(world.final_model / "model.safetensors")
    assert all(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
@pytest.mark.parametrize("at_step", [2, 3, 4])
def test_an_interruption_in_either_phase_changes_nothing(
    another_world: Callable[[str], ArtifactPaths], monkeypatch: pytest.MonkeyPatch, at_step: int
) -> None:
    final = []
    take_step = loop._take_step

    def signalled(run: loop.Run, step: int, *rest: object) -> tuple[float, float]:
        if step == at_step - 1:
            os.kill(os.getpid(), signal.SIGUSR2)
        return take_step(run, step, *rest)  # type: ignore[arg-type]

    for name in ("straight", "stopped"):
        world = another_world(name)
        write_corpus(world.root / "general" / "a.txt", ["a general text of a few words"] * 40)
        options = {"phases": "rows-then-all", "rows_share": 0.5, "replay_corpus": world.root / "general"}
        settings = config(world, replay_ratio=0.3, **options)
        if name == "stopped":
            with monkeypatch.context() as patch, pytest.raises(TryAgainError):
                patch.setattr(loop, "_take_step", signalled)
                run(settings)
        manifest = run(settings)
        assert manifest.results["replayed_share"] == 0.3
        final.append((world.final_model / "model.safetensors").read_bytes())
    assert final[0] == final[1]


def test_a_masked_gradient_is_that_of_the_new_rows_even_beside_a_nan() -> None:
    ids = torch.tensor([[3, 4, 5, 6, 7]])
    gradients = []
    for active in (False, True):
        model = tiny_model(50, dropout=0)
        mask = RowMask(model, [4, 9])
        mask.active = active
        model(ids, labels=ids).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    whole, masked = gradients
    assert torch.equal(masked[WTE][[4, 9]], whole[WTE][[4, 9]])
    assert masked[WTE][[4, 9]].abs().sum() > 0
    kept = [row for row in range(50) if row not in (4, 9)]
    assert not masked[WTE][kept].any()
    assert not any(gradient.any() for name, gradient in masked.items() if name != WTE)
    nan = torch.full((50, 2), float("nan"))
    assert torch.equal(mask._only_new_rows(nan)[kept], torch.zeros(48, 2))


def test_a_run_of_rows_alone_computes_no_other_gradient() -> None:
    model = tiny_model(50, tied=False)
    freeze_all_but_embeddings(model)
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert names == {WTE, "lm_head.weight"}
