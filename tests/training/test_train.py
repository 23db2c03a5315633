"""`ivr train`: packed blocks in, a model that loads and generates out; interrupted or not, the same bits."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ivr.artifacts import ArtifactPaths
from ivr.disk.writer import files_below
from ivr.encoding.text.tokenizer_file import load_for_text
from ivr.errors import ConfigError, StaleInputError, TryAgainError
from ivr.schema import write_sealed
from ivr.tokenizer.remap.dropout import SuperwordDropout
from ivr.training import loop
from ivr.training.divergence import LossWatch
from ivr.training.metrics import TIME_FIELDS, without_times
from ivr.training.train import Config, run

World = ArtifactPaths


def config(world: World, **options: object) -> Config:
    small = {
        "max_steps": 6,
        "batch_size": 4,
        "eval_every": 3,
        "eval_bytes": 500,
        "save_every": 3,
        "warmup_steps": 2,
        "threads": 1,
    }
    return Config(world.root, **{**small, **options})  # type: ignore[arg-type]


def metrics(world: World) -> list[dict]:
    return [json.loads(line) for line in (world.training / "metrics.jsonl").read_text().splitlines()]


def products(world: World) -> dict[str, object]:
    """What two runs of the same inputs have in common: the model's files, and the log but for its times."""
    files: dict[str, object] = {path.name: path.read_bytes() for path in files_below(world.final_model)}
    return files | {"metrics.jsonl": without_times(metrics(world))}


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
    arithmetic = {"step", "loss", "lr", "gradient_norm", "tokens", "bytes", "position"}
    assert set(steps[0]) == arithmetic | TIME_FIELDS - {"mfu"}  # the speed of a CPU is not known
    assert [row["position"] for row in steps] == list(range(4, 164, 4))
    assert steps[3]["tokens_per_second"] == pytest.approx(steps[3]["tokens"] / steps[3]["seconds"], rel=0.01)
    assert steps[0]["lr"] == pytest.approx(1.5e-3)
    assert steps[-1]["lr"] == pytest.approx(3e-4)
    assert steps[0]["tokens"] == 4 * 32
    results = manifest.results
    assert results["loss_last"] < results["loss_first"] - 0.5
    assert results["heldout_bits_per_byte_last"] < results["heldout_bits_per_byte_first"]
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


