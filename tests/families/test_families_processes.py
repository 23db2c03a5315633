"""ZeRO on two processes, stopped and gone on with, for models that are not GPT-2's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from family_models import write_family
from safetensors.torch import load_file
from small_pipeline import STAGE_OPTIONS

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.disk.writer import write_json
from ivr.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]
STEPS, SAVED = 4, 2
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith(("ACCELERATE_", "HF_"))}


def ivr(*words: str, **environment: str) -> str:
    """`ivr WORDS` in a process of its own; what it logged."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [sys.executable, "-m", "ivr", *words]
    settings = {**ENVIRONMENT, "PATH": path, **environment}
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("name", "stage"), [("Llama", 3), ("GPT-NeoX", 2)])
def test_zero_goes_on_to_the_bit(name: str, stage: int, inputs: Path, artifacts: Path, tmp_path: Path) -> None:
    paths, at = ArtifactPaths(artifacts), ["--artifacts-dir", str(artifacts)]
    brought = write_family(tmp_path / "model", name)
    corpora = ["--raw-corpora-dir", str(inputs / "domain"), "--general-corpora-dir", str(inputs / "general")]
    assert main(["init", *at, "-q", "--model-name", str(brought), *corpora, *STAGE_OPTIONS["init"]]) == 0
    assert main(["align", *at, "-q", "--init-strategy", "pieces", "--heldout-bytes", "0"]) == 0
    train = ["train", *at, f"--max-steps={STEPS}", f"--save-every={SAVED}", "--batch-size=2", "--block-size=32"]
    train += ["--threads=1", "--eval-bytes=200", "--processes=2", "--lr=1e-2"]
    train += ["--deepspeed", str(ROOT / f"slurm/deepspeed/zero{stage}.json")]
    said = ivr(*train, HF_HUB_OFFLINE="1")
    assert f"DEEPSPEED ZeRO-{stage}" in said
    straight = (paths.final_model / "model.safetensors").read_bytes()
    before, after = (
        load_file(paths.aligned_model / "model.safetensors"),
        load_file(paths.final_model / "model.safetensors"),
    )
    assert before.keys() == after.keys() and all((before[key].float() != after[key]).any() for key in before)

    # as if it had been stopped after the first checkpoint
    manifest = Manifest.read(paths.manifest("train"))
    assert manifest is not None
    paths.manifest("train").unlink()
    write_json(paths.manifest("train").with_name(".train.unfinished"), [row.path for row in manifest.outputs])
    shutil.rmtree(paths.final_model)
    (last,) = paths.training.glob(f"checkpoints/*/step-{STEPS:08d}")
    shutil.rmtree(last)
    said = ivr(*train, HF_HUB_OFFLINE="1")
    assert f"going on after step {SAVED}" in said
    assert (paths.final_model / "model.safetensors").read_bytes() == straight
