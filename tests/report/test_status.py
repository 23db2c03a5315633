"""`ivr status`: done, missing, stale, from manifests and sizes alone."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ivr.artifacts import ArtifactPaths
from ivr.cli import STAGES, main
from ivr.manifest import PIPELINE
from ivr.report.status import StageStatus, duration, read_manifests, size, stage_statuses, status_table
from ivr.schema import write_sealed
from ivr.versions import STAGE_VERSIONS


def states(paths: ArtifactPaths) -> dict[str, str]:
    return {row.stage: row.state for row in stage_statuses(paths.root, read_manifests(paths))}


def reason(paths: ArtifactPaths, stage: str) -> str:
    return next(row.reason for row in stage_statuses(paths.root, read_manifests(paths)) if row.stage == stage)


def test_the_pipeline_is_what_the_command_line_offers() -> None:
    assert set(PIPELINE) <= set(STAGES)
    assert [stage for stage in STAGES if stage in PIPELINE] == list(PIPELINE)


def test_nothing_has_run(tmp_path: Path) -> None:
    assert set(states(ArtifactPaths(tmp_path)).values()) == {"missing"}


def test_a_report_made_before_a_stage_ran_is_stale(
    tmp_path: Path, write_run: Callable[..., ArtifactPaths], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_run(tmp_path, PIPELINE[:7])
    assert main(["report", "-q", "--artifacts-dir", str(tmp_path)]) == 0
    assert states(paths)["report"] == "done"
    write_run(tmp_path, PIPELINE[:8])
    assert reason(paths, "report") == "evaluate has run since"


def test_everything_has_run(whole_run: ArtifactPaths) -> None:
    assert set(states(whole_run).values()) == {"done"}


def test_a_stage_that_ran_again_makes_all_later_ones_stale(whole_run: ArtifactPaths) -> None:
    path = whole_run.manifest("remap")
    manifest = json.loads(path.read_text())
    manifest["outputs"][0]["sha256"] = "1" * 64
    write_sealed(path, manifest)
    found = states(whole_run)
    assert [stage for stage in PIPELINE if found[stage] == "stale"] == list(PIPELINE[5:])
    assert reason(whole_run, "align") == "remap/out.txt is another since `ivr remap` ran"
    assert reason(whole_run, "train") == "rests on align, which is not current"


def test_an_output_that_is_gone_or_has_another_size(whole_run: ArtifactPaths) -> None:
    (whole_run.root / "train" / "out.txt").unlink()
    assert reason(whole_run, "train") == "train/out.txt is gone"
    (whole_run.root / "train" / "out.txt").write_text("longer than before")
    assert reason(whole_run, "train") == "train/out.txt was altered"


def test_an_edited_output_is_the_reader_s_matter(whole_run: ArtifactPaths) -> None:
    path = whole_run.manifest("select")
    manifest = json.loads(path.read_text())
    manifest["outputs"][0]["editable"] = True
    write_sealed(path, manifest)
    (whole_run.root / "select" / "out.txt").write_text("edited by hand")
    found = states(whole_run)
    assert found["select"] == "done" and found["remap"] == "stale"
    assert reason(whole_run, "remap") == "select/out.txt has changed"


def test_another_version_of_a_stage_is_named(
    whole_run: ArtifactPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(STAGE_VERSIONS, "analyze", 7)
    assert reason(whole_run, "analyze").endswith("of analyze, this is 7")
    assert [stage for stage, state in states(whole_run).items() if state == "done"] == ["init"]
    assert main(["status", "--artifacts-dir", str(whole_run.root)]) == 0
    assert "of analyze, this is 7" in capsys.readouterr().out


def test_a_package_that_moves_results_a_little_is_named_and_the_stage_stays_done(
    whole_run: ArtifactPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    path = whole_run.manifest("train")
    write_sealed(path, {**json.loads(path.read_text()), "versions": {"torch": "1.13.1"}})
    assert states(whole_run)["train"] == "done"
    assert main(["status", "--artifacts-dir", str(whole_run.root)]) == 0
    assert "made with torch 1.13.1, this is " in capsys.readouterr().out


def test_the_command_prints_a_table_or_json_and_needs_no_lock(
    whole_run: ArtifactPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(whole_run.root.rglob("*"))
    assert main(["status", "--artifacts-dir", str(whole_run.root)]) == 0
    printed = capsys.readouterr()
    assert "`ivr check` reads every byte" in printed.err
    table = printed.out.splitlines()
    assert [line.split()[0] for line in table] == ["stage", *PIPELINE]
    assert table[2].split() == ["analyze", "done", "2026-01-01", "00:00:01", "7.5", "s", "512.0", "MiB", "7", "B"]
    assert main(["status", "--json", "--artifacts-dir", str(whole_run.root)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["stage"] for row in rows] == list(PIPELINE)
    assert rows[1]["wall_seconds"] == 7.5
    assert sorted(whole_run.root.rglob("*")) == before


def test_a_missing_stage_shows_no_figures() -> None:
    assert status_table([StageStatus("init", "missing")]).splitlines()[1] == "init   missing"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.9, "9.9 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (7500, "2 h 05 min")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1023 * 1024, "1.0 MiB"), (5 << 30, "5.0 GiB")],
)
def test_size(num_bytes: int, text: str) -> None:
    assert size(num_bytes) == text
