"""`ivr control`: the base model trained as far as the aligned one, in bytes and FLOPs; measured, checked, cleaned."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_pipeline import STAGE_OPTIONS, command, write_inputs

from ivr.artifacts import CONTROL_ARMS, ArtifactPaths
from ivr.cli import main
from ivr.disk.clean import clean
from ivr.manifest import PIPELINE, Manifest
from ivr.report.integrity import check
from ivr.report.page.parts import scaled
from ivr.training.control.arms import accumulation, initialising_flops

pytestmark = pytest.mark.slow


def control(paths: ArtifactPaths, *words: str) -> int:
    return main(["control", "--artifacts-dir", str(paths.root), "-q", *words])


def made(paths: ArtifactPaths, stage: str) -> Manifest:
    found = Manifest.read(paths.manifest(stage))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ArtifactPaths:
    """A run up to `train`, aligned by an initialiser that runs the model."""
    inputs = tmp_path_factory.mktemp("control")
    write_inputs(inputs)
    for stage in PIPELINE[: PIPELINE.index("train") + 1]:
        words = command(stage, inputs, inputs / "artifacts")
        assert main([{"pieces": "distill"}.get(word, word) for word in words]) == 0
    return ArtifactPaths(inputs / "artifacts")


@pytest.fixture
def run(trained: ArtifactPaths, tmp_path: Path) -> ArtifactPaths:
    shutil.copytree(trained.root, tmp_path / "artifacts", symlinks=True)
    return ArtifactPaths(tmp_path / "artifacts")


def test_both_arms_are_trained_measured_reported_checked_and_cleaned(
    run: ArtifactPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert control(run) == 0
    results, trained = made(run, "control").results, made(run, "train").results
    # whole steps: half a step more or less of bytes, less than one more of tokens
    a_step = trained["bytes"] / trained["steps"]
    assert abs(results["bytes"]["bytes"] - trained["bytes"]) <= a_step
    spent = results["spent"]
    assert spent["initialising"] > 0 and spent["total"] == spent["training"] + spent["initialising"]
    assert 0 <= results["flops"]["flops"] - spent["total"] <= spent["per_token"] * trained["tokens"] / trained["steps"]
    base, arms = run.base_model, [run.control(arm) for arm in CONTROL_ARMS]
    for arm in arms:
        assert (arm.final_model / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
        assert (arm.final_model / "model.safetensors").read_bytes() != (base / "model.safetensors").read_bytes()

    words = ["--artifacts-dir", str(run.root), "-q"]
    assert main(["evaluate", *words, *STAGE_OPTIONS["evaluate"]]) == 0
    found = made(run, "evaluate").results
    assert list(found["bits_per_byte"]["domain"]) == ["base", "aligned", "control-bytes", "control-flops", "trained"]
    assert {"trained - control-bytes", "trained - control-flops"} <= set(found["differences"]["domain"])
    assert found["tokens_per_byte"]["domain"]["control-bytes"] == found["tokens_per_byte"]["domain"]["base"]
    cost = found["flops_per_byte"]["domain"]
    assert cost["base"] == cost["control-bytes"] > cost["trained"] > 0  # one size; fewer tokens
    assert main(["report", *words]) == 0
    summary = (run.report / "summary.txt").read_text(encoding="utf-8")
    assert "no swaps, same bytes" in summary and "less no swaps, same FLOPs" in summary
    page = (run.report / "index.html").read_text(encoding="utf-8")
    assert "Without new tokens" in page and scaled(spent["total"]).shown in page
    card = (run.final_model / "README.md").read_text(encoding="utf-8")
    assert "base model trained on as many bytes, vocabulary unchanged" in card

    assert check(run, 1, lambda _: None).findings == []
    capsys.readouterr()
    assert main(["status", "--artifacts-dir", str(run.root)]) == 0
    assert "stale" not in capsys.readouterr().out
    clean(run.root)
    assert [path for path in run.root.rglob("*") if path.is_file() and path.name[0] != "."] == []


def test_nothing_runs_again_and_a_flipped_bit_is_found(run: ArtifactPaths) -> None:
    assert control(run) == 0
    weights = run.control("bytes").final_model / "model.safetensors"
    before = weights.read_bytes()
    manifest = run.manifest("control").read_bytes()
    assert control(run) == 0
    assert run.manifest("control").read_bytes() == manifest
    weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert [(one.path, one.stage) for one in check(run, 1, lambda _: None).damage] == [
        ("control/bytes/training/final/model.safetensors", "control")
    ]
    assert control(run) == 0
    assert weights.read_bytes() == before  # the same seed, the same weights


def test_a_control_of_another_training_is_left_out(run: ArtifactPaths, capfd: pytest.CaptureFixture[str]) -> None:
    assert control(run) == 0
    words = [*STAGE_OPTIONS["train"][2:], "--max-steps", "6", "--artifacts-dir", str(run.root), "-q"]
    assert main(["train", *words]) == 0
    assert main(["evaluate", "--artifacts-dir", str(run.root), *STAGE_OPTIONS["evaluate"]]) == 0
    assert "control-bytes model is left out" in capfd.readouterr().err
    assert "control-bytes" not in made(run, "evaluate").results["bits_per_byte"]["domain"]
    assert main(["report", "--artifacts-dir", str(run.root), "-q"]) == 0
    assert "Without new tokens" not in (run.report / "index.html").read_text(encoding="utf-8")
    capfd.readouterr()
    assert main(["status", "--artifacts-dir", str(run.root)]) == 0
    rows = {line.split()[0]: line for line in capfd.readouterr().out.splitlines()}
    assert "stale" in rows["control"] and "stale" not in rows["evaluate"] + rows["report"]
    assert control(run) == 0
    other = made(run, "train").results
    assert abs(made(run, "control").results["bytes"]["bytes"] - other["bytes"]) <= other["bytes"] / other["steps"]


def test_what_cannot_be_compared_is_refused(run: ArtifactPaths, capfd: pytest.CaptureFixture[str]) -> None:
    assert control(run, "--processes", "3") == 2
    assert "cannot share alike" in capfd.readouterr().err
    manifest = json.loads(run.manifest("train").read_text(encoding="utf-8"))
    own = [*STAGE_OPTIONS["train"], "--model-name", str(run.base_model), "--artifacts-dir", str(run.root), "-q"]
    assert manifest["config"]["model_name"] is None and main(["train", *own]) == 0
    assert control(run) == 2
    assert "--model-name" in capfd.readouterr().err
    rows = [*STAGE_OPTIONS["train"], "--rows-only", "--artifacts-dir", str(run.root), "-q"]
    assert main(["train", *rows]) == 0 and control(run) == 2
    assert "--rows-only" in capfd.readouterr().err
    run.manifest("train").unlink()
    assert control(run) == 3
    assert "run `ivr train` first" in capfd.readouterr().err


def test_flops_of_new_rows() -> None:
    found: dict[str, Any] = {"student_tokens": 100, "teacher_tokens": 150, "epochs": 3, "judged_tokens": 50}
    assert initialising_flops(found, 10) == 4 * 10 * 300 + 2 * 10 * (450 + 50)
    assert initialising_flops({}, 10) == 0 and math.isfinite(initialising_flops({"student_tokens": 1}, 10))
    assert accumulation(6, 3) == 2
