"""Fixtures for real data (the GPT-2 tokenizer files, the corpora) where this machine has them, and for small worlds."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from ivr.console import LOG

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenizers import Tokenizer

    from ivr.artifacts import ArtifactPaths

ROOT = Path(__file__).resolve().parent.parent


# what is compiled on first use, and other work on the machine, make the first examples slow
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def _real_data(variable: str, name: str) -> Path:
    return Path(os.environ.get(variable) or ROOT.parent / "shared" / name)


GPT2_DIR = _real_data("GPT2_DIR", "gpt2")
CORPORA_DIR = _real_data("CORPORA_DIR", "corpora")


# a shell starts what runs behind it (`pytest &`) with Ctrl-C ignored; processes that tests start would inherit that
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for mark, fixture, path, variable in (
        ("needs_gpt2", "gpt2_dir", GPT2_DIR, "GPT2_DIR"),
        ("needs_corpora", "corpora_dir", CORPORA_DIR, "CORPORA_DIR"),
    ):
        if not path.is_dir():
            reason = f"{variable} is not set and {path} is not there"
            for item in items:
                # a test may come to the data by way of another fixture and know nothing of it
                if item.get_closest_marker(mark) or fixture in getattr(item, "fixturenames", ()):
                    item.add_marker(pytest.mark.skip(reason=reason))
    testbed = Path(os.environ.get("TESTBED_DIR", "none"), "configured").exists()
    for mark, ready, script, hint in (
        ("needs_testbed", testbed, "testbed/testbed.sh", "not up; `make test-cluster` does all"),
        (
            "needs_image",
            "IVR_IMAGE" in os.environ,
            "image/image.sh",
            "no IVR_IMAGE=gpt2-ivr is given; `make image` builds it",
        ),
    ):
        without = [item for item in items if item.get_closest_marker(mark) and not ready]
        if without:
            check = subprocess.run([ROOT / "slurm" / script, "check"], capture_output=True, text=True)
            reason = f"{mark.removeprefix('needs_')}: {check.stdout.strip() or hint}"
            for item in without:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def restore_log() -> Iterator[None]:
    """`main` and the ranks of a run change the log for their whole process."""
    handlers, propagate, level = LOG.handlers[:], LOG.propagate, LOG.level
    yield
    LOG.handlers[:], LOG.propagate = handlers, propagate
    LOG.setLevel(level)


@pytest.fixture(scope="session")
def gpt2_dir() -> Path:
    """A directory with GPT-2's vocab.json and merges.txt; without it, tests that use this are skipped."""
    return GPT2_DIR


@pytest.fixture(scope="session")
def gpt2(gpt2_dir: Path) -> "Tokenizer":
    """GPT-2's own tokenizer."""
    from ivr.base.tokenizer import build_tokenizer, read_vocab_and_merges

    return build_tokenizer(*read_vocab_and_merges(gpt2_dir, "gpt2"))


@pytest.fixture(scope="session")
def corpora_dir() -> Path:
    """A directory with *.txt.xz corpora; the test must be marked needs_corpora."""
    return CORPORA_DIR


@pytest.fixture(scope="session")
def built_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run that stands where `align` starts."""
    from builders import make_world

    return make_world(tmp_path_factory.mktemp("built") / "artifacts").root


@pytest.fixture(scope="session")
def aligned_world(built_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same where `train` starts."""
    from ivr.embedding import align

    paths = copy_world(built_world, tmp_path_factory.mktemp("aligned") / "artifacts")
    align.run(align.Config(paths.root))
    return paths.root


def copy_world(source: Path, target: Path) -> "ArtifactPaths":
    from ivr.artifacts import ArtifactPaths

    shutil.copytree(source, target)
    return ArtifactPaths(target)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `artifacts`, a whole run through the command line, and the inputs it was made of; copy it."""
    from small_pipeline import STAGE_OPTIONS, run_stage, write_inputs

    folder = tmp_path_factory.mktemp("small")
    write_inputs(folder)
    for stage in STAGE_OPTIONS:
        assert run_stage(stage, folder, folder / "artifacts") == 0
    return folder


@pytest.fixture
def start_world(aligned_world: Path) -> Path:
    """What `world` and `another_world` copy; a room may begin elsewhere."""
    return aligned_world


@pytest.fixture
def another_world(start_world: Path, tmp_path: Path) -> "Callable[[str], ArtifactPaths]":
    """A fresh artifacts directory of this name."""
    return lambda name: copy_world(start_world, tmp_path / name)


@pytest.fixture
def world(another_world: "Callable[[str], ArtifactPaths]") -> "ArtifactPaths":
    """A fresh artifacts directory."""
    return another_world("artifacts")
