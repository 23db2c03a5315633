"""`ivr doctor`: every check says what it saw, and what mends it; none changes anything."""

import fcntl
import json
from pathlib import Path

import pytest

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.commands import checks, doctor
from ivr.commands.checks import BROKEN, GOOD, NOTE, Check


@pytest.mark.slow
def test_every_check_answers_and_a_fault_has_its_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_unreachable", lambda url: "no network")
    found = checks.all_checks(ArtifactPaths(tmp_path / "run"))
    assert len({check.name for check in found}) == len(found) > 10
    for check in found:
        assert check.state in (GOOD, NOTE, BROKEN) and check.found
        assert check.mend or check.state == GOOD, check
    assert list(tmp_path.iterdir()) == []


def test_a_broken_thing_ends_with_2_and_json_lists_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = [Check("disk", GOOD, "much"), Check("PyTorch", BROKEN, "does not load", "`make setup` installs it anew")]
    monkeypatch.setattr(checks, "all_checks", lambda paths: listed)
    assert main(["doctor"]) == 2
    said = capsys.readouterr()
    assert "-> `make setup` installs it anew" in said.out and "PyTorch: `make setup`" in said.err
    assert main(["doctor", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)[1]["state"] == BROKEN
    assert doctor.EPILOG


def test_a_lock_that_is_held_is_seen(tmp_path: Path) -> None:
    paths = ArtifactPaths(tmp_path)
    assert checks.locks(paths).state == GOOD
    with paths.lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert "a process works in" in checks.locks(paths).found
    assert checks.locks(paths).state == GOOD


def test_variables_of_the_shell_are_named() -> None:
    assert checks.shell_variables("", {"HOME": "/me"}).state == GOOD
    assert "PYTHONPATH, PYTHONSTARTUP" in checks.shell_variables("PYTHONPATH", {"PYTHONSTARTUP": "x"}).found


def test_little_disk_and_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert checks.disk("disk", tmp_path / "a" / "b", least=1).state == GOOD
    assert checks.disk("disk", tmp_path, least=10**18).state == NOTE


@pytest.mark.parametrize(("offline", "state"), [(True, NOTE), (False, GOOD)])
def test_the_hub_or_its_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline: bool, state: str) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(checks, "_unreachable", lambda url: "")
    assert checks.hub().state == state
    (tmp_path / "models--openai-community--gpt2").mkdir()
    found = checks.hub()
    assert found.state == GOOD and "openai-community/gpt2" in found.found


def test_packages_that_are_missing_or_old_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=99", "no-such-package-of-ours>=1", 'other>=1; python_version < "3"']
    monkeypatch.setattr(checks.importlib.metadata, "requires", lambda name: wanted)
    found = checks.packages()
    assert found.state == BROKEN and "numpy is " in found.found and "no-such-package-of-ours is missing" in found.found
    assert "other" not in found.found
