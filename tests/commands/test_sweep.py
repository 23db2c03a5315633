"""`ivr sweep`: runs that share what is equal; given again it goes on; one that fails leaves the others whole."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.commands import sweep
from ivr.commands.shared_files import link_shared
from ivr.commands.sweep import OWN, SHARED, Cell, Config, cells, every_command
from ivr.errors import StaleInputError
from ivr.manifest import FileRecord, Manifest


def make_stage(root: Path, stage: str, files: dict[str, str]) -> None:
    """Pretend that a stage wrote these files."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    rows = [FileRecord(name, "0" * 64, len(text)) for name, text in files.items()]
    Manifest(stage, "", {}, "", [], rows).write(ArtifactPaths(root).manifest(stage))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What a sweep would run; every stage works, and leaves a file."""
    ran: list[list[str]] = []

    def pretend(words: list[str]) -> int:
        ran.append(words)
        if "--runs" not in words:
            stage = words[1] if words[0] == "submit" else words[0]
            root = next(Path(word.partition("=")[2]) for word in words if word.startswith("--artifacts-dir="))
            make_stage(root, stage, {f"{stage}/a.txt": stage, f"{stage}/.ivr.json": "{}"})
        return 0

    monkeypatch.setattr(sweep, "_ivr", pretend)
    return ran


def test_every_combination_is_a_run_of_its_own_and_what_is_equal_is_made_once(
    tmp_path: Path, calls: list[list[str]]
) -> None:
    words = ["--swaps", "5", "auto", "--init-strategy", "mean", "pieces", "--seed", "0", "1", "0"]
    assert main(["sweep", "--artifacts-dir", str(tmp_path), *words, "-q"]) == 0
    assert [call[0] for call in calls] == [*SHARED, *(OWN * 8), "report"]
    names = [Cell(k, how, seed).name for k in (5, "auto") for how in ("mean", "pieces") for seed in (0, 1)]
    assert calls[-1] == ["report", "--runs", *(str(tmp_path / n) for n in names), f"--output={tmp_path / 'comparison'}"]
    assert f"--artifacts-dir={tmp_path / 'swapsauto-pieces-seed1'}" in calls[-2]
    selects = [call[-1] for call in calls if call[0] == "select"]
    assert selects == ["--swaps=5"] * 4 + ["--swaps=auto"] * 4
    shared, linked = tmp_path / "shared" / "analyze" / "a.txt", tmp_path / names[0] / "analyze" / "a.txt"
    assert linked.samefile(shared) and linked.with_name(".ivr.json").is_file()


def test_the_dry_run_prints_what_a_sweep_runs(
    tmp_path: Path, calls: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[sweep]\nswaps = [7, 'auto']\nseed = [3]\n")
    assert main(["sweep", "--artifacts-dir", str(tmp_path), "--config", str(file), "--dry-run"]) == 0
    config = Config(tmp_path, swaps=(7, "auto"), seed=(3,), config=file)
    expected = [" ".join(["ivr", *words]) for words in every_command(config, cells(config))]
    assert capsys.readouterr().out.splitlines() == expected and calls == []
    assert all(f"--config={file}" in line for line in expected[:-1])


def test_a_run_that_fails_leaves_the_others_and_is_named(
    tmp_path: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    works: Callable[[list[str]], int] = sweep._ivr
    monkeypatch.setattr(sweep, "_ivr", lambda words: 4 if "--swaps=5" in words else works(words))
    assert main(["sweep", "--artifacts-dir", str(tmp_path), "--swaps", "5", "6"]) == 2
    assert "1 of 2 runs failed: swaps5-distill-seed0: `ivr select` ended with 4" in capsys.readouterr().err
    assert (tmp_path / "swaps6-distill-seed0" / "manifests" / "report.json").exists()
    assert "--runs" not in [word for call in calls for word in call]
    monkeypatch.setattr(sweep, "_ivr", works)
    assert main(["sweep", "--artifacts-dir", str(tmp_path), "--swaps", "5", "6"]) == 0
    assert calls[-1][:2] == ["report", "--runs"]


def test_with_a_profile_the_stages_are_queued_and_what_is_shared_is_waited_for(
    tmp_path: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["sweep", "--artifacts-dir", str(tmp_path), "--profile", "site.toml"]
    assert main(words) == 75
    assert [call[0] for call in calls] == ["init", *["submit"] * 8]
    assert ["--detach" in call for call in calls] == [False] * 3 + [True] * 6
    assert all("--profile=site.toml" in call for call in calls[1:])
    monkeypatch.setattr(sweep, "_is_done", lambda config, folder: True)  # the jobs have ended
    assert main(words) == 0
    assert [call[0] for call in calls[9:]] == ["init", "submit", "submit", "report"]


def test_a_sweep_does_not_go_into_a_run(tmp_path: Path, calls: list[list[str]]) -> None:
    make_stage(tmp_path, "init", {})
    assert main(["sweep", "--artifacts-dir", str(tmp_path)]) == 2
    assert calls == []


def test_linked_files_follow_their_source_and_are_no_way_back_to_it(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    with pytest.raises(StaleInputError, match="no finished `ivr init`"):
        link_shared(source, target, ["init"])
    make_stage(source, "init", {"text/one.txt": "1", "text/two.txt": "2"})
    link_shared(source, target, ["init"])
    (target / "text" / "one.txt").unlink()
    (target / "text" / "one.txt").write_text("replaced")  # as every stage replaces a file
    assert (source / "text" / "one.txt").read_text() == "1"
    make_stage(source, "init", {"text/one.txt": "1"})
    link_shared(source, target, ["init"])
    assert [path.name for path in (target / "text").iterdir()] == ["one.txt"]
    assert (target / "text" / "one.txt").read_text() == "1"


def test_where_there_are_no_links_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(1, "Operation not permitted")

    make_stage(tmp_path / "a", "init", {"text/one.txt": "1"})
    monkeypatch.setattr("os.link", refuse)
    link_shared(tmp_path / "a", tmp_path / "b", ["init"])
    assert not (tmp_path / "b" / "text" / "one.txt").samefile(tmp_path / "a" / "text" / "one.txt")
    assert (tmp_path / "b" / "text" / "one.txt").read_text() == "1"


@pytest.mark.slow
def test_stages_take_linked_files_for_their_own(small_run: Path, tmp_path: Path) -> None:
    """A run that was given the first three stages goes on from them, and the one they came from stays whole."""
    shared, own = small_run / "artifacts", tmp_path / "own"
    link_shared(shared, own, SHARED)
    before = {path: path.read_bytes() for path in shared.rglob("*") if path.is_file()}
    words = ["--artifacts-dir", str(own), "-q"]
    assert main(["distill-tokenizer", *words]) == 0  # current
    assert (own / "tokenizers/distilled_unigram/tokenizer.json").samefile(
        shared / "tokenizers/distilled_unigram/tokenizer.json"
    )
    assert main(["select", "--swaps", "5", *words]) == 0
    assert main(["remap", *words]) == 0
    assert main(["check", *words]) == 0
    assert {path: path.read_bytes() for path in shared.rglob("*") if path.is_file()} == before
