"""`ivr submit` on a real Slurm: a queued pipeline, and every way a job can fail to run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import tiny_model
from slurm_site import ROOT, TRAINING, Site, ran_to_step, until
from small_bpe import vocabulary
from tiny_run import TinyRun, domain_documents, learnt_merges

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.cluster.records import read_jobs
from ivr.manifest import PIPELINE
from ivr.training.checkpoints import newest_whole

pytestmark = [pytest.mark.needs_testbed, pytest.mark.slow]


@pytest.fixture(scope="module")
def _built(tmp_path_factory: pytest.TempPathFactory, site: Site) -> TinyRun:
    run = TinyRun(tmp_path_factory.mktemp("built"))
    general = domain_documents(30, seed=5)
    merges = learnt_merges(general)
    run.write_inputs(merges, domain_documents(), general)
    tiny_model(len(vocabulary(merges))).save_pretrained(run.root / "model")
    site.make("init", *variables(run))
    return run


def variables(run: TinyRun, inputs: Path | None = None) -> list[str]:
    """What make is told of a run, whose inputs may lie beside another one."""
    inputs = inputs or run.root
    settings = {
        "ARTIFACTS": run.paths.root,
        "MODEL": inputs / "model",
        "CORPUS": inputs / "raw-corpora-dir",
        "GENERAL": inputs / "general-corpora-dir",
        "HELDOUT_FRACTION": "0.2",
        "SHARDS": "4",
        "ANALYZE_ARGS": "--threads 1",
        "SWAPS": "10",
        "MAX_STEPS": "3",
        "TRAIN_ARGS": " ".join(word for word in TRAINING if "batch" not in word),
        "EVALUATE_ARGS": "--threads 1",
    }
    return [f"{name}={value}" for name, value in settings.items()]


@pytest.fixture
def started(_built: TinyRun, tmp_path: Path) -> TinyRun:
    """A run after `init`."""
    shutil.copytree(_built.root, tmp_path, dirs_exist_ok=True)
    return TinyRun(tmp_path)


def test_the_whole_pipeline_by_make(site: Site, _built: TinyRun, started: TinyRun) -> None:
    """Queued in one go; then nothing is left to do; then a changed option of a stage that is dispatched."""
    paths, profile = started.paths, f"PROFILE={site.profile()}"
    twin = ArtifactPaths(started.root / "twin")
    shutil.copytree(paths.root, twin.root)
    told = variables(started, inputs=_built.root)
    site.make("queue", profile, *told)
    analysis = read_jobs(paths, "analyze")
    assert [row.job_id.partition("_")[2] for row in analysis] == ["0", "1", "2", "3", ""]
    assert analysis[-1].after == (analysis[0].array_id,)
    assert read_jobs(paths, "report")[0].after, "it waits in Slurm"
    # the array of four makes what one process makes, which counts here in the meantime
    site.ivr("analyze", "--threads", "1", "--artifacts-dir", twin.root)
    site.wait(paths, read_jobs(paths, "report")[0].job_id)
    rows = json.loads(site.ivr("status", "--json", "--artifacts-dir", paths.root).stdout)
    assert {row["stage"]: row["state"] for row in rows} == dict.fromkeys(PIPELINE, "done")
    for row in rows[1:]:
        assert [(job["state"], job["exit_code"]) for job in row["jobs"]] == [("COMPLETED", 0)] * len(row["jobs"])
        assert all((paths.root / job["log"]).is_file() for job in row["jobs"])
    assert len(rows[1]["jobs"]) == 5
    manifest = json.loads(paths.manifest("train").read_text())
    assert manifest["slurm"]["SLURM_JOB_ID"] == rows[PIPELINE.index("train")]["jobs"][0]["job_id"]
    table = site.ivr("status", "--artifacts-dir", paths.root).stdout.splitlines()
    assert table[0].split()[-5:] == ["job", "job", "state", "turns", "exit"]
    assert "COMPLETED" in table[-1]
    assert [path.name for path in sorted(twin.reports.iterdir())]
    for path in twin.reports.iterdir():
        assert (paths.reports / path.name).read_bytes() == path.read_bytes(), path.name

    again = site.make("pipeline", "EXECUTOR=slurm", "DISPATCH=train", profile, *told)
    assert "-m ivr" not in again.stdout and len(read_jobs(paths, "train")) == 1, "nothing was left to do"
    site.make("pipeline", "EXECUTOR=slurm", "DISPATCH=train", profile, *told, "MAX_STEPS=4")
    assert [row.state for row in read_jobs(paths, "train")] == ["COMPLETED", "COMPLETED"]
    manifests = {stage: json.loads(paths.manifest(stage).read_text()) for stage in ("align", "train", "report")}
    assert manifests["train"]["slurm"]["SLURM_JOB_ID"] == read_jobs(paths, "train")[1].job_id
    assert manifests["align"]["slurm"]["SLURM_JOB_ID"], "not run again"
    assert not manifests["report"]["slurm"], "run here, after the job had ended"


def test_a_stage_that_fails_shows_the_end_of_its_log_and_stops_what_waits_for_it(site: Site, started: TinyRun) -> None:
    paths, profile = started.paths, site.profile()
    (paths.original_tokenizer / "tokenizer.json").write_text("{}")
    held = site.slurm("sbatch", "--hold", "-p", "low", "-o", "/dev/null", "--wrap", "true").split()[-1]
    first = site.submit(paths, profile, "analyze", "--after", held)
    second = site.submit(paths, profile, "distill-tokenizer")
    site.slurm("scontrol", "release", held)
    failed = site.wait(paths, first, check=False)
    assert failed.returncode == 5
    assert f"job {first} (`ivr analyze`) ended as FAILED, exit code 3" in failed.stderr
    assert "is not what `ivr init` wrote" in failed.stderr
    stopped = site.wait(paths, second, check=False)
    assert stopped.returncode == 5 and f"job {first} (`ivr analyze`) ended as FAILED" in stopped.stderr
    assert f"waited for it: {second} (`ivr distill-tokenizer`): never started" in stopped.stderr
    # the record as it lies there: whoever waited has seen and written the end of the job that was stopped, too
    assert [row.state for row in read_jobs(paths, "distill-tokenizer")] == ["CANCELLED"]
    said = site.ivr("status", "--artifacts-dir", paths.root).stdout
    assert "is not what `ivr init` wrote" in said and "it never started" in said


def test_ctrl_c_leaves_the_job_and_says_how_to_come_back(site: Site, started: TinyRun) -> None:
    paths = started.paths
    held = site.slurm("sbatch", "--hold", "-p", "low", "-o", "/dev/null", "--wrap", "true").split()[-1]
    command = [sys.executable, "-m", "ivr", "submit", "analyze", "--profile", str(site.profile()), "--after", held]
    with subprocess.Popen(
        [*command, "--artifacts-dir", str(paths.root)],
        cwd=ROOT, env=site.environment, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        while "PENDING" not in (line := process.stderr.readline()):  # it waits
            assert line, "it ended"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=300)
    jobs = paths.root / "manifests" / "analyze.jobs.json"
    job = json.loads(jobs.read_text())["jobs"][0]["job_id"]
    assert process.returncode == 130, said
    assert f"ivr submit --attach {job}" in said and f"scancel {job}" in said
    assert site.field(job, "JobState") == "PENDING"
    site.slurm("scontrol", "release", held)
    site.wait(paths, job)
    assert site.job(paths, "analyze")["state"] == "COMPLETED"


def failure(site: Site, paths: ArtifactPaths, profile: Path, stage: str = "analyze", *options: str) -> str:
    """What a submission that must fail says; it must do so soon."""
    begun = time.monotonic()
    done = site.ivr("submit", stage, *options, "--profile", profile, "--artifacts-dir", paths.root, check=False)
    assert done.returncode != 0
    assert time.monotonic() - begun < 300
    return done.stderr


def test_a_wrong_partition_and_an_account_that_is_not_there(site: Site, started: TinyRun) -> None:
    said = failure(site, started.paths, site.profile(partition="fast"))
    assert "sbatch refused" in said and "invalid partition specified: fast" in said
    assert not (started.paths.root / "manifests" / "analyze.jobs.json").exists()
    assert [path.name for path in (started.paths.root / "jobs").iterdir() if path.is_dir()] == []


def test_a_missing_image_and_a_missing_runtime(site: Site, started: TinyRun, tmp_path: Path) -> None:
    said = failure(site, started.paths, site.profile(runtime="apptainer", image="/nowhere/ivr.sif"))
    assert "there is no image /nowhere/ivr.sif" in said
    image = tmp_path / "image.sif"
    image.touch()
    profile = site.profile(runtime="apptainer", image=str(image), setup=["export PATH=/usr/bin:/bin"])
    said = failure(site, started.paths, profile)
    assert "ended as FAILED" in said and "apptainer" in said and "No such file or directory" in said


def test_a_folder_that_the_node_does_not_see(site: Site, started: TinyRun) -> None:
    paths, jobs = started.paths, started.paths.root / "jobs"
    held = site.slurm("sbatch", "--hold", "-p", "low", "-o", "/dev/null", "--wrap", "true").split()[-1]
    job = site.submit(paths, site.profile(), "analyze", "--after", held)
    jobs.rename(started.root / "unmounted")  # as seen from a node on which the file system is not mounted
    site.slurm("scontrol", "release", held)
    until(300, "ended", lambda: site.field(job, "JobState") in ("FAILED", "COMPLETED", "CANCELLED"))
    said = site.wait(paths, job, check=False)
    assert said.returncode == 5 and "is that folder there on n" in said.stderr
    assert not paths.manifest("analyze").exists()


def system(*command: object) -> str:
    """Run a program of the administrator's; gives what went wrong, nothing when all is well."""
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment)
    except FileNotFoundError:
        return f"{command[0]} is not here"
    return "" if done.returncode == 0 else done.stderr.strip() or f"{command[0]} gave {done.returncode}"


