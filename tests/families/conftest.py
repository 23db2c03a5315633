"""One run up to `remap`, shared by all families: what it makes of tokenizers does not depend on the model."""

import shutil
from pathlib import Path

import pytest
from small_pipeline import run_stage, write_inputs

BEFORE_THE_MODEL = ("init", "analyze", "distill-tokenizer", "select", "remap")


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model/ (its tokenizer), domain/ and general/: what a person brings."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="session")
def remapped(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifacts directory that stands where `align` starts, of a GPT-2."""
    artifacts = tmp_path_factory.mktemp("remapped") / "artifacts"
    for stage in BEFORE_THE_MODEL:
        assert run_stage(stage, inputs, artifacts) == 0
    return artifacts


@pytest.fixture
def artifacts(remapped: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(remapped, tmp_path / "artifacts"))
