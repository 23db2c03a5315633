"""`ivr train`: packed blocks in, a model that loads and generates out; interrupted or not, the same bits."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ivr.artifacts import ArtifactPaths
from ivr.errors import ConfigError, StaleInputError, TryAgainError
from ivr.training import loop
from ivr.training.train import Config, run

World = ArtifactPaths


def config(world: World, **options: object) -> Config:
    small = {"max_steps": 6, "batch_size": 4, "eval_every": 3, "eval_bytes": 500, "save_every": 3, "warmup_steps": 2}
    return Config(world.root, **{**small, **options})  # type: ignore[arg-type]


def metrics(world: World) -> list[dict]:
    return [json.loads(line) for line in (world.training / "metrics.jsonl").read_text().splitlines()]


def products(world: World) -> dict[str, bytes]:
    files = [world.training / "metrics.jsonl", *sorted(world.final_model.iterdir())]
    return {path.name: path.read_bytes() for path in files}


def test_two_runs_from_scratch_write_the_same_bytes(another_world: Callable[[str], World]) -> None:
    found = []
    for name in ("one", "two"):
        world = another_world(name)
        run(config(world))
        found.append(products(world))
    assert set(found[0]) == {
        "README.md",
        "config.json",
        "generation_config.json",
        "metrics.jsonl",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert found[0] == found[1]


def test_metrics_tell_the_run_and_the_loss_falls(world: World) -> None:
    manifest = run(config(world, max_steps=40, lr=3e-3, eval_every=20, save_every=100))
    rows = metrics(world)
    steps = [row for row in rows if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 41))
    assert [row["step"] for row in rows if "heldout_bits_per_byte" in row] == [0, 20, 40]
    assert set(steps[0]) == {"step", "loss", "lr", "gradient_norm", "tokens", "bytes"}
    assert steps[0]["lr"] == pytest.approx(1.5e-3)
    assert steps[-1]["lr"] == pytest.approx(3e-4)
    assert steps[0]["tokens"] == 4 * 32
    results = manifest.results
    assert results["loss_last"] < results["loss_first"] - 0.5
    assert results["heldout_bits_per_byte_last"] < results["heldout_bits_per_byte_first"]
    assert len((world.training / "timing.jsonl").read_text().splitlines()) == 40
    assert not torch.equal(
        load_file(world.aligned_model / "model.safetensors")["transformer.wte.weight"],
        load_file(world.final_model / "model.safetensors")["transformer.wte.weight"],
    )


def test_accumulated_batches_are_one_larger_batch(another_world: Callable[[str], World]) -> None:
    losses = []
    for name, options in (("one", {"batch_size": 4}), ("two", {"batch_size": 2, "gradient_accumulation": 2})):
        world = another_world(name)
        path = world.aligned_model / "config.json"
        no_dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        path.write_text(json.dumps(json.loads(path.read_text()) | no_dropout))
        run(config(world, model_name=world.aligned_model, **options))
        losses.append([(row["loss"], row["gradient_norm"]) for row in metrics(world) if "loss" in row])
    assert torch.allclose(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=1e-4)


def test_a_finished_run_is_current(world: World) -> None:
    first = run(config(world, max_steps=2))
    assert run(config(world, max_steps=2)).started_at == first.started_at
    assert run(config(world, max_steps=2, save_every=1)).wall_seconds == first.wall_seconds  # cannot change the result
    assert run(config(world, max_steps=3)).identity != first.identity


def test_epochs_count_passes_over_the_text(world: World) -> None:
    manifest = run(config(world, epochs=0.5, batch_size=8, eval_bytes=0))
    assert manifest.results["passes_over_text"] == pytest.approx(0.5, abs=0.04)


# stopping and going on ------------------------------------------------------------------------------------------


def test_kill_9_and_going_on_gives_the_straight_runs_bits(
    another_world: Callable[[str], World], start: Callable[..., subprocess.Popen[str]]
) -> None:
    straight, killed = another_world("straight"), another_world("killed")
    run(config(straight, max_steps=24))
    options = ["--max-steps=24", "--batch-size=4", "--eval-every=3", "--eval-bytes=500", "--save-every=3"]
    process = start("train", "--artifacts-dir", str(killed.root), "--warmup-steps=2", *options)
    checkpoints = killed.training / "checkpoints"
    wait_for(lambda: any(checkpoints.glob("*/step-*/complete.json")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    steps_done = len([row for row in metrics(killed) if "loss" in row])
    assert steps_done < 24
    assert not killed.manifest("train").exists()
    run(config(killed, max_steps=24))
    assert products(killed) == products(straight)
    last = "step-00000024/training.pt"
    assert [path.read_bytes() for path in checkpoints.glob(f"*/{last}")] == [
        path.read_bytes() for path in (straight.training / "checkpoints").glob(f"*/{last}")
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR2, 75), (signal.SIGINT, 130)])
def test_a_stop_signal_saves_the_step_and_exits_with_its_code(
    world: World, number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ivr.cli import main

    take_step = loop._take_step

    def signalled(run: loop.Run, step: int, *rest: object) -> tuple[float, float]:
        if step == 3:
            os.kill(os.getpid(), number)
        return take_step(run, step, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "_take_step", signalled)
    options = ["--max-steps=6", "--batch-size=4", "--save-every=100", "--eval-bytes=0"]
    assert main(["train", "--artifacts-dir", str(world.root), *options]) == code
    assert [path.name for path in world.training.glob("checkpoints/*/step-*")] == ["step-00000004"]
    monkeypatch.undo()
    assert main(["train", "--artifacts-dir", str(world.root), *options]) == 0
    assert [row["step"] for row in metrics(world)] == [1, 2, 3, 4, 5, 6]


def interrupted(world: World, monkeypatch: pytest.MonkeyPatch, at_step: int = 3, **options: object) -> None:
    """A run that was preempted after `at_step` steps."""
    take_step = loop._take_step

    def signalled(run: loop.Run, step: int, *rest: object) -> tuple[float, float]:
        if step == at_step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return take_step(run, step, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(TryAgainError):
        patch.setattr(loop, "_take_step", signalled)
        run(config(world, **options))


def test_a_damaged_checkpoint_is_passed_over(
    another_world: Callable[[str], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, world = another_world("straight"), another_world("artifacts")
    run(config(straight))
    interrupted(world, monkeypatch, at_step=4)
    (newest,) = world.training.glob("checkpoints/*/step-00000004")
    weights = newest / "training.pt"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    run(config(world))  # from step 3
    assert products(world) == products(straight)


def test_other_options_do_not_go_on_from_anothers_checkpoint(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(world, monkeypatch)
    run(config(world, lr=1e-3))
    assert metrics(world)[1]["lr"] == pytest.approx(5e-4)
    assert len(list(world.training.glob("checkpoints/*"))) == 2  # the interrupted run can still be finished


def test_no_resume_begins_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(world, monkeypatch)
    timing_before = (world.training / "timing.jsonl").read_text().splitlines()
    run(config(world, resume=False))
    timing = (world.training / "timing.jsonl").read_text().splitlines()
    assert (len(timing_before), len(timing)) == (3, 6)
    assert timing[:3] != timing_before


def test_a_checkpoint_of_another_number_of_processes_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(world, monkeypatch)
    (marker,) = world.training.glob("checkpoints/*/step-00000003/complete.json")
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"world_size": 4}))
    with pytest.raises(ConfigError, match="processes: 4, this run has 1"):
        run(config(world))


def test_only_the_newest_checkpoints_are_kept(world: World) -> None:
    run(config(world, save_every=1, keep_checkpoints=2))
    names = sorted(path.name for path in world.training.glob("checkpoints/*/step-*"))
    assert names == ["step-00000005", "step-00000006"]


# refusals -------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_the_run_naming_the_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    take_step = loop._take_step

    def diverging(run: loop.Run, step: int, *rest: object) -> tuple[float, float]:
        if step == 4:
            with torch.no_grad():
                next(iter(run.model.parameters())).fill_(float("nan"))
        return take_step(run, step, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "_take_step", diverging)
    with pytest.raises(ConfigError, match=r"loss is nan at step 5 .*last saved step is 3"):
        run(config(world))
    assert not world.final_model.exists()
    assert [path.name for path in world.training.glob("checkpoints/*/step-*")] == ["step-00000003"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block_size": 33}, "context is 32"),
        ({"lr": 0.0}, "--lr"),
        ({"lr": float("nan")}, "--lr"),
        ({"max_steps": 0}, "--max-steps 0"),
        ({"deepspeed": Path("nowhere.json")}, "no such file"),
    ],
)
def test_options_that_cannot_work(world: World, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(config(world, **options))


def test_too_little_text(world: World) -> None:
    corpus = world.root / "few"
    corpus.mkdir()
    (corpus / "a.txt").write_text("few\n<|endoftext|>\n")
    with pytest.raises(ConfigError, match="fewer than a block of 32"):
        run(config(world, cleaned_corpora_dir=corpus))


def test_training_before_aligning(world: World) -> None:
    world.manifest("align").unlink()
    with pytest.raises(StaleInputError, match="ivr align"):
        run(config(world))


def test_an_altered_aligned_model_is_refused(world: World) -> None:
    (world.aligned_model / "config.json").write_text("{}")
    with pytest.raises(StaleInputError, match="run `ivr align` again"):
        run(config(world))


# what comes out -------------------------------------------------------------------------------------------------


def test_a_fresh_process_loads_the_final_model_and_generates(world: World, clean_environment: dict[str, str]) -> None:
    run(config(world))
    script = (
        "import sys\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "assert model.lm_head.weight.data_ptr() == model.transformer.wte.weight.data_ptr()\n"
        "ids = model.generate(**tokenizer('the cell', return_tensors='pt'), max_new_tokens=8, do_sample=False,\n"
        "                     pad_token_id=0)\n"
        "print('TEXT', repr(tokenizer.decode(ids[0])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(world.final_model)],
        capture_output=True,
        text=True,
        env=clean_environment,
        check=True,
    )
    text = done.stdout.split("TEXT ")[1]
    assert text.startswith("'the cell")
    assert len(text) > len("'the cell'\n")


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"it did not come to that: {process.communicate()[0]}")
        time.sleep(0.02)