@pytest.fixture
def disk_that_hangs(tmp_path: Path, another_world: Callable[[str], ArtifactPaths]) -> ArtifactPaths:
    """A world on a file system of its own, which can be frozen: whoever writes then waits, deaf to every signal."""
    world, image, folder = another_world("roomy"), tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with image.open("wb") as stream:
        stream.truncate(64 << 20)
    if wrong := system("mkfs.ext4", "-q", image) or system("mount", "-o", "loop", image, folder):
        pytest.skip(f"cannot make a file system that can be frozen: {wrong}")
    try:
        shutil.copytree(world.root, folder / "artifacts")
        yield ArtifactPaths(folder / "artifacts")  # type: ignore[misc]
    finally:
        system("fsfreeze", "--unfreeze", folder)
        system("umount", "--lazy", folder)


def test_a_folder_that_hangs(
    site: Site,
    disk_that_hangs: ArtifactPaths,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = disk_that_hangs
    job = site.submit(world, site.profile(), "train", *TRAINING, "--max-steps=300")
    ran_to_step(site, world, job, 5)
    assert system("fsfreeze", "--freeze", world.root.parent) == ""
    monkeypatch.setattr("ivr.cluster.folder.PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr("ivr.cluster.folder.SECONDS_WITHOUT_FOLDER", 5.0)
    assert main(["submit", "--attach", job, "--artifacts-dir", str(world.root)]) == 5
    said = capsys.readouterr().err
    assert f"{world.root / 'jobs'} has not answered for 5 s: is its file server up? job {job} " in said
    assert f"ivr submit --attach {job}" in said and f"scancel {job}" in said
    assert site.field(job, "JobState") == "RUNNING"
    assert system("fsfreeze", "--unfreeze", world.root.parent) == ""
    site.wait(world, job)  # as if nothing had been
    assert site.job(world)["state"] == "COMPLETED" and world.manifest("train").is_file()


@pytest.fixture
def small_disk(tmp_path: Path, another_world: Callable[[str], ArtifactPaths]) -> ArtifactPaths:
    """A world on a file system of its own, with little room."""
    world = another_world("roomy")
    folder = tmp_path / "disk"
    folder.mkdir()
    if wrong := system("mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", folder):
        pytest.skip(f"cannot mount a small file system: {wrong}")
    try:
        shutil.copytree(world.root, folder / "artifacts")
        yield ArtifactPaths(folder / "artifacts")  # type: ignore[misc]
    finally:
        system("umount", "--lazy", folder)


def test_a_full_disk(site: Site, small_disk: ArtifactPaths) -> None:
    options = [*TRAINING, "--max-steps=100000", "--save-every=10"]
    job = site.submit(small_disk, site.profile(), "train", *options)
    ran_to_step(site, small_disk, job, 15)
    filler = small_disk.root.parent / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"0" * 4096)
    done = site.wait(small_disk, job, check=False)
    assert done.returncode == 5 and f"job {job} (`ivr train`) ended as FAILED" in done.stderr
    assert "No space left on device" in done.stderr, done.stderr
    checkpoint = newest_whole(next((small_disk.training / "checkpoints").glob("*/")))
    assert checkpoint is not None and checkpoint.step >= 10
    assert not small_disk.manifest("train").exists() and not small_disk.final_model.exists()