@pytest.mark.slow
def test_kill_9_and_going_on_gives_the_straight_runs_bits(
    another_world: Callable[[str], World], start: Callable[..., subprocess.Popen[str]]
) -> None:
    straight, killed = another_world("straight"), another_world("killed")
    run(config(straight, max_steps=20, save_every=10))
    options = [
        "--max-steps=20",
        "--threads=1",
        "--batch-size=4",
        "--eval-every=3",
        "--eval-bytes=500",
        "--save-every=10",
    ]
    process = start("train", "--artifacts-dir", str(killed.root), "--warmup-steps=2", *options)
    checkpoints = killed.training / "checkpoints"
    wait_for(lambda: any(checkpoints.glob("*/step-*/complete.json")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    steps_done = len([row for row in metrics(killed) if "loss" in row])
    assert 10 <= steps_done < 20
    assert not killed.manifest("train").exists()
    run(config(killed, max_steps=20, save_every=10))
    assert products(killed) == products(straight)
    last = "step-00000020/training.pt"
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
    options = ["--max-steps=6", "--threads=1", "--batch-size=4", "--save-every=100", "--eval-bytes=0"]
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


def test_an_interrupted_run_is_not_gone_on_with_otherwise(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(world, monkeypatch)
    with pytest.raises(ConfigError, match=r"step-00000003 was made with --lr 0.0005, this run 0.001.*--no-resume"):
        run(config(world, lr=1e-3))
    run(config(world, lr=1e-3, resume=False))
    assert metrics(world)[1]["lr"] == pytest.approx(5e-4)
    run(config(world, lr=2e-3))  # that one was finished, so another may follow
    run(config(world))  # the interrupted one can still be
    assert [row["lr"] for row in metrics(world) if "loss" in row][1] == pytest.approx(5e-4)


def test_superwords_that_were_cut_are_the_same_after_an_interruption(
    another_world: Callable[[str], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, straight, world = another_world("plain"), another_world("straight"), another_world("artifacts")
    with pytest.raises(ConfigError, match="name no superword"):
        run(config(plain, superword_dropout=0.5))
    run(config(plain))
    tokenizer = load_for_text(plain.aligned_model)
    cuts = {token_id: [[token_id, token_id]] for token_id in range(100, tokenizer.get_vocab_size())}
    monkeypatch.setattr(
        "ivr.tokenizer.remap.dropout.read_dropout", lambda *paths: SuperwordDropout(cuts, paths[-2], paths[-1])
    )
    run(config(straight, superword_dropout=0.5))
    read = [sum(row["tokens"] for row in metrics(each) if "loss" in row) for each in (plain, straight)]
    assert read[0] == read[1], "blocks are full"
    assert metrics(plain)[1]["loss"] != metrics(straight)[1]["loss"]
    interrupted(world, monkeypatch, at_step=4, superword_dropout=0.5)
    with pytest.raises(ConfigError, match=r"step-00000004 was made with --superword-dropout 0.5"):
        run(config(world))
    for data in (world.training / "data").iterdir():
        shutil.rmtree(data)  # what was encoded is gone, and is drawn again
    run(config(world, superword_dropout=0.5))
    assert products(world) == products(straight)


@pytest.mark.parametrize("what", ["model", "tokenizer", "training text"])
def test_an_interrupted_run_is_not_gone_on_with_from_another(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    folder = world.root / "mine"
    shutil.copytree(world.aligned_model, folder / "model")
    shutil.copytree(world.cleaned_corpora, folder / "text")
    options = {"model_name": folder / "model", "cleaned_corpora_dir": folder / "text"}
    interrupted(world, monkeypatch, **options)
    altered = {
        "model": folder / "model" / "generation_config.json",
        "tokenizer": folder / "model" / "tokenizer.json",
        "training text": folder / "text" / "domain.txt",
    }[what]
    altered.write_text(altered.read_text() + "\n")
    with pytest.raises(ConfigError, match=f"{what} [0-9a-f]{{16}}, this run [0-9a-f]{{16}}"):
        run(config(world, **options))


def test_no_resume_begins_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(world, monkeypatch)
    before = metrics(world)
    run(config(world, resume=False))
    assert [row["step"] for row in metrics(world) if "loss" in row] == [1, 2, 3, 4, 5, 6]
    assert [row["seconds"] for row in metrics(world) if "loss" in row][:3] != [
        row["seconds"] for row in before if "loss" in row
    ]


def test_a_checkpoint_of_another_number_of_processes_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(world, monkeypatch)
    (marker,) = world.training.glob("checkpoints/*/step-00000003/complete.json")
    facts = json.loads(marker.read_text())
    facts["card"] |= {"processes": 4, "kind of run": "DEEPSPEED ZeRO-2"}
    write_sealed(marker, facts)
    with pytest.raises(ConfigError, match="kind of run DEEPSPEED ZeRO-2, this run NO; processes 4, this run 1"):
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
    with pytest.raises(ConfigError, match=r"loss is nan at step 5 .*last good checkpoint is step 3"):
        run(config(world))
    assert not world.final_model.exists()
    assert [path.name for path in world.training.glob("checkpoints/*/step-*")] == ["step-00000003"]
    kept = world.training / "diverged" / "step-00000005"
    blocks_NT = np.load(kept / "step-5.npy")
    assert blocks_NT.shape == (4, 33)
    lines = [json.loads(line) for line in (kept / "blocks.jsonl").read_text(encoding="utf-8").splitlines()]
    tokenizer = load_for_text(world.aligned_model)
    assert [line["text"] for line in lines] == [
        tokenizer.decode(ids, skip_special_tokens=False) for ids in blocks_NT.tolist()
    ]
    assert json.loads((kept / "facts.json").read_text())["last_good_checkpoint"].startswith("step 3, ")


def test_a_gradient_that_is_no_number_stops_the_run_before_it_is_saved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_step = loop._take_step

    def diverging(run: loop.Run, step: int, *rest: object) -> tuple[float, float]:
        loss, norm = take_step(run, step, *rest)  # type: ignore[arg-type]
        return loss, float("inf") if step == 2 else norm

    monkeypatch.setattr(loop, "_take_step", diverging)
    with pytest.raises(ConfigError, match=r"at step 3 .*gradient norm inf.*last good checkpoint is none"):
        run(config(world))
    assert not list(world.training.glob("checkpoints/*/step-*"))


def test_a_loss_that_climbs_stops_the_run_and_keeps_the_steps_it_climbed_in(world: World) -> None:
    with pytest.raises(ConfigError, match=r"the loss diverges: .* rose by 0.05 nats at step \d+"):
        run(config(world, max_steps=60, lr=3.0, warmup_steps=15, max_loss_rise=0.05, eval_bytes=0, save_every=5))
    (kept,) = (world.training / "diverged").iterdir()
    step = int(kept.name.removeprefix("step-"))
    assert sorted(path.name for path in kept.glob("*.npy")) == sorted(
        f"step-{n}.npy" for n in range(step - 9, step + 1)
    )


def test_a_climb_is_seen_across_an_interruption() -> None:
    falling, climbing = [3.0] * 10 + [1.0] * 10, [1.0 + 0.2 * k for k in range(20)]
    straight = LossWatch([], rise=1.0)
    stops = [straight.diverges(loss) for loss in falling + climbing]
    resumed = LossWatch((falling + climbing)[:25], rise=1.0)
    assert [resumed.diverges(loss) for loss in climbing[5:]] == stops[25:]
    # the mean of ten steps from 1 + 0.2 n on is 1.9 + 0.2 n: above 2.0 for the first time at n = 1
    assert stops.index(True) == 20 + 10
    assert not any(map(LossWatch([], rise=0).diverges, falling + climbing))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block_size": 33}, "context is 32"),
        ({"lr": 0.0}, "--lr"),
        ({"lr": float("nan")}, "--lr"),
        ({"max_steps": 0}, "--max-steps 0"),
        ({"replay_ratio": 1.0}, "--replay-ratio 1.0"),
        ({"replay_corpus": Path("nowhere")}, "nowhere: no such file"),
        ({"phases": "rows-then-all", "max_steps": 1}, "at least 2 steps"),
        ({"phases": "rows"}, "one of all, rows-then-all"),
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


@pytest.mark.slow
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
