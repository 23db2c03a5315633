"""Compiled code is that of the sources as they are, wherever a change is."""

import ast
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ivr
from ivr.encoding.code_cache import DAY, IMPORT, MARKER, STALE_DAYS, cache_directory, digest, read_sources, remove_stale

PACKAGE = Path(ivr.__file__).parent
CALLEE = "from ivr.encoding.compiler import compiled\n\n\n@compiled\ndef step(x):\n    return x + {}\n"
CALLER = """
from ivr.constants import FACTOR
from ivr.encoding.callee import step
from ivr.encoding.compiler import compiled


@compiled
def run(x):
    return FACTOR * step(x)


if __name__ == "__main__":
    print(run(0))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package `ivr` with two compiled modules, one of which calls the other, and a constant in a third."""
    folder = tmp_path / "src" / "ivr"
    (folder / "encoding").mkdir(parents=True)
    for name in ("__init__.py", "encoding/__init__.py"):
        (folder / name).touch()
    for name in ("encoding/compiler.py", "encoding/code_cache.py"):
        shutil.copy(PACKAGE / name, folder / name)
    (folder / "constants.py").write_text("FACTOR = 10\n")
    (folder / "encoding" / "callee.py").write_text(CALLEE.format(1))
    (folder / "encoding" / "caller.py").write_text(CALLER)
    (folder / "other.py").write_text("VALUE = 1\n")
    return folder


def run(package: Path) -> int:
    """What the caller gives in a fresh process."""
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    environment |= {"PYTHONPATH": str(package.parent), "XDG_CACHE_HOME": str(package.parent.parent / "cache")}
    command = [sys.executable, "-m", "ivr.encoding.caller"]
    done = subprocess.run(command, env=environment, cwd=package.parent, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.slow
def test_a_changed_callee_or_constant_changes_what_the_caller_gives(package: Path) -> None:
    assert run(package) == 10
    (package / "encoding" / "callee.py").write_text(CALLEE.format(2))
    assert run(package) == 20
    (package / "constants.py").write_text("FACTOR = 7\n")
    assert run(package) == 14
    caches = [*(package.parent.parent / "cache" / "gpt2-ivr" / "numba").iterdir()]
    assert len(caches) == 3 and all([*cache.rglob("*.nbi")] for cache in caches)


def test_only_what_is_compiled_and_what_it_imports_counts(package: Path) -> None:
    sources = read_sources(package)
    assert {"ivr.constants", "ivr.encoding.callee", "ivr.encoding.caller"} <= set(sources)
    assert "ivr.other" not in sources
    before = digest(sources)
    (package / "other.py").write_text("VALUE = 2\n")
    assert digest(read_sources(package)) == before
    (package / "constants.py").write_text("FACTOR = 11\n")
    assert digest(read_sources(package)) != before


def test_the_imports_that_count_are_those_that_python_carries_out() -> None:
    """Read by a pattern, for it is done at every start; here by Python's parser, in `try` and `if`, over lines."""
    modules = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    names = {"ivr." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in modules}
    for path, source in modules.items():
        carried_out, waiting = set(), [*ast.parse(source).body]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Import):
                carried_out |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                carried_out |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Try | ast.With) or (
                isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test)
            ):
                waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        seen = set()
        for match in IMPORT.finditer(source.encode()):
            module, parts = match[1].decode(), (match[2] or b"").decode().split(",")
            seen |= {module, *(f"{module}.{part.strip()}" for part in parts)}
        assert carried_out & names == seen & names, path


def test_every_compiled_module_of_this_package_counts() -> None:
    compiling = {path for path in PACKAGE.rglob("*.py") if "@compiled" in path.read_text(encoding="utf-8")}
    names = {"ivr." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in compiling}
    sources = set(read_sources(PACKAGE))
    assert len(names) > 10 and names <= sources
    assert "ivr.tokenizer.unigram_file" in sources, "a constant of it is compiled into the recount"
    assert not any(name.startswith("ivr.training") for name in sources)


def test_a_process_that_this_one_starts_uses_the_same(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "shared"))
    mine = cache_directory(package)
    assert mine is not None and mine.parent == tmp_path / "shared"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(mine))
    assert cache_directory(package) == mine


def test_a_directory_of_another_user_is_left_alone(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "shared"))
    theirs = cache_directory(package)
    assert theirs is not None
    monkeypatch.setattr(os, "getuid", lambda: theirs.stat().st_uid + 1)
    assert cache_directory(package) is None, "this user owns neither it nor what the test makes beside it"


def test_no_cache_where_nothing_can_be_written(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    assert cache_directory(package) is None


def test_only_own_directories_that_nobody_used_for_long_are_removed(tmp_path: Path) -> None:
    long_ago = time.time() - (STALE_DAYS + 1) * DAY
    places = {
        name: tmp_path / name for name in ("ivr-" + "0" * 16, "ivr-" + "1" * 16, "ivr-" + "2" * 16, "encoding_12")
    }
    for name, place in places.items():
        place.mkdir()
        (place / "x.nbi").touch()
        if name != "ivr-" + "2" * 16:  # that one was not made here
            (place / MARKER).touch()
            if name != "ivr-" + "1" * 16:
                os.utime(place / MARKER, (long_ago, long_ago))
    remove_stale(tmp_path, keep=tmp_path / "new")
    assert [place.exists() for place in places.values()] == [False, True, True, True]
    os.utime(places["ivr-" + "1" * 16] / MARKER, (long_ago, long_ago))
    remove_stale(tmp_path, keep=places["ivr-" + "1" * 16])
    assert places["ivr-" + "1" * 16].exists(), "the one in use"
