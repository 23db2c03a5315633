"""`ivr report --runs`: one page, and a table for a paper; differences only on the same documents."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.disk.writer import write_text
from ivr.evaluation.intervals import bootstrap_difference
from ivr.manifest import PIPELINE
from ivr.report.compare.formats import escaped
from ivr.schema import write_sealed

WriteRun = Callable[..., ArtifactPaths]
SIZES = np.arange(100, 140)


def evaluated(paths: ArtifactPaths, bits: np.ndarray, heldout: str = "a") -> None:
    """A run with losses of its documents, on held-out text of this hash."""
    size, count = SIZES[: len(bits)], len(bits)
    columns = {"text": ["domain"] * count, "document": list(range(count)), "model": ["trained"] * count}
    paths.evaluated_documents.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({**columns, "bytes": size, "bits": bits}), paths.evaluated_documents)
    manifest = json.loads(paths.manifest("init").read_text())
    rows = [
        {"path": f"corpora/{kind}/a.txt", "sha256": 64 * text, "bytes": 5}
        for kind, text in (("cleaned", "c"), ("heldout", heldout))
    ]
    write_sealed(paths.manifest("init"), {**manifest, "outputs": [*manifest["outputs"], *rows]})


@pytest.mark.slow
def test_two_runs_on_one_page(tmp_path: Path, write_run: WriteRun, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [tmp_path / "runs" / name for name in ("first <b>", "second_%", "third")]
    draw = np.random.default_rng(1)
    bits = draw.normal(200, 20, 40)
    losses = (bits, bits - draw.normal(4, 2, 40), bits - 9)
    for folder, one, heldout in zip(runs, losses, "aab", strict=True):
        evaluated(write_run(folder), one, heldout)
    write_text(tmp_path / "runs" / "notes" / "a.txt", "no run")
    output = tmp_path / "out"
    words = ["report", "-q", "--runs", *map(str, [*runs, tmp_path / "runs" / "notes"]), "--output", str(output)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "notes is left out: no stage has run there" in said.err
    assert "In all runs: base model model <b>, domain text " in said.out, "settings that tell no run from another"
    assert "-0.2721 [-0.3111, -0.2222]" in said.out and "| second_% |" in said.out
    page = (output / "index.html").read_text()
    assert "first &lt;b&gt;" in page and "first <b>" not in page and "data-searchable" in page

    expected = bootstrap_difference(losses[1] - losses[0], SIZES)
    with (output / "numbers" / "against_first.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)  # the third run has other held-out text
    assert row["run"] == "second_%"
    assert float(row["difference"]) == expected.difference < 0
    assert (float(row["low"]), float(row["high"])) == (expected.low, expected.high)

    latex = (output / "table.tex").read_text().splitlines()
    assert [line.count(" & ") for line in latex if line.endswith("\\\\")] == [7] * 4
    assert any(line.startswith("second\\_\\% & ") for line in latex)
    markdown = (output / "table.md").read_text().splitlines()
    assert len(markdown) == 7 and {line.count(" | ") for line in markdown[:5]} == {7}
    assert (
        json.loads((output / "numbers" / "figures.json").read_text())["tables"]["runs"][0]["domain_change"] == -0.2721
    )

    before = {path.name: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert main(words) == 0, "once more, over what it wrote"
    assert {path.name: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    assert all(not (folder / "report").exists() or not (folder / ".lock").exists() for folder in runs)


def test_unfinished_runs_are_compared_as_far_as_they_came(tmp_path: Path, write_run: WriteRun) -> None:
    write_run(tmp_path / "a", PIPELINE[:2])
    write_run(tmp_path / "b", PIPELINE[:4])
    output = tmp_path / "out"
    assert main(["report", "-q", "--runs", str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(output)]) == 0
    assert "No run was evaluated" in (output / "index.html").read_text()


def test_nothing_of_a_person_is_replaced_and_no_run_is_an_error(
    tmp_path: Path, write_run: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "a", PIPELINE[:1])
    kept = tmp_path / "mine" / "thesis.tex"
    write_text(kept, "mine")
    assert main(["report", "-q", "--runs", str(run.root), "--output", str(kept.parent)]) == 2
    assert kept.read_text() == "mine" and "thesis.tex" in capsys.readouterr().err
    assert main(["report", "-q", "--runs", str(run.root), "--output", str(run.root)]) == 2
    assert main(["report", "-q", "--runs", str(kept.parent), "--output", str(tmp_path / "out")]) == 2
    assert "no stage has run in any of these" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_latex_is_escaped() -> None:
    text = r"\input{/etc/passwd} ~^&%$#_{}" + "\x1b"
    assert escaped(text) == (
        r"\textbackslash{}input\{/etc/passwd\} \textasciitilde{}\textasciicircum{}\&\%\$\#\_\{\}\textbackslash{}x1b"
    )
