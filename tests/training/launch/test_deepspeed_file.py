"""DeepSpeed files, ours and from elsewhere: each key is honoured, refused in a sentence, or overruled with a word."""

import json
import logging
from pathlib import Path

import pytest

from ivr.errors import ConfigError
from ivr.training.launch.deepspeed_file import (
    HONOURED,
    OURS,
    REFUSED,
    Wanted,
    asked_precision,
    check_zero,
    filled,
    read_deepspeed_file,
)

DEEPSPEED = Path(__file__).resolve().parents[3] / "slurm" / "deepspeed"
WANTED = Wanted(batch_size=4, accumulation=2, max_grad_norm=0.5, processes=3)
# the file of the documentation of another trainer, with all that such files carry
ELSEWHERE = {
    "fp16": {"enabled": "auto", "loss_scale": 0, "initial_scale_power": 16},
    "bf16": {"enabled": "auto"},
    "zero_optimization": {
        "stage": 3,
        "offload_optimizer": {"device": "none", "pin_memory": True},
        "offload_param": {"device": "auto"},
        "overlap_comm": True,
        "contiguous_gradients": True,
        "sub_group_size": 1e9,
        "reduce_bucket_size": "auto",
        "stage3_prefetch_bucket_size": "auto",
        "stage3_param_persistence_threshold": "auto",
    },
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "steps_per_print": 2000,
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "wall_clock_breakdown": False,
}


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "zero.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def stage2(**keys: object) -> dict[str, object]:
    return {"zero_optimization": {"stage": 2}, **keys}


def taken(path: Path, precision: str = "auto") -> dict:
    settings = read_deepspeed_file(path)
    asked = asked_precision(path, settings, precision)
    return filled(path, settings, WANTED, "float32" if asked == "auto" else asked)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_files_that_come_with_it_are_filled_in(stage: int) -> None:
    settings = taken(DEEPSPEED / f"zero{stage}.json")
    assert settings["zero_optimization"]["stage"] == stage
    assert "auto" not in json.dumps(settings)
    assert settings["train_micro_batch_size_per_gpu"] == 4
    assert settings["gradient_accumulation_steps"] == 2
    assert settings["gradient_clipping"] == 0.5
    assert settings["train_batch_size"] == 24
    assert settings["bf16"] == {"enabled": False}
    assert settings["zero_force_ds_cpu_optimizer"] is False


def test_a_file_of_another_trainer(tmp_path: Path) -> None:
    path = written(tmp_path, ELSEWHERE)
    settings = taken(path)
    check_zero(path, settings)
    assert "auto" not in json.dumps(settings) and "fp16" not in settings
    assert settings["zero_optimization"]["sub_group_size"] == 1e9, "what it says is honoured"
    assert settings["steps_per_print"] == 2000 and settings["bf16"] == {"enabled": False}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a DeepSpeed configuration"),
        ("[]", "not a DeepSpeed configuration"),
        ("{}", "not a DeepSpeed configuration"),
        ("[" * 100_000, "not a DeepSpeed configuration"),
        ('{"zero_optimization": 2}', "not a DeepSpeed configuration"),
        ('{"zero_optimization": {"stage": 2, "stage": 3}}', "'stage' stands in it twice"),
        ({"zero_optimization": {"stage": 0}}, "stage is 0"),
        ({"zero_optimization": {"stage": True}}, "stage is True"),
        (stage2(optimizer={"type": "Adam"}), "take 'optimizer' out; `ivr train` brings its own AdamW"),
        (stage2(scheduler={"type": "WarmupLR"}), "take 'scheduler' out"),
        (stage2(gradient_clipping=3), "gradient_clipping is 3, --max-grad-norm says 0.5"),
        (stage2(train_micro_batch_size_per_gpu=8), "is 8, --batch-size says 4"),
        (stage2(gradient_accumulation_steps="2"), "is '2', --gradient-accumulation says 2"),
        (stage2(train_batch_size=256), r"train_batch_size is 256, --batch-size x .* x 3 processes says 24"),
        (stage2(fp16={"enabled": True}), "fp16 is on"),
        (stage2(fp16={"loss_scale": 0}), "fp16 is on"),
        (stage2(fp16=True), "fp16 is on"),
        (stage2(bf16={"enabled": "yes"}), "bf16.enabled is 'yes'"),
        (stage2(bf16={"enabled": True}, bfloat16={"enabled": False}), "old name"),
        (stage2(amp={"enabled": True}), "take 'amp' out; --precision"),
        (stage2(activation_checkpointing={"partition_activations": True}), "--gradient-checkpointing"),
        (stage2(train_batch_sise=256), "'train_batch_sise' does nothing here; did you mean 'train_batch_size'"),
        (stage2(zzzz=1), "'zzzz' does nothing here; known are"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        taken(written(tmp_path, content))


@pytest.mark.parametrize("key", sorted({*REFUSED} - {"checkpoint", "compile"}))
def test_a_section_that_is_switched_off_asks_for_nothing(tmp_path: Path, key: str) -> None:
    assert key not in taken(written(tmp_path, stage2(**{key: {"enabled": False}})))


def test_every_key_has_one_fate() -> None:
    assert not (HONOURED & OURS) and not (HONOURED & set(REFUSED)) and not (OURS & set(REFUSED))


@pytest.mark.parametrize(
    ("enabled", "option", "runs"),
    [("auto", "auto", "auto"), (True, "auto", "bf16"), (False, "auto", "float32"), (True, "bf16", "bf16")],
)
def test_the_precision_of_a_file_is_what_runs(tmp_path: Path, enabled: object, option: str, runs: str) -> None:
    path = written(tmp_path, stage2(bf16={"enabled": enabled}))
    assert asked_precision(path, read_deepspeed_file(path), option) == runs
    if runs != "auto":
        assert taken(path)["bf16"] == {"enabled": runs == "bf16"}


def test_a_precision_that_differs_from_the_option_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, stage2(bf16={"enabled": True}))
    with pytest.raises(ConfigError, match=r"bf16\.enabled says bf16, --precision says float32"):
        taken(path, "float32")


def test_what_is_overruled_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("ivr").propagate = True
    settings = taken(written(tmp_path, stage2(zero_force_ds_cpu_optimizer=True, zero_allow_untested_optimizer=False)))
    assert settings["zero_force_ds_cpu_optimizer"] is False and settings["zero_allow_untested_optimizer"] is True
    assert "zero_force_ds_cpu_optimizer is taken for false" in caplog.text
    assert "zero_allow_untested_optimizer is taken for true" in caplog.text


@pytest.mark.parametrize(
    "zero",
    [{"stage": 2, "overlap_com": True}, {"stage": 3, "sub_group_size": "big"}, {"stage": 2, "offload_optimizer": 3}],
)
def test_deepspeed_looks_at_its_section_itself(tmp_path: Path, zero: dict) -> None:
    path = written(tmp_path, {"zero_optimization": zero})
    with pytest.raises(ConfigError, match=r"zero_optimization: "):
        check_zero(path, taken(path))
