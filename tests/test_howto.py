"""The changes that ivr/HOWTO.md shows are short, apply to the package as it is, and do what they say."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from documents import ROOT, blocks

from ivr.artifacts import ArtifactPaths

MOST_LINES = 40
DIFFS = [block.code for block in blocks((ROOT / "ivr" / "HOWTO.md").read_text(encoding="utf-8"))]
COMMAND_LINE = "import sys; sys.path.insert(0, sys.argv.pop(1)); from ivr.cli import main; sys.exit(main(sys.argv[1:]))"
LAZY = """
import json, sys
sys.path.insert(0, sys.argv[1])
from tokenizers import Regex, Tokenizer, models
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from ivr.analysis.pretokens import PretokenSplitter
for pattern in ("l+?|[^l]", "l*?e|[^e]", "l??l|[^l]+", "(?:le)+?l|[^x]"):
    tokenizer = Tokenizer(models.BPE())
    bytes_only = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = Sequence([Split(Regex(pattern), "isolated"), bytes_only])
    splitter = PretokenSplitter(tokenizer)
    assert splitter.is_compiled, pattern
    for text in ("hello", "llle lle", "l", "e", "xlle\\nl"):
        by_library = [piece for piece, _ in Split(Regex(pattern), "isolated").pre_tokenize_str(text)]
        assert splitter(text) == by_library, (pattern, text, splitter(text), by_library)
"""


def apply(diff: str, root: Path) -> None:
    """Apply a diff whose places are known by their lines alone, each of which is there once."""
    for part in re.split(r"^(?=--- )", diff, flags=re.MULTILINE)[1:]:
        header, *hunks = re.split(r"^@@\n", part, flags=re.MULTILINE)
        before, after = re.findall(r"^(?:---|\+\+\+) (\S+)$", header, re.MULTILINE)
        path = root / after.removeprefix("b/")
        assert before in ("/dev/null", f"a/{after.removeprefix('b/')}") and path.exists() == (before != "/dev/null")
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for hunk in hunks:
            lines = [(line[:1], line[1:]) for line in hunk.splitlines(keepends=True)]
            assert {sign for sign, _ in lines} <= {" ", "+", "-", "\n"}
            old, new = ("".join(line or "\n" for sign, line in lines if sign != left_out) for left_out in "+-")
            assert not old or text.count(old) == 1, f"{path}: these lines are not there once:\n{old}"
            text = text.replace(old, new) if old else new
        path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and the profiles with all changes made."""
    root = tmp_path_factory.mktemp("howto")
    shutil.copytree(ROOT / "ivr", root / "ivr", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "slurm" / "profiles", root / "slurm" / "profiles")
    for diff in DIFFS:
        apply(diff, root)
    return root


@pytest.fixture
def start_world(built_world: Path) -> Path:
    return built_world


def python(tree: Path, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program on the changed package; nothing is compiled, for a copy would be compiled anew."""
    return subprocess.run(
        [sys.executable, "-I", "-c", program, tree, *map(str, arguments)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_each_change_is_short() -> None:
    assert len(DIFFS) == 4
    for diff in DIFFS:
        changed = [line for line in diff.splitlines() if line[:1] in "+-" and line[:4] not in ("--- ", "+++ ")]
        assert 0 < len(changed) < MOST_LINES, diff


def test_a_line_that_is_no_longer_there_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\ntwo\n")
    apply("--- a/a\n+++ b/a\n@@\n one\n-two\n+three\n", tmp_path)
    assert (tmp_path / "a").read_text() == "one\nthree\n"
    with pytest.raises(AssertionError, match="not there once"):
        apply("--- a/a\n+++ b/a\n@@\n-two\n", tmp_path)


@pytest.mark.slow
def test_the_initialiser_makes_rows(tree: Path, another_world: Callable[[str], ArtifactPaths]) -> None:
    import torch

    paths = another_world("run")
    words = ["align", "--init-strategy", "median", "--heldout-bytes", "0", "--artifacts-dir", paths.root]
    done = python(tree, COMMAND_LINE, *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(paths.manifest("align").read_text())["results"]["strategy"] == "median"
    final_VD = torch.load(paths.embeddings / "final_wte.pt", weights_only=True)
    aligned_VD = torch.load(paths.embeddings / "aligned_wte.pt", weights_only=True)
    new = [row for row in range(len(final_VD)) if not torch.equal(final_VD[row], aligned_VD[row])]
    assert new and all(torch.equal(final_VD[row], final_VD[new[0]]) for row in new)
    helped = python(tree, COMMAND_LINE, "align", "--help").stdout
    assert "median of all kept rows, dimension by dimension" in helped


@pytest.mark.slow
def test_the_pattern_is_split_as_the_library_splits_it(tree: Path) -> None:
    done = python(tree, LAZY)
    assert done.returncode == 0, done.stderr
    unchanged = python(ROOT, LAZY)
    assert unchanged.returncode == 1 and "AssertionError: l+?|[^l]" in unchanged.stderr


def test_the_stage_runs_once_and_has_its_help(tree: Path, another_world: Callable[[str], ArtifactPaths]) -> None:
    paths = another_world("run")
    words = ["lengths", "--characters", "20", "--artifacts-dir", paths.root]
    done = python(tree, COMMAND_LINE, *words)
    assert done.returncode == 0, done.stderr
    written = json.loads((paths.reports / "lengths.json").read_text())
    assert written["documents"] >= written["long"] > 0
    made = paths.manifest("lengths").read_text()
    assert python(tree, COMMAND_LINE, *words).returncode == 0
    assert paths.manifest("lengths").read_text() == made, "it is current"
    refused = python(tree, COMMAND_LINE, "lengths", "--characters", "0")
    assert refused.returncode == 2 and "--characters 0: must be" in refused.stderr


def test_the_profile_asks_for_its_gpus(tree: Path, tmp_path: Path) -> None:
    profile = tree / "slurm" / "profiles" / "four-gpus.toml"
    words = ["submit", "train", "--profile", profile, "--dry-run", "--artifacts-dir", tmp_path / "run"]
    done = python(tree, COMMAND_LINE, *words)
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --gres=gpu:l40s:4\n" in done.stdout and "module load python/3.12" in done.stdout
