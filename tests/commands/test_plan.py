"""`ivr plan`: why a stage would run, and what it would take, by what earlier runs took."""

import dataclasses
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.commands.costs import Run, Scale, earlier_runs, estimate
from ivr.commands.foretold import foretell
from ivr.commands.plan import reasons
from ivr.manifest import PIPELINE, FileRecord, Manifest, package_versions
from ivr.stage import config_identity, sha256_json
from ivr.tokenizer.select.stage import Config as SelectConfig
from ivr.versions import stage_version


def manifest(stage: str, **more: object) -> Manifest:
    """Of a stage that ran for 10 s here."""
    made = Manifest(
        stage, "", {}, "", [], [], host=socket.gethostname(), wall_seconds=10.0, peak_memory_bytes=2**20,
        version=stage_version(stage), versions=package_versions(),
        started_at=f"2026-01-01T00:00:{PIPELINE.index(stage):02}Z",
    )  # fmt: skip
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A run that is done up to `select`."""
    root = tmp_path / "runs" / "a"
    paths = ArtifactPaths(root)
    config = SelectConfig(root)
    for stage in PIPELINE[:4]:
        recorded = {"config": {"swaps": 500, "max_words": 1}, "identity": sha256_json(config_identity(config))}
        manifest(stage, **(recorded if stage == "select" else {})).write(paths.manifest(stage))
    yield root


def read(root: Path) -> dict[str, Manifest]:
    found = {stage: Manifest.read(ArtifactPaths(root).manifest(stage)) for stage in PIPELINE}
    return {stage: made for stage, made in found.items() if made is not None}


def test_what_is_done_would_not_run_and_what_is_missing_would(run: Path) -> None:
    why = reasons(run, read(run), {})
    assert [stage for stage in PIPELINE if not why[stage]] == list(PIPELINE[:4])
    assert why["remap"] == "has not run"
    assert set(reasons(run, read(run), {}, force=True).values()) == {"--force"}


def test_options_that_changed_are_named_and_what_follows_may_run(run: Path) -> None:
    manifest("remap").write(ArtifactPaths(run).manifest("remap"))
    assert reasons(run, read(run), {"select": SelectConfig(run)})["select"] == ""
    why = reasons(run, read(run), {"select": SelectConfig(run, swaps=1000)})
    assert why["select"].startswith("options changed: swaps 500 -> 1000")
    assert why["remap"] == "if select writes something else" and why["align"] == "has not run"


def test_an_output_that_is_gone_is_a_reason(run: Path) -> None:
    gone = manifest("analyze", outputs=[FileRecord("analysis/x", "0" * 64, 3)])
    gone.write(ArtifactPaths(run).manifest("analyze"))
    assert reasons(run, read(run), {})["analyze"] == "analysis/x is gone"


def test_estimates_scale_with_what_a_stage_reads() -> None:
    made = {stage: manifest(stage, outputs=[FileRecord("a", "0" * 64, 100)]) for stage in PIPELINE}
    small = Run("small", Scale(1e6, 1e6, 1e5, 1e5), made)
    large = Run("large", Scale(1e9, 1e8, 1e6, 1e5), made)
    four = Scale(4e6, 2e6, 1e5, 1e5)
    of = {stage: estimate(stage, four, [small, large]) for stage in PIPELINE}
    assert all(cost is not None and cost.source == "small" for cost in of.values())
    seconds = {stage: cost.seconds for stage, cost in of.items() if cost is not None}
    assert seconds["analyze"] == 1 + 9 * 4 and seconds["train"] == 1 + 9 * 2 and seconds["report"] == 10
    assert seconds["select"] == pytest.approx(1 + 9 * 4**0.6)
    assert of["init"] is not None and of["init"].disk_bytes == 400
    assert estimate("train", four, []) is None
    assert estimate("init", Scale(15, 1e6, 1e5, 1e5), [small]) is None  # of a run of a few bytes nothing follows


def test_only_this_machines_records_count(run: Path) -> None:
    assert [found.name for found in earlier_runs(run.parent / "b", None)] == [str(run)]
    for stage in PIPELINE[:4]:
        manifest(stage, host="another").write(ArtifactPaths(run).manifest(stage))
    assert earlier_runs(run, None) == []


def test_a_long_stage_says_before_what_it_will_take(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = ArtifactPaths(run)
    assert foretell("select", SelectConfig(run)) == "", "it is current"
    assert foretell("select", SelectConfig(run, swaps=9)) == "", "ten seconds"
    for seconds, stage in ((600.0, "select"), (7200.0, "analyze")):
        made = read(run)[stage]
        dataclasses.replace(made, wall_seconds=seconds).write(paths.manifest(stage))
    assert foretell("select", SelectConfig(run)) == ""
    told = foretell("select", SelectConfig(run, swaps=9))
    assert told == f"about 10 min 00 s, 1.0 MiB of memory, 0 B of disk, as {run} took"
    assert foretell("select", SelectConfig(run, force=True)) == told
    assert foretell("select", SelectConfig(run, force=True), 1000) == f"{told}; only 1000 B of memory is free"
    capsys.readouterr()
    assert main(["select", "--swaps", "9", "--artifacts-dir", str(run)]) == 3, "it reads what is not there"
    assert f"select: {told}" in capsys.readouterr().err
    paths.manifest("select").write_text("{")
    assert foretell("select", SelectConfig(run)) == ""


def test_the_command_prints_a_table_and_json(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["plan", "--artifacts-dir", str(run)]) == 0
    said = capsys.readouterr().out
    assert "current, would not run" in said and "5 stages would run" in said
    assert main(["plan", "--artifacts-dir", str(run), "--json"]) == 0
    assert [step["stage"] for step in json.loads(capsys.readouterr().out)] == list(PIPELINE)
    file = tmp_path / "run.toml"
    file.write_text(f'artifacts-dir = "{run}"\n[select]\nswaps = 7\n')
    assert main(["plan", "--config", str(file)]) == 0
    assert "swaps 500 -> 7" in capsys.readouterr().out
    assert main(["plan", "--artifacts-dir", str(tmp_path / "none")]) == 0
    assert "9 stages would run" in capsys.readouterr().out
