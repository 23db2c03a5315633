"""Fixtures for real data: the GPT-2 tokenizer files and the corpora, where this machine has them."""

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parent.parent


def _real_data(variable: str, name: str) -> Path:
    return Path(os.environ.get(variable) or ROOT.parent / "shared" / name)


GPT2_DIR = _real_data("GPT2_DIR", "gpt2")
CORPORA_DIR = _real_data("CORPORA_DIR", "corpora")


# a shell starts what runs behind it (`pytest &`) with Ctrl-C ignored; processes that tests start would inherit that
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for mark, path, variable in (
        ("needs_gpt2", GPT2_DIR, "GPT2_DIR"),
        ("needs_corpora", CORPORA_DIR, "CORPORA_DIR"),
    ):
        if not path.is_dir():
            reason = f"{variable} is not set and {path} is not there"
            for item in items:
                if item.get_closest_marker(mark):
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


@pytest.fixture(scope="session")
def gpt2_dir() -> Path:
    """A directory with GPT-2's vocab.json and merges.txt; the test must be marked needs_gpt2."""
    return GPT2_DIR


@pytest.fixture(scope="session")
def gpt2(gpt2_dir: Path) -> "Tokenizer":
    """GPT-2's own tokenizer; the test must be marked needs_gpt2."""
    from ivr.corpus.base_tokenizer import build_tokenizer, read_vocab_and_merges

    return build_tokenizer(*read_vocab_and_merges(gpt2_dir, "gpt2"))


@pytest.fixture(scope="session")
def corpora_dir() -> Path:
    """A directory with *.txt.xz corpora; the test must be marked needs_corpora."""
    return CORPORA_DIR
