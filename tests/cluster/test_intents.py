"""A submission that is killed, interrupted or on a full disk between sbatch and the record leaves no job unknown.

A stand-in for Slurm: sbatch writes the job's comment into a file, squeue and scontrol read it there.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.cluster import intents, sending
from ivr.cluster.records import read_jobs

SBATCH = """#!/bin/bash
[ ! -e "$FAKE/refuse" ] || { echo "sbatch: error: invalid partition" >&2; exit 1; }
[ ! -e "$FAKE/die" ] || kill -9 $PPID
script="${@: -1}"
[ -e "$FAKE/not-taken" ] || sed -n 's/^#SBATCH --comment=/41|/p' "$script" >> "$FAKE/queue"
env > "$FAKE/environment"
[ ! -e "$FAKE/die-after" ] || kill -9 $PPID
[ ! -e "$FAKE/interrupt" ] || kill -INT $PPID
[ ! -e "$FAKE/mumble" ] || { echo "the site's wrapper says hello"; exit 0; }
echo "Submitted batch job 41"
"""
SQUEUE = '#!/bin/bash\ncat "$FAKE/queue" 2>/dev/null || true\n'
SCONTROL = """#!/bin/bash
sed -n 's/^41|\\(.*\\)/JobId=41 JobState=PENDING Reason=Priority ExitCode=0:0 Comment=\\1/p' "$FAKE/queue"
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "fake"
    folder.mkdir()
    programs = {"sbatch": SBATCH, "squeue": SQUEUE, "scontrol": SCONTROL, "sacct": "#!/bin/bash\nexit 1\n"}
    for name, text in (programs | {"srun": "#!/bin/bash\n"}).items():
        program = folder / name
        program.write_text(text)
        program.chmod(0o755)
    (tmp_path / "site.toml").write_text('partition = "low"\n')
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(folder))
    return folder


