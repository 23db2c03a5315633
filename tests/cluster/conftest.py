"""Fixtures for a real Slurm: a site, and worlds that stand where `train` starts."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import make_world
from slurm_site import Site

from ivr.artifacts import ArtifactPaths
from ivr.embedding import align


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def _aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    paths = make_world(tmp_path_factory.mktemp("built") / "artifacts")
    align.run(align.Config(paths.root))
    return paths.root


@pytest.fixture
def another_world(_aligned: Path, tmp_path: Path) -> Callable[[str], ArtifactPaths]:
    """A fresh artifacts directory that stands where `train` starts."""

    def copy(name: str) -> ArtifactPaths:
        shutil.copytree(_aligned, tmp_path / name)
        return ArtifactPaths(tmp_path / name)

    return copy


@pytest.fixture
def world(another_world: Callable[[str], ArtifactPaths]) -> ArtifactPaths:
    return another_world("artifacts")
