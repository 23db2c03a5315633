"""How jobs stand, read from what Slurm 22.05 really printed; and the table that shows it. No Slurm is needed."""

import dataclasses
import json
import os
import time
from pathlib import Path

import pytest

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.cluster import watch
from ivr.cluster.folder import SharedFolder
from ivr.cluster.records import Job, add_jobs, read_jobs, update_jobs
from ivr.cluster.states import look_up, parse_sacct, parse_scontrol
from ivr.cluster.watch import describe_failure, last_lines, summary, wait_until_stopped
from ivr.errors import ClusterError, CorruptInputError

FOLDER = "jobs/train-20261122-182029-c1a69d"
RUNNING = (
    "JobId=17 JobName=ivr-train UserId=root(0) GroupId=root(0) Priority=4294901758 Account=(null) QOS=(null) "
    "JobState=RUNNING Reason=None Dependency=(null) Requeue=1 Restarts=2 BatchFlag=1 Reboot=0 ExitCode=0:0 "
    "ReqNodeList=(null) ExcNodeList=(null) NodeList=n[1-2] BatchHost=n1 Comment=train-20261122-182029-c1a69d"
)
ARRAY = """\
JobId=21 ArrayJobId=21 ArrayTaskId=2-3%4 JobName=ivr-analyze JobState=PENDING Reason=Resources ExitCode=0:0 NodeList=(null) Comment=c
JobId=23 ArrayJobId=21 ArrayTaskId=1 JobName=ivr-analyze JobState=FAILED Reason=NonZeroExitCode ExitCode=3:0 NodeList=n2 Comment=c
JobId=22 ArrayJobId=21 ArrayTaskId=0 JobName=ivr-analyze JobState=COMPLETED Reason=None ExitCode=0:0 NodeList=n1 Comment=c
"""  # noqa: E501
SCONTROL = """#!/bin/bash
if [ -e "$ANSWERS/$4" ]; then
  cat "$ANSWERS/$4"
  if [ -e "$ANSWERS/$4.next" ]; then mv "$ANSWERS/$4.next" "$ANSWERS/$4"; fi
  exit
fi
echo "slurm_load_jobs error: ${ERROR:-Invalid job id specified}" >&2; exit 1
"""
SACCT = '#!/bin/bash\n[ -e "$ANSWERS/sacct" ] && exec cat "$ANSWERS/sacct"; exit 1\n'


