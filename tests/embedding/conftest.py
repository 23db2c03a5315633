"""A small world that stands where `align` starts."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import make_world

from ivr.artifacts import ArtifactPaths


@pytest.fixture(scope="session")
def built_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("built") / "artifacts").root


@pytest.fixture
def world(built_world: Path, tmp_path: Path) -> ArtifactPaths:
    """A fresh copy for one test."""
    return copy_world(built_world, tmp_path / "artifacts")


@pytest.fixture
def another_world(built_world: Path, tmp_path: Path) -> Callable[[str], ArtifactPaths]:
    return lambda name: copy_world(built_world, tmp_path / name)


def copy_world(source: Path, target: Path) -> ArtifactPaths:
    shutil.copytree(source, target)
    return ArtifactPaths(target)
