"""What really runs: a ZeRO request is ZeRO or an error; two processes share one artifacts directory."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from ivr.artifacts import ArtifactPaths
from ivr.errors import ConfigError
from ivr.training.processes import read_deepspeed_config

DEEPSPEED = Path(__file__).resolve().parents[2] / "slurm" / "deepspeed"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone")


@pytest.mark.slow
def test_zero_2_on_two_processes_goes_on_to_the_bit_and_needs_no_compiler(
    world: ArtifactPaths, start: Callable[..., subprocess.Popen[str]], clean_environment: dict[str, str], tmp_path: Path
) -> None:
    # DeepSpeed would compile its extensions here
    clean_environment["TORCH_EXTENSIONS_DIR"] = str(tmp_path / "extensions")
    clean_environment["OMP_NUM_THREADS"] = "1"
    options = ["--artifacts-dir", str(world.root), "--max-steps=4", "--batch-size=2", "--save-every=2", "--threads=1"]
    options += ["--eval-bytes=300", "--deepspeed", str(DEEPSPEED / "zero2.json")]

    def train() -> None:
        process = start("train", *options, launcher=TORCHRUN)
        try:
            output, _ = process.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            process.terminate()  # torchrun takes its ranks along
            pytest.fail(f"no end in sight: {process.communicate()[0]}")
        assert process.returncode == 0, output
        assert "2 process(es) on cpu, DEEPSPEED ZeRO-2, float32" in output

    train()
    results = json.loads(world.manifest("train").read_text())["results"]
    assert (results["distributed_type"], results["zero_stage"], results["processes"]) == ("DEEPSPEED", 2, 2)
    assert results["tokens"] == 4 * 2 * 2 * 32
    straight = [
        path.read_bytes() for path in (world.final_model / "model.safetensors", world.training / "metrics.jsonl")
    ]
    state = load_file(world.final_model / "model.safetensors")
    assert "lm_head.weight" not in state
    model = AutoModelForCausalLM.from_pretrained(world.final_model)
    assert torch.equal(model.lm_head.weight, state["transformer.wte.weight"])

    # as if it had been killed after step 2
    world.manifest("train").unlink()
    (last,) = world.training.glob("checkpoints/*/step-00000004")
    last.rename(tmp_path / "last")
    (world.final_model / "model.safetensors").unlink()
    train()
    resumed = [
        path.read_bytes() for path in (world.final_model / "model.safetensors", world.training / "metrics.jsonl")
    ]
    assert resumed == straight
    assert not list((tmp_path / "extensions").glob("**/*.so"))


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_files_that_come_with_it_are_filled_in(stage: int) -> None:
    settings = read_deepspeed_config(DEEPSPEED / f"zero{stage}.json", 4, 2, 0.5, bf16=False)
    assert settings["zero_optimization"]["stage"] == stage
    assert "auto" not in json.dumps(settings)
    assert settings["train_micro_batch_size_per_gpu"] == 4
    assert settings["gradient_accumulation_steps"] == 2
    assert settings["gradient_clipping"] == 0.5
    assert settings["bf16"] == {"enabled": False}
    assert settings["zero_force_ds_cpu_optimizer"] is False


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a DeepSpeed configuration"),
        ("[]", "not a DeepSpeed configuration"),
        ("{}", "not a DeepSpeed configuration"),
        ('{"zero_optimization": {"stage": 0}}', "stage is 0"),
        ('{"zero_optimization": {"stage": 2}, "optimizer": {"type": "Adam"}}', "'optimizer' out"),
        ('{"zero_optimization": {"stage": 2}, "gradient_clipping": 3}', "gradient_clipping is 3, the option says 0.5"),
    ],
)
def test_configurations_that_cannot_work(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "zero.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_deepspeed_config(path, 4, 2, 0.5, bf16=False)


def test_zero_that_would_end_as_something_else_is_an_error(
    world: ArtifactPaths, start: Callable[..., subprocess.Popen[str]], clean_environment: dict[str, str]
) -> None:
    clean_environment["ACCELERATE_USE_CPU"] = "true"  # the trap: accelerate then leaves DeepSpeed out, silently
    process = start(
        "train", "--artifacts-dir", str(world.root), "--max-steps=1", "--deepspeed", str(DEEPSPEED / "zero2.json")
    )
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 2, output
    assert "was asked for, but what accelerate would run is" in output
    assert not world.final_model.exists()
