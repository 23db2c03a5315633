"""The report completes the card of the trained model, and leaves alone one that somebody wrote."""

import json

import pytest
from huggingface_hub import ModelCard

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.disk.digest import sha256_file
from ivr.disk.ownership import foreign_entries, read_record, write_record
from ivr.disk.writer import write_text
from ivr.report.integrity import check
from ivr.report.status import read_manifests, stage_statuses
from ivr.schema import write_sealed


def with_card(paths: ArtifactPaths, editable: bool = True) -> None:
    """What `train` leaves: final/ with its card and record, both in the manifest."""
    write_text(paths.final_model / "README.md", "---\ntags: [x]\n---\nby train\n")
    write_text(paths.final_model / "config.json", '{"model_type": "gpt2"}')
    write_record(paths.final_model)
    manifest = json.loads(paths.manifest("train").read_text())
    rows = [
        {"path": f"training/final/{name}", "sha256": sha256_file(path), "bytes": path.stat().st_size}
        | ({"editable": True} if editable and name == "README.md" else {})
        for name in ("README.md", "config.json")
        for path in [paths.final_model / name]
    ]
    write_sealed(paths.manifest("train"), {**manifest, "outputs": [*manifest["outputs"], *rows]})


def report(paths: ArtifactPaths, *options: str) -> str:
    assert main(["report", "--artifacts-dir", str(paths.root), *options]) == 0
    return (paths.final_model / "README.md").read_text()


@pytest.mark.slow
def test_the_card_has_the_figures_of_evaluate_and_nothing_is_stale_or_damaged(
    whole_run: ArtifactPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    with_card(whole_run)
    card = report(whole_run)
    assert "| this model | 1.6402 | 1.7122 |" in card and "| optimizer steps | 100 |" in card
    assert ModelCard.load(whole_run.final_model / "README.md").data.tags == ["gpt2", "gpt2-ivr"]
    assert (whole_run.report / "model_card.md").read_text() == card
    states = {row.stage: row.state for row in stage_statuses(whole_run.root, read_manifests(whole_run))}
    assert states["train"] == states["evaluate"] == states["report"] == "done"
    assert [one for one in check(whole_run, 1, lambda _: None).damage if "final" in one.path] == []
    record = read_record(whole_run.final_model) or {}
    assert record["README.md"]["sha256"] == sha256_file(whole_run.final_model / "README.md")
    assert foreign_entries(whole_run.final_model) == []
    capsys.readouterr()
    report(whole_run)
    assert "report: current, nothing to do" in capsys.readouterr().err
    manifest = json.loads(whole_run.manifest("evaluate").read_text())
    manifest["results"]["bits_per_byte"]["domain"]["trained"] = 1.5
    write_sealed(whole_run.manifest("evaluate"), manifest)
    assert "| this model | 1.5000 | 1.7122 |" in report(whole_run), "its own card is written anew"


@pytest.mark.slow
def test_an_edited_card_stays(whole_run: ArtifactPaths, capsys: pytest.CaptureFixture[str]) -> None:
    with_card(whole_run)
    write_text(whole_run.final_model / "README.md", "mine\n")
    assert report(whole_run) == "mine\n"
    assert "README.md was edited and stays" in capsys.readouterr().err
    assert "| this model | 1.6402" in (whole_run.report / "model_card.md").read_text()
    assert report(whole_run, "--force") == "mine\n"


@pytest.mark.slow
def test_a_card_that_is_gone_is_written_again(whole_run: ArtifactPaths) -> None:
    with_card(whole_run)
    card = report(whole_run)
    (whole_run.final_model / "README.md").unlink()
    assert report(whole_run) == card


@pytest.mark.slow
def test_a_card_of_an_earlier_version_stays(whole_run: ArtifactPaths) -> None:
    """Its manifest says that another hash is damage, and would have the model trained again."""
    with_card(whole_run, editable=False)
    assert "by train" in report(whole_run)


@pytest.mark.slow
def test_of_a_model_from_elsewhere_only_what_was_measured_is_told(whole_run: ArtifactPaths) -> None:
    with_card(whole_run)
    manifest = json.loads(whole_run.manifest("train").read_text())
    write_sealed(whole_run.manifest("train"), {**manifest, "config": {"model_name": "/models/mine"}})
    card = report(whole_run)
    assert "60 ids" not in card and "my/model" not in card and "| this model | 1.6402" in card