@pytest.fixture
def send(fake: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`ivr submit align --detach` in a process of its own."""

    def call(**environment: str) -> subprocess.CompletedProcess[str]:
        words = ["submit", "align", "--profile", str(tmp_path / "site.toml"), "--detach"]
        words += ["--artifacts-dir", str(tmp_path / "run")]
        command = [sys.executable, "-m", "ivr", *words]
        return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)

    return call


def rows(tmp_path: Path) -> list[tuple[str, str]]:
    return [(row.job_id, row.state) for row in read_jobs(ArtifactPaths(tmp_path / "run"), "align")]


def status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[dict]:
    assert main(["status", "--json", "--artifacts-dir", str(tmp_path / "run")]) == 0
    table = json.loads(capsys.readouterr().out)
    return next(row["jobs"] for row in table if row["stage"] == "align")


def test_a_submission_is_recorded(send: Callable, tmp_path: Path) -> None:
    done = send()
    assert (done.returncode, done.stdout) == (0, "41\n"), done.stderr
    assert rows(tmp_path) == [("41", "PENDING")]
    (row,) = read_jobs(ArtifactPaths(tmp_path / "run"), "align")
    assert row.log.endswith("/41_0_log.out")


def test_killed_after_sbatch_the_job_is_found_by_its_comment(
    send: Callable, fake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fake / "die-after").touch()
    assert send().returncode == -signal.SIGKILL
    assert rows(tmp_path) == [("?", "SUBMITTING")]
    (job,) = status(tmp_path, capsys)
    assert (job["job_id"], job["state"]) == ("41", "PENDING") and "/41_0_log.out" in job["log"]
    assert rows(tmp_path) == [("41", "PENDING")], "and written down"
    (fake / "die-after").unlink()
    again = send()
    assert again.returncode == 75 and "submitted for" in again.stderr and "scancel 41" in again.stderr


def test_killed_before_sbatch_there_is_none(
    send: Callable, fake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (fake / "die").touch()
    (fake / "not-taken").touch()
    send()
    again = send()
    assert again.returncode == 75 and "killed while it was" in again.stderr
    monkeypatch.setattr(intents, "GRACE_SECONDS", -1.0)
    (job,) = status(tmp_path, capsys)
    assert (job["state"], job["reason"]) == ("LOST", "never reached Slurm")
    (fake / "die").unlink()
    (fake / "not-taken").unlink()
    assert send().returncode == 0
    assert [state for _, state in rows(tmp_path)] == ["LOST", "PENDING"]


def test_ctrl_c_during_sbatch_comes_when_the_job_is_written_down(send: Callable, fake: Path, tmp_path: Path) -> None:
    (fake / "interrupt").touch()
    assert send().returncode == 130
    assert rows(tmp_path) == [("41", "PENDING")]


def test_a_refusal_leaves_nothing(send: Callable, fake: Path, tmp_path: Path) -> None:
    (fake / "refuse").touch()
    done = send()
    assert done.returncode == 5 and "invalid partition" in done.stderr
    assert not (tmp_path / "run" / "manifests" / "align.jobs.json").exists()
    assert rows(tmp_path) == [] and [path.name for path in (tmp_path / "run" / "jobs").iterdir()] == [".lock"]


def test_an_answer_that_nobody_can_read_is_not_a_lost_job(send: Callable, fake: Path, tmp_path: Path) -> None:
    (fake / "mumble").touch()
    done = send()
    assert (done.returncode, done.stdout) == (0, "41\n"), done.stderr
    assert rows(tmp_path) == [("41", "PENDING")]


def test_a_full_disk_after_sbatch(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ivr.cluster import records

    write = records.write_sealed

    def full(path: Path, value: dict[str, object]) -> None:
        if (fake / "queue").exists():
            raise OSError(28, "No space left on device", str(path))
        write(path, value)

    monkeypatch.setattr(records, "write_sealed", full)
    words = ["submit", "align", "--profile", str(tmp_path / "site.toml"), "--detach"]
    assert main([*words, "--artifacts-dir", str(tmp_path / "run")]) == 0
    assert "cannot be written down" in capsys.readouterr().err
    assert rows(tmp_path) == [("?", "SUBMITTING")]
    monkeypatch.undo()
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(fake))
    assert status(tmp_path, capsys)[0]["job_id"] == "41"


def test_a_full_disk_before_sbatch_submits_nothing(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "align.jobs.json")

    monkeypatch.setattr(sending, "add_jobs", full)
    words = ["submit", "align", "--profile", str(tmp_path / "site.toml"), "--detach"]
    assert main([*words, "--artifacts-dir", str(tmp_path / "run")]) == 73
    assert "align.jobs.json: No space left on device" in capsys.readouterr().err
    assert not (fake / "queue").exists()


def test_the_tasks_of_an_array_are_all_found(tmp_path: Path, fake: Path) -> None:
    from test_states import job

    waiting = [
        job("?_0", state="SUBMITTING", log="f/?_0_0_log.out"),
        job("?_1", state="SUBMITTING", log="f/?_1_0_log.out"),
    ]
    (fake / "queue").write_text(f"41|{Path(waiting[0].folder).name}\n")
    found = intents.settled(waiting, tmp_path)
    assert [(row.job_id, row.log) for row in found] == [("41_0", "f/41_0_0_log.out"), ("41_1", "f/41_1_0_log.out")]


def test_what_sbatch_sees_is_not_the_allocation_one_submits_from(send: Callable, fake: Path) -> None:
    from test_environment import ALLOCATION

    done = send(**ALLOCATION, SLURM_CONF="/etc/here.conf", SBATCH_PARTITION="old")
    assert done.returncode == 0, done.stderr
    assert "inside job 17" in done.stderr
    seen = dict(line.partition("=")[::2] for line in (fake / "environment").read_text().splitlines() if "=" in line)
    assert not set(seen) & (set(ALLOCATION) | {"SBATCH_PARTITION"}) and seen["SLURM_CONF"] == "/etc/here.conf"
