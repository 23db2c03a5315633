"""`ivr analyze --shards N`: in parts, on several nodes, and yet the same bytes."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_run import TinyRun, domain_documents, learnt_merges

from ivr.corpus.parts import read_part
from ivr.disk.writer import files_below
from ivr.stage import artifacts_lock


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A run after `init` and an `analyze` in one go."""
    run = TinyRun(tmp_path_factory.mktemp("straight"))
    general = domain_documents(30, seed=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ivr.base.model_directory.check_auto_tokenizer", lambda folder, origin: None)
        assert run("init", *run.write_inputs(learnt_merges(general), domain_documents(), general)) == 0
    assert run("analyze", "--threads", "1") == 0
    return run


@pytest.fixture
def run(straight: TinyRun, tmp_path: Path) -> TinyRun:
    """The same run, before `analyze`."""
    shutil.copytree(straight.root, tmp_path, dirs_exist_ok=True)
    copy = TinyRun(tmp_path)
    shutil.rmtree(copy.paths.reports)
    copy.paths.manifest("analyze").unlink()
    return copy


def reports(run: TinyRun) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.paths.reports.iterdir()}


@pytest.mark.parametrize("shards", [2, 4, 7])
def test_parts_joined_are_the_same_files_and_figures(straight: TinyRun, run: TinyRun, shards: int) -> None:
    for part in reversed(range(shards)):
        assert run("analyze", "--shards", str(shards), "--part", str(part), "--threads", "2") == 0
    assert not run.paths.manifest("analyze").exists()
    assert run("analyze", "--shards", str(shards)) == 0
    assert reports(run) == reports(straight)
    assert run.results("analyze") == straight.results("analyze")
    assert run.manifest("analyze")["identity"] == straight.manifest("analyze")["identity"]
    assert not (run.paths.root / "analysis" / "shards").exists()
    before = run.paths.manifest("analyze").read_bytes()
    assert run("analyze") == 0
    assert run.paths.manifest("analyze").read_bytes() == before, "the joined result is current for one process, too"


@pytest.mark.slow
def test_a_part_without_documents_and_no_sequences(straight: TinyRun, run: TinyRun) -> None:
    corpus = run.paths.cleaned_corpora
    shards = next(n for n in range(2, 500) if any(not list(read_part(corpus, part, n)) for part in range(n)))
    assert run("analyze", "--shards", str(shards), "--no-sequences") == 0
    assert reports(run) == {name: text for name, text in reports(straight).items() if not name.endswith(".txt")}


def test_a_part_is_counted_once_and_again_when_what_it_reads_changed(run: TinyRun) -> None:
    part = ["analyze", "--shards", "2", "--part", "1"]
    facts = run.paths.root / "analysis" / "shards" / "part-1-of-2" / "part.json"
    assert run(*part) == 0
    first = facts.stat().st_ino
    assert run(*part) == 0
    assert facts.stat().st_ino == first
    assert run(*part, "--force") == 0
    assert facts.stat().st_ino != first
    before = json.loads(facts.read_text())["key"]
    assert run(*part, "--no-sequences") == 0
    assert json.loads(facts.read_text())["key"] != before


def test_a_part_of_another_corpus_is_not_joined(straight: TinyRun, run: TinyRun) -> None:
    assert run("analyze", "--shards", "2", "--part", "0") == 0
    facts = run.paths.root / "analysis" / "shards" / "part-0-of-2" / "part.json"
    facts.write_text(facts.read_text().replace('"key": "', '"key": "0'))
    (facts.parent / "domain" / "tokens.parquet").unlink()
    assert run("analyze", "--shards", "2") == 0
    assert reports(run) == reports(straight)


def test_a_corpus_that_is_not_what_init_wrote(run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    file = files_below(run.paths.cleaned_corpora)[0]
    file.write_text(file.read_text() + "more\n<|endoftext|>\n")
    assert run("analyze", "--shards", "2", "--part", "0") == 3
    assert "run `ivr init` again" in capsys.readouterr().err


def test_parts_share_the_directory_with_each_other_but_not_with_a_stage(
    run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    with artifacts_lock(run.paths.lock, "analyze --shards 2 --part 0", shared=True):
        assert run("analyze", "--shards", "2", "--part", "1") == 0
        assert run("analyze") == 75
        assert "in use by `ivr analyze --shards 2 --part" in capsys.readouterr().err
    with artifacts_lock(run.paths.lock, "init"):
        assert run("analyze", "--shards", "2", "--part", "1") == 75
        assert "in use by `ivr init`" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--shards", "0"], ["--part", "1"], ["--shards", "2", "--part", "2"]])
def test_parts_that_there_are_not(run: TinyRun, options: list[str]) -> None:
    assert run("analyze", *options) == 2