def job(job_id: str = "17", **facts: object) -> Job:
    log = f"{FOLDER}/{job_id}_0_log.out"
    row = Job(job_id, "train", "ivr train", "site", FOLDER, log, "2026-11-22T18:20:29Z")
    return dataclasses.replace(row, **facts)  # type: ignore[arg-type]


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what `scontrol show job ID` and `sacct` answer: ID once, then ID.next."""
    folder = tmp_path / "answers"
    for name, text in (("scontrol", SCONTROL), ("sacct", SACCT)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("ANSWERS", str(folder))
    return folder


def test_a_running_job_of_two_nodes() -> None:
    seen = parse_scontrol(RUNNING, Path(FOLDER).name)["17"]
    assert (seen.state, seen.node, seen.restarts, seen.exit_code) == ("RUNNING", "n[1-2]", 2, 0)


def test_a_job_of_a_wiped_cluster_with_the_same_number_is_not_ours() -> None:
    assert parse_scontrol(RUNNING, "train-of-another-day") == {}


def test_the_tasks_of_an_array() -> None:
    seen = parse_scontrol(ARRAY, "c")
    assert {name: row.state for name, row in seen.items()} == {
        "21_0": "COMPLETED",
        "21_1": "FAILED",
        "21_2": "PENDING",
        "21_3": "PENDING",
    }
    assert seen["21_1"].exit_code == 3 and seen["21_2"].node == ""


def test_what_the_accounting_says() -> None:
    seen = parse_sacct("17|CANCELLED by 0|0:15|n1\n18|COMPLETED|0:0|n2\n19_[2-3]|PENDING|0:0|None assigned\n")
    assert {name: (row.state, row.exit_code, row.node) for name, row in seen.items()} == {
        "17": ("CANCELLED", 143, "n1"),
        "18": ("COMPLETED", 0, "n2"),
    }


def test_slurm_first_then_the_accounting_then_the_exit_code(answers: Path, tmp_path: Path) -> None:
    (answers / "17").write_text(RUNNING)
    assert look_up([job()], tmp_path)[0].state == "RUNNING"
    (answers / "17").unlink()
    (answers / "sacct").write_text("17|TIMEOUT|0:15|n1\n")
    assert look_up([job()], tmp_path)[0].state == "TIMEOUT"
    (answers / "sacct").unlink()
    assert look_up([job()], tmp_path)[0].state == "LOST"
    left = tmp_path / FOLDER / "17.exit"
    left.parent.mkdir(parents=True)
    left.write_text("4\n")
    found = look_up([job()], tmp_path)[0]
    assert (found.state, found.exit_code) == ("FAILED", 4)
    assert look_up([found], Path("nowhere")) == [found], "an end is final"


def test_no_answer_is_no_end(answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERROR", "Unable to contact slurm controller (connect failure)")
    with pytest.raises(ClusterError, match="Unable to contact slurm controller"):
        look_up([job()], tmp_path)


def test_rows_are_kept_beside_the_manifest(tmp_path: Path) -> None:
    paths = ArtifactPaths(tmp_path)
    assert read_jobs(paths, "train") == []
    add_jobs(paths, [job("17")])
    add_jobs(paths, [job("18", after=("17",))])
    update_jobs(paths, [job("17", state="FAILED", exit_code=3)])
    assert [(row.job_id, row.state, row.after) for row in read_jobs(paths, "train")] == [
        ("17", "FAILED", ()),
        ("18", "PENDING", ("17",)),
    ]
    (tmp_path / "manifests" / "train.jobs.json").write_text("[3]")
    with pytest.raises(CorruptInputError, match=r"train\.jobs\.json: .*delete it to forget these jobs"):
        read_jobs(paths, "train")


def test_the_end_of_a_job_that_was_stopped_is_waited_for_and_written_down(
    answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slurm knows that the first failed some time before it cancels what waits for it."""
    monkeypatch.setattr(watch, "FIRST_PAUSE_SECONDS", 0.01)
    paths = ArtifactPaths(tmp_path / "artifacts")
    add_jobs(paths, [dataclasses.replace(job("16"), stage="align"), dataclasses.replace(job("15"), stage="analyze")])
    add_jobs(paths, [job("17", after=("16",))])
    for number, state, afterwards in (("15", "RUNNING", ""), ("16", "FAILED", ""), ("17", "PENDING", "CANCELLED")):
        now = RUNNING.replace("JobId=17", f"JobId={number}").replace("NodeList=n[1-2]", "NodeList=(null)")
        (answers / number).write_text(now.replace("RUNNING", state))
        if afterwards:
            (answers / f"{number}.next").write_text(now.replace("RUNNING", afterwards))
    attach = ["submit", "--attach", "17", "--artifacts-dir", str(paths.root)]
    assert main(attach) == 5
    said = capsys.readouterr().err
    assert "job 16 (`ivr align`) ended as FAILED" in said and "waited for it: 17 (`ivr train`): never started" in said
    assert read_jobs(paths, "train")[0].state == "CANCELLED"


def test_a_job_that_slurm_does_not_cancel_is_not_waited_for_without_end(answers: Path, tmp_path: Path) -> None:
    paths = ArtifactPaths(tmp_path / "artifacts")
    (answers / "17").write_text(RUNNING.replace("RUNNING", "PENDING"))
    (answers / "18").write_text(RUNNING.replace("RUNNING", "CANCELLED").replace("JobId=17", "JobId=18"))
    add_jobs(paths, [job("17"), job("18")])
    ended, left = wait_until_stopped([job("17"), job("18")], paths, seconds=0)
    assert [row.job_id for row in ended] == ["18"] and [row.job_id for row in left] == ["17"]
    assert [row.state for row in read_jobs(paths, "train")] == ["PENDING", "CANCELLED"]


