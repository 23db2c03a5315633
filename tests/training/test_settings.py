"""How long, in what precision, with how much memory: settings that change the cost and not what is learnt."""

import shutil
import signal
from collections import namedtuple
from collections.abc import Callable, Iterator

import pytest
import torch
from accelerate.state import AcceleratorState
from builders import documents, write_corpus
from safetensors.torch import load_file
from test_train import config, metrics

from ivr.artifacts import ArtifactPaths
from ivr.errors import ConfigError, TryAgainError
from ivr.training.launch.signals import StopRequest
from ivr.training.train import run

World = ArtifactPaths


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """accelerate keeps the precision of its first use for the whole process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def losses(world: World) -> list[float]:
    return [row["loss"] for row in metrics(world) if "loss" in row]


def test_gradient_checkpointing_repeats_the_same_arithmetic(another_world: Callable[[str], World]) -> None:
    found = []
    for recompute in (False, True):
        world = another_world(f"recompute {recompute}")
        run(config(world, gradient_checkpointing=recompute, max_steps=3))
        found.append((world.final_model / "model.safetensors").read_bytes())
    assert found[0] == found[1]


def test_products_in_bf16_come_near_those_in_float32_and_weights_stay_float32(
    another_world: Callable[[str], World],
) -> None:
    found = {}
    for precision in ("float32", "bf16"):
        AcceleratorState._reset_state(reset_partial_state=True)
        world = another_world(precision)
        assert run(config(world, precision=precision, max_steps=4)).results["precision"] == precision
        found[precision] = losses(world)
        assert load_file(world.final_model / "model.safetensors")["transformer.wte.weight"].dtype == torch.float32
    assert found["bf16"] != found["float32"]
    assert found["bf16"] == pytest.approx(found["float32"], rel=2e-3)


@pytest.mark.slow
def test_a_compiled_model_keeps_the_names_of_its_weights(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_module, compiled = torch.nn.Module.compile, []

    def traced_only(module: torch.nn.Module) -> None:  # without the C++ that takes the time
        compiled.append(module)
        compile_module(module, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", traced_only)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    run(config(world, torch_compile=True, max_steps=3, save_every=2))
    assert len(compiled) == 1
    names = set(load_file(world.aligned_model / "model.safetensors"))
    assert set(load_file(world.final_model / "model.safetensors")) == names


def test_compiling_on_a_cpu_without_a_compiler(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"no g\+\+"):
        run(config(world, torch_compile=True))


@pytest.mark.slow
def test_budgets_become_steps(world: World) -> None:
    write_corpus(world.root / "general" / "a.txt", documents(40, seed=7))
    replay = {"replay_corpus": world.root / "general", "replay_ratio": 0.25}
    results = run(config(world, max_tokens=4 * 32 * 3 - 1, eval_bytes=0)).results
    assert (results["steps"], results["tokens"]) == (3, 4 * 32 * 3)
    results = run(config(world, max_bytes=10_000, eval_bytes=0)).results
    assert results["bytes"] == pytest.approx(10_000, rel=0.1)
    results = run(config(world, max_bytes=10_000, eval_bytes=0, **replay)).results
    assert results["bytes"] == pytest.approx(10_000, rel=0.1)
    assert results["replayed_share"] == 0.25
    results = run(config(world, epochs=0.5, eval_bytes=0, **replay)).results
    assert results["passes_over_text"] == pytest.approx(0.5, abs=0.03)


def test_too_little_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(ConfigError, match=r"0\.0 GB are free, .* need .* GB"):
        run(config(world))


@pytest.mark.parametrize(
    ("number", "error", "saved"),
    [(signal.SIGTERM, TryAgainError, 0), (signal.SIGINT, KeyboardInterrupt, 0), (signal.SIGUSR2, TryAgainError, 1)],
)
def test_a_stop_signal_before_the_first_step_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, error: type[BaseException], saved: int
) -> None:
    enter = StopRequest.__enter__

    def early(self: StopRequest) -> StopRequest:
        stop = enter(self)
        signal.raise_signal(number)
        return stop

    monkeypatch.setattr(StopRequest, "__enter__", early)
    with pytest.raises(error):
        run(config(world, max_steps=2))
    assert len(list(world.training.glob("checkpoints/*/step-*"))) == saved  # SIGUSR2 leaves time for a step
    monkeypatch.undo()
    run(config(world, max_steps=2))
