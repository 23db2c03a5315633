"""The packages that run are those installed here, whatever `module load` has put on the path."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ivr.machine.interpreter import FOREIGN, without_foreign

ROOT = Path(__file__).parents[2]
SCRIPT = Path(sys.executable).with_name("ivr")


@pytest.fixture
def poisoned(tmp_path: Path) -> dict[str, str]:
    """An environment after `module load`: another torch, and modules that this program needs to start at all."""
    for name in ("torch", "argparse", "numpy", "logging"):
        folder = tmp_path / "apps" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(f"raise RuntimeError('the {name} of another Python')\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path / "apps")}


COMMANDS = [[sys.executable, "-m", "ivr"], [str(SCRIPT)]]


@pytest.mark.parametrize("command", COMMANDS, ids=["module", "script"])
def test_the_command_runs_under_a_poisoned_path(command: list[str], poisoned: dict[str, str], tmp_path: Path) -> None:
    if not Path(command[0]).exists():
        pytest.skip(f"there is no {command[0]}")
    words = [*command, "status", "--artifacts-dir", str(tmp_path)]
    done = subprocess.run(words, env=poisoned, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stage")


@pytest.mark.slow
def test_a_rank_and_its_children_see_no_foreign_path(poisoned: dict[str, str], tmp_path: Path) -> None:
    """What this process starts must be clean, too: pools, ranks of --processes."""
    script = (
        "import sys\n"
        "from ivr.machine.interpreter import keep_to_own_packages\n"
        "keep_to_own_packages([sys.executable, sys.argv[1]])\n"
    )
    child = tmp_path / "child.py"
    child.write_text(
        "import os, subprocess, sys\n"
        "print(os.environ.get('PYTHONPATH'), os.environ['IVR_LEFT_OUT'], flush=True)\n"
        "subprocess.run([sys.executable, '-c', 'import torch.version as v; print(v.__file__)'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, child], env=poisoned, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    own, torch = done.stdout.splitlines()
    assert own == "None PYTHONPATH" and "apps" not in torch


def test_assertions_cannot_be_switched_off_from_outside(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from ivr.machine.interpreter import keep_to_own_packages\n"
        "keep_to_own_packages([sys.executable, '-c', 'import sys; print(sys.flags.optimize)'])\n"
        "print(sys.flags.optimize)"
    )
    environment = {**os.environ, "PYTHONOPTIMIZE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout == "0\n", done.stderr


def test_isolated_python_is_not_started_again_and_keeps_its_children_clean(poisoned: dict[str, str]) -> None:
    """A job of a cluster: `python -I`."""
    script = (
        "import os\nfrom ivr.machine.interpreter import keep_to_own_packages\n"
        "keep_to_own_packages(['/bin/false'])\nprint(sorted(set(os.environ) & {'PYTHONPATH'}))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], env=poisoned, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_the_entry_that_holds_this_package_stays() -> None:
    path = os.pathsep.join(["/apps/torch", "/me/checkout"])
    assert without_foreign({"PYTHONPATH": path}, "/me/checkout") == {"PYTHONPATH": "/me/checkout"}
    assert without_foreign({"PYTHONPATH": path}, "/venv/lib") == {}
    assert without_foreign(dict.fromkeys(FOREIGN, "x") | {"PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here (the image has none)")
def test_make_hands_no_foreign_path_on(poisoned: dict[str, str], tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path / "Makefile")
    words = ["make", "--no-print-directory", "SETUP=", "IVR=env", "status"]
    environment = poisoned | {"PYTHONHOME": "/apps/python"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "PYTHONPATH" not in done.stdout and "PYTHONHOME" not in done.stdout


def test_the_installed_script_does_not_read_the_environment() -> None:
    """PYTHONHOME of another Python would end it before its first line."""
    if not SCRIPT.exists():
        pytest.skip(f"there is no {SCRIPT}")
    first = SCRIPT.read_text().partition("\n")[0]
    if not first.endswith(" -I"):
        pytest.skip("installed by hand: `make setup` and the image make it `python -I`")
    environment = {**os.environ, "PYTHONHOME": "/nowhere"}
    done = subprocess.run([SCRIPT, "--version"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_number_of_threads_that_numba_refuses_does_not_reach_it() -> None:
    script = (
        "from ivr.machine.interpreter import keep_to_own_packages\n"
        "keep_to_own_packages([])\n"
        "from ivr.encoding.compiler import compiled\n"
    )
    odd = {**os.environ, "NUMBA_NUM_THREADS": "0", "NUMBA_THREADING_LAYER": "nonsense"}
    done = subprocess.run([sys.executable, "-c", script], env=odd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