def test_status_shows_stages_and_jobs_in_one_table(
    answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ArtifactPaths(tmp_path / "artifacts")
    (answers / "17").write_text(RUNNING)
    (answers / "16").write_text(
        RUNNING.replace("JobId=17", "JobId=16").replace("RUNNING", "FAILED").replace("0:0", "3:0")
    )
    add_jobs(paths, [job("17")])
    add_jobs(paths, [dataclasses.replace(job("16"), stage="align")])
    log = paths.root / FOLDER / "16_0_log.out"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert main(["status", "--artifacts-dir", str(paths.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    train = next(line for line in lines if line.startswith("train"))
    assert train.split() == ["train", "missing", "17", "RUNNING", "on", "n[1-2]", "3"]
    align = next(line for line in lines if line.startswith("align"))
    assert align.split() == ["align", "missing", "16", "FAILED", "3", "3"]
    assert "job 16 (`ivr align`) ended as FAILED, exit code 3" in "\n".join(lines)
    assert lines[-1] == "  line 99" and "  line 79" not in lines
    assert read_jobs(paths, "align")[0].state == "FAILED", "an end is written down"
    assert main(["status", "--json", "--artifacts-dir", str(paths.root)]) == 0
    rows = {row["stage"]: row["jobs"] for row in json.loads(capsys.readouterr().out)}
    assert rows["train"][0]["restarts"] == 2 and rows["align"][0]["exit_code"] == 3 and rows["init"] == []


def test_status_where_slurm_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ArtifactPaths(tmp_path / "artifacts")
    add_jobs(paths, [job(state="RUNNING", node="n1")])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["status", "--artifacts-dir", str(paths.root)]) == 0
    said = capsys.readouterr()
    assert "17   RUNNING on n1" in said.out and "seen last: there is no `scontrol` here" in said.err


def test_what_is_said_of_a_job(tmp_path: Path) -> None:
    assert summary([job(state="PENDING", reason="Resources")]) == "job 17 PENDING (Resources)"
    assert summary([job(state="RUNNING", node="n1", restarts=1)]) == "job 17 RUNNING on n1, turn 2"
    tasks = [job(f"21_{n}", state=state) for n, state in enumerate(["RUNNING", "PENDING", "RUNNING"])]
    assert summary(tasks) == "job 21: 1 PENDING, 2 RUNNING"
    assert "raise" not in describe_failure(job(state="FAILED", exit_code=2), tmp_path)
    assert "`memory` in the profile" in describe_failure(job(state="OUT_OF_MEMORY"), tmp_path)
    assert "is that folder there on n1" in describe_failure(job(state="FAILED", node="n1"), tmp_path)
    assert last_lines(tmp_path / "none") == []


def test_leftovers_of_a_killed_stage_go_but_not_a_list_of_jobs_that_is_being_written(tmp_path: Path) -> None:
    from ivr.disk.leftovers import remove_leftovers

    for name in (".train.jobs.json.ivr-12", ".train.json.ivr-12"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".train.jobs.json.ivr-12"]


def test_a_folder_that_refuses_answers_and_one_that_hangs_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SharedFolder(tmp_path).answers(30) and list(tmp_path.iterdir()) == []
    assert SharedFolder(tmp_path / "nowhere").answers(30), "a refusal is an answer"
    hanging = SharedFolder(tmp_path)
    monkeypatch.setattr("ivr.cluster.folder._touch", lambda path: time.sleep(600))
    monkeypatch.setattr("ivr.cluster.folder.PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("ivr.cluster.folder.SECONDS_WITHOUT_FOLDER", 0.2)
    assert not hanging.answers(0.1) and not hanging.answers(0.1), "the same child is asked again"
    with pytest.raises(ClusterError, match="has not answered for 0 s: is its file server up\\? job 17 hangs"):
        hanging.must_answer("job 17 hangs")


def test_status_and_submit_say_so_when_the_folder_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ivr.cluster import status, submit

    monkeypatch.setattr("ivr.cluster.folder._touch", lambda path: time.sleep(600))
    monkeypatch.setattr("ivr.cluster.folder.PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("ivr.cluster.folder.SECONDS_WITHOUT_FOLDER", 0.2)
    with pytest.raises(ClusterError, match="has not answered for 0 s: is its file server up\\? `squeue --me`"):
        status.run(status.Config(artifacts_dir=tmp_path))
    with pytest.raises(ClusterError, match="has not answered for 0 s: is its file server up\\? Nothing was submitted"):
        submit._check_reachable(ArtifactPaths(tmp_path))
    with pytest.raises(ClusterError, match="has not answered for 0 s: is its file server up\\? job 17 hangs"):
        submit.run(submit.Config(artifacts_dir=tmp_path, attach="17"))
