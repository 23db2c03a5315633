"""`ivr check`: every file of a run against what was recorded of it."""

import json
import os
import shutil
from pathlib import Path

import pytest

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.report import integrity
from ivr.report.integrity import Checked, maker_of
from ivr.stage import artifacts_lock

EDITABLE = "analysis/reports/replacement_candidates.csv"
CARD = "training/final/README.md"


def check(root: Path) -> Checked:
    return integrity.check(ArtifactPaths(root), 2, lambda num_bytes: None)


def states(root: Path) -> dict[str, str]:
    return {finding.path: finding.state for finding in check(root).findings}


def flip(path: Path, bit: int = 0, place: int | None = None) -> None:
    """Turn one bit around, times kept."""
    facts, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 1 << bit
    path.write_bytes(data)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.fixture(scope="module")
def checked_run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose files a test may alter, when it puts them back."""
    return shutil.copytree(small_run / "artifacts", tmp_path_factory.mktemp("checked") / "artifacts")


def files_of(root: Path) -> list[Path]:
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file()
        and path.stat().st_size
        and (path.name == ".ivr.json" or not any(part[0] == "." for part in path.relative_to(root).parts))
    )


@pytest.mark.slow  # a whole run is made for it
def test_a_whole_run_is_whole(checked_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(checked_run).findings == []
    before = sorted(checked_run.rglob("*"))
    assert main(["check", "-q", "--artifacts-dir", str(checked_run)]) == 0
    assert sorted(checked_run.rglob("*")) == before
    assert "0 damaged, 0 missing, 0 edited, 0 changed, 0 foreign" in capsys.readouterr().out


@pytest.mark.slow  # a whole run is made for it
def test_one_bit_in_every_file_of_every_stage_is_found(checked_run: Path) -> None:
    files = files_of(checked_run)
    folders = {path.relative_to(checked_run).parts[0] for path in files}
    assert folders >= set(integrity.FOLDERS) - {"verification", "control"} | {"manifests"}  # see tests/training/control
    for number, path in enumerate(files):
        name = str(path.relative_to(checked_run))
        whole = path.read_bytes()
        flip(path, bit=number % 8)
        # what reads one note may name it as gone, too; what counts is that the file is named
        assert states(checked_run).get(name) == ("edited" if name in (EDITABLE, CARD) else "damaged"), name
        path.write_bytes(whole)
    assert check(checked_run).findings == []


@pytest.mark.slow  # a whole run is made for it
def test_every_file_that_is_gone_is_named(checked_run: Path) -> None:
    for path in files_of(checked_run):
        name = str(path.relative_to(checked_run))
        if path.parent.name == "manifests" or path.name == ".ivr.json":
            continue  # then the stage has not run, and its files are nobody's; the manifest lists them, too
        whole = path.read_bytes()
        path.unlink()
        assert states(checked_run).get(name) == "missing", name
        path.write_bytes(whole)


@pytest.mark.slow  # a whole run is made for it
def test_the_commands_that_mend_it_mend_it(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(small_run / "artifacts", tmp_path / "artifacts")
    flip(root / "tokenizers" / "original" / "tokenizer.json")
    flip(root / "manifests" / "analyze.json")
    (root / "analysis" / "reports" / "token_frequency.parquet").unlink()
    assert main(["check", "-q", "--json", "--artifacts-dir", str(root)]) == 4
    said = json.loads(capsys.readouterr().out)
    assert {finding["state"] for finding in said["findings"]} >= {"damaged"}
    assert said["commands"] == [f"ivr {stage} --artifacts-dir {root}" for stage in ("init", "analyze")]
    from small_pipeline import run_stage

    assert [run_stage(stage, small_run, root) for stage in ("init", "analyze")] == [0, 0]
    assert main(["check", "-q", "--artifacts-dir", str(root)]) == 0


@pytest.mark.slow  # a whole run is made for it
def test_what_nobody_recorded_and_what_a_person_brought_are_said_and_are_no_damage(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(small_run, tmp_path / "small")
    root = folder / "artifacts"
    shutil.rmtree(small := tmp_path / "again", ignore_errors=True)
    shutil.copytree(small_run, small)
    (root / "corpora" / "cleaned" / "extra.txt").write_text("mine")
    (root / "manifests" / "report.json").unlink()
    with (root / EDITABLE).open("a") as table:
        table.write("\n")
    found = states(root)
    assert found["corpora/cleaned/extra.txt"] == "foreign" and found[EDITABLE] == "edited"
    assert found["report/index.html"] == "foreign"
    assert main(["check", "-q", "--artifacts-dir", str(root)]) == 0
    said = capsys.readouterr().out
    assert "`ivr report` has not finished here; run it" in said and "yours to edit" in said


def test_a_raw_file_that_changed_since_is_named_as_brought(tmp_path: Path) -> None:
    from test_stage import Config as OneConfig
    from test_stage import run_stage as run_one  # a stage of one file

    from ivr.stage import Input

    raw = tmp_path / "raw.txt"
    raw.write_text("raw")
    root = tmp_path / "artifacts"
    run_one("init", OneConfig(root), [Input(raw)], "corpora/rejects.jsonl")
    raw.write_text("RAW")
    assert states(root) == {str(raw): "changed"}


@pytest.mark.slow  # a whole run is made for it
def test_it_waits_for_nobody_and_disturbs_nobody(checked_run: Path) -> None:
    with artifacts_lock(checked_run / ".lock", "train"):
        assert main(["check", "-q", "--artifacts-dir", str(checked_run)]) == 75


@pytest.mark.parametrize("command", ["check", "status", "report", "submit --attach 7", "analyze", "train", "evaluate"])
def test_what_only_reads_makes_no_directory(command: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nowhere = tmp_path / "nowhere" / "x"
    assert main([*command.split(), "--artifacts-dir", str(nowhere)]) == 3
    assert not nowhere.parent.exists()


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    assert main(["report", "-q", "--artifacts-dir", str(tmp_path)]) == 3
    assert main(["check", "-q", "--artifacts-dir", str(tmp_path)]) == 3
    assert main(["status", "-q", "--artifacts-dir", str(tmp_path)]) == 0
    assert list(tmp_path.iterdir()) == []


def test_every_artifact_has_its_maker() -> None:
    paths = ArtifactPaths(Path())
    assert maker_of(str(paths.raw_corpora)) == ""
    for path, stage in ((paths.certificate, "distill-tokenizer"), (paths.remap_rules, "remap")):
        assert maker_of(str(path)) == stage
