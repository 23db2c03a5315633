"""What really runs: a ZeRO request is ZeRO or an error; two processes share one artifacts directory."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from builders import write_corpus
from safetensors.torch import load_file
from test_phases import assert_only_new_rows_moved

from ivr.artifacts import ArtifactPaths
from ivr.errors import ConfigError, IvrError
from ivr.tokenizer.remap.rules import read_rules
from ivr.training.launch import launcher
from ivr.training.launch.launcher import run_ranks
from ivr.training.launch.ports import free_port
from ivr.training.launch.processes import Team, check_prepared
from ivr.training.metrics import without_times
from ivr.training.options import Config

DEEPSPEED = Path(__file__).resolve().parents[3] / "slurm" / "deepspeed"
STEPS = 20


class Ranks:
    """Two processes of one team, as a batch system starts them: each with its place in the environment."""

    def __init__(self, environment: dict[str, str], arguments: list[str]) -> None:
        port = str(free_port())
        team = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "ivr", "train", *arguments],
                env={**environment, **team, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(2)
        ]

    def wait_until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 900
        while not happened():
            if any(process.poll() is not None for process in self.processes) or time.monotonic() > deadline:
                pytest.fail(f"it did not come to that: {self.kill()}")
            time.sleep(0.01)

    def kill(self) -> list[str]:
        for process in self.processes:
            process.kill()
        return [process.communicate()[0] for process in self.processes]

    def end(self) -> list[int]:
        try:
            said = [process.communicate(timeout=900)[0] for process in self.processes]
        except subprocess.TimeoutExpired:
            pytest.fail(f"no end in sight: {self.kill()}")
        self.said = said
        return [process.returncode for process in self.processes]


def steps_of(world: ArtifactPaths) -> list[dict]:
    path = world.training / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [row for row in without_times(map(json.loads, lines)) if "loss" in row]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "what"),
    [
        (2, ["--phases=rows-then-all", "--rows-share=0.3", "--replay-ratio=0.25"]),
        (3, ["--rows-only", "--gradient-checkpointing", "--gradient-accumulation=2"]),
    ],
)
def test_zero_on_two_processes_goes_on_to_the_bit_after_kill_9_and_needs_no_compiler(
    another_world: Callable[[str], ArtifactPaths],
    clean_environment: dict[str, str],
    tmp_path: Path,
    stage: int,
    what: list[str],
) -> None:
    # DeepSpeed would compile its extensions here
    clean_environment["TORCH_EXTENSIONS_DIR"] = str(tmp_path / "extensions")
    straight, broken = another_world("straight"), another_world("broken")
    texts = ["zebrafish carcinomaneuron geneneuron the cell a zebrafish"] * 60  # every new token occurs
    write_corpus(tmp_path / "domain" / "a.txt", texts)
    write_corpus(tmp_path / "general" / "a.txt", ["a general text of a few words"] * 60)
    options = [
        f"--max-steps={STEPS}",
        "--batch-size=2",
        f"--save-every={STEPS // 2}",
        "--threads=1",
        "--eval-bytes=300",
    ]
    options += ["--deepspeed", str(DEEPSPEED / f"zero{stage}.json"), "--lr=1e-2", *what, "--processes=2"]
    options += ["--cleaned-corpora-dir", str(tmp_path / "domain"), "--replay-corpus", str(tmp_path / "general")]

    def arguments(world: ArtifactPaths) -> list[str]:
        return ["--artifacts-dir", str(world.root), *options]

    # straight, through --processes
    command = [sys.executable, "-m", "ivr", "train", *arguments(straight)]
    done = subprocess.run(command, env=clean_environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert f"2 process(es) on cpu, DEEPSPEED ZeRO-{stage}, float32" in done.stderr
    results = json.loads(straight.manifest("train").read_text())["results"]
    assert (results["distributed_type"], results["zero_stage"], results["processes"]) == ("DEEPSPEED", stage, 2)

    if stage == 2:  # a stop signal that reaches one rank only: all save together and say "start me again"
        ranks = Ranks(clean_environment, arguments(broken))
        ranks.wait_until(lambda: len(steps_of(broken)) >= 2)
        ranks.processes[1].send_signal(signal.SIGUSR2)
        assert ranks.end() == [75, 75], ranks.said
        (stopped,) = broken.training.glob("checkpoints/*/step-*")
        assert stopped.name == f"step-{len(steps_of(broken)):08d}"
    ranks = Ranks(clean_environment, arguments(broken))
    ranks.wait_until(lambda: any(broken.training.glob(f"checkpoints/*/step-{STEPS // 2:08d}/complete.json")))
    ranks.kill()
    assert not broken.manifest("train").exists()
    ranks = Ranks(clean_environment, arguments(broken))
    assert ranks.end() == [0, 0], ranks.said
    assert f"going on after step {STEPS // 2}" in ranks.said[0]

    assert steps_of(broken) == steps_of(straight)  # losses, gradient norms, learning rates, places in the data
    assert len(steps_of(broken)) == STEPS and all(row["gradient_norm"] > 0 for row in steps_of(broken))
    final = [(world.final_model / "model.safetensors").read_bytes() for world in (straight, broken)]
    assert final[0] == final[1]
    assert not list((tmp_path / "extensions").glob("**/*.so"))
    before, after = (load_file(path / "model.safetensors") for path in (broken.aligned_model, broken.final_model))
    assert "lm_head.weight" not in after
    if stage == 3:
        assert_only_new_rows_moved(before, after, [swap.id for swap in read_rules(broken.remap_rules).swaps])
    else:
        assert all(not torch.equal(before[name], after[name]) for name in before)


# --processes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("import os, sys; sys.exit(int(os.environ['WORLD_SIZE']) - 2)", 0),
        ("import os, sys; sys.exit(3 * int(os.environ['RANK']))", 3),
        ("import os, sys, time; os.environ['RANK'] == '0' and time.sleep(60); sys.exit(4)", 4),  # one waits in vain
        ("import os; os.kill(os.getpid(), 9)", -9),
    ],
)
def test_the_code_of_the_rank_that_failed_first_is_the_code_of_all(
    script: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "PATIENCE_SECONDS", 0.2)
    assert run_ranks([sys.executable, "-c", script], 2) == code


@pytest.mark.parametrize(("code", "ends_with"), [(1, 70), (5, 5), (73, 73), (-9, 137)])
def test_no_rank_makes_the_whole_end_with_what_is_verifys(
    monkeypatch: pytest.MonkeyPatch, code: int, ends_with: int
) -> None:
    monkeypatch.setattr(launcher, "run_ranks", lambda command, count: code)
    with pytest.raises(IvrError) as caught:
        launcher.launch(Config(processes=2))
    assert caught.value.exit_code == ends_with


def test_a_stop_signal_is_passed_on_to_every_rank(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGUSR2, lambda *_: sys.exit(75))\n"
        f"pathlib.Path({str(tmp_path)!r}, os.environ['RANK']).touch()\n"
        "time.sleep(60)\n"
    )

    def stop() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR2)

    threading.Thread(target=stop).start()
    assert run_ranks([sys.executable, "-c", script], 2) == 75


# what really runs -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_accelerate_is_told_by_the_environment_does_not_overrule_the_options(
    world: ArtifactPaths, start: Callable[..., subprocess.Popen[str]], clean_environment: dict[str, str]
) -> None:
    # the traps: accelerate would leave DeepSpeed out, accumulate four batches a step, multiply in fp16; all silently
    clean_environment |= {"ACCELERATE_USE_CPU": "true", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}
    clean_environment |= {"ACCELERATE_MIXED_PRECISION": "fp16"}
    file = str(DEEPSPEED / "zero2.json")
    process = start("train", "--artifacts-dir", str(world.root), "--max-steps=1", "--eval-bytes=0", "--deepspeed", file)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    for name in ("ACCELERATE_USE_CPU=true", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4", "MIXED_PRECISION=fp16"):
        assert f"{name} is not used" in output
    assert "DEEPSPEED ZeRO-2, float32" in output
    (row,) = steps_of(world)
    assert row["tokens"] == 4 * 32


def test_fp16_in_a_file_from_elsewhere_is_refused_before_anything_is_done(world: ArtifactPaths, tmp_path: Path) -> None:
    from ivr.cli import main

    file = tmp_path / "ds.json"
    file.write_text('{"train_batch_size": 256, "fp16": {"enabled": true}, "zero_optimization": {"stage": 2}}')
    assert main(["train", "--artifacts-dir", str(world.root), "--deepspeed", str(file)]) == 2
    assert not world.training.exists()


def test_what_prepare_made_is_looked_at() -> None:
    model = torch.nn.Linear(2, 2)
    check_prepared(Team(None, 0, 1, "NO", 0, "float32"), model)
    with pytest.raises(ConfigError, match="2 processes were asked for, but the model is a Linear"):
        check_prepared(Team(None, 0, 2, "MULTI_CPU", 0, "float32"), model)
    with pytest.raises(ConfigError, match="ZeRO-3 in float32 was asked for, but what runs is Linear, ZeRO-0"):
        check_prepared(Team(None, 0, 2, "DEEPSPEED", 3, "float32"), model)
    engine = SimpleNamespace(
        zero_optimization_stage=lambda: 2, bfloat16_enabled=lambda: False, fp16_enabled=lambda: False
    )
    check_prepared(Team(None, 0, 2, "DEEPSPEED", 2, "float32"), engine)
    with pytest.raises(ConfigError, match=r"ZeRO-2 in bf16 was asked for.*ZeRO-2 in float32"):
        check_prepared(Team(None, 0, 2, "DEEPSPEED", 2, "bf16"), engine)
    engine.fp16_enabled = lambda: True
    with pytest.raises(ConfigError, match=r"ZeRO-2 in float32 was asked for.*ZeRO-2 in fp16"):
        check_prepared(Team(None, 0, 2, "DEEPSPEED", 2, "float32"), engine)
