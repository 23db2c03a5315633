"""Nothing that a stage did not write itself is deleted or overwritten, whatever lies where it writes."""

import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_stage import Config, run_stage

from ivr.disk.clean import clean
from ivr.disk.leftovers import remove_leftovers
from ivr.disk.ownership import RECORD, adopt, foreign_entries, record_file, remove_written
from ivr.disk.writer import atomic_directory, write_text
from ivr.errors import ConfigError, StaleInputError
from ivr.stage import Input, open_stage


def put(path: Path, text: str = "mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def replace(target: Path, **files: str) -> None:
    with atomic_directory(target) as staging:
        for name, text in files.items():
            put(staging / f"{name}.txt", text)


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def without_records(files: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in files.items() if Path(name).name != RECORD}


class TestDirectories:
    def test_a_foreign_file_is_refused_before_the_work(self, tmp_path: Path) -> None:
        for name in ("notes.md", "deep/er/notes.txt"):
            target = tmp_path / name.replace("/", "-")
            replace(target, a="old")
            put(target / name)
            with pytest.raises(ConfigError, match=rf"{name}.*did not write") as caught, atomic_directory(target):
                pytest.fail("the work was begun")
            assert str(target) in str(caught.value)
            assert (target / name).read_text() == "mine" and (target / "a.txt").read_text() == "old"

    def test_a_whole_directory_of_a_person_is_refused(self, tmp_path: Path) -> None:
        put(tmp_path / "thesis" / "chapter.txt")
        with pytest.raises(ConfigError, match=r"chapter\.txt"):
            replace(tmp_path / "thesis", a="new")
        assert tree(tmp_path) == {"thesis/chapter.txt": "mine"}

    def test_what_is_put_there_during_the_work_is_refused_too(self, tmp_path: Path) -> None:
        target = tmp_path / "target"
        replace(target, a="old")
        with pytest.raises(ConfigError, match="late"), atomic_directory(target):
            put(target / "late.txt")
        assert (target / "late.txt").read_text() == "mine"
        assert [path.name for path in tmp_path.iterdir()] == ["target"]

    def test_names_with_a_dot_go_over(self, tmp_path: Path) -> None:
        target = tmp_path / "target"
        replace(target, a="old", b="old")
        put(target / ".git" / "objects" / "12", "history")
        put(target / ".DS_Store")
        (target / ".link").symlink_to("a.txt")
        replace(target, a="new")
        assert without_records(tree(target)) == {
            ".DS_Store": "mine",
            ".git/objects/12": "history",
            ".link": "new",
            "a.txt": "new",
        }

    def test_an_altered_file_is_kept_beside(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        target = tmp_path / "target"
        replace(target, a="old", b="old")
        put(target / "a.txt", "odd")  # of the same length
        logging.getLogger("ivr").propagate = True
        replace(target, a="new")
        assert tree(tmp_path / "target.edited") == {"a.txt": "odd"}
        assert "a.txt was altered" in caplog.text
        put(target / "a.txt", "edited again")
        replace(target, a="newer")
        assert tree(tmp_path / "target.edited") == {"a.txt": "odd", "a.txt-2": "edited again"}
        put(target / "a.txt", "odd")
        replace(target, a="newest")
        assert len(tree(tmp_path / "target.edited")) == 2, "the same copy twice"

    def test_a_link_to_a_directory_stays_one(self, tmp_path: Path) -> None:
        (tmp_path / "large disk").mkdir()
        (tmp_path / "target").symlink_to(tmp_path / "large disk")
        for text in ("old", "new"):
            replace(tmp_path / "target", a=text)
        assert (tmp_path / "target").is_symlink() and (tmp_path / "large disk" / "a.txt").read_text() == "new"

    def test_a_link_into_a_directory_of_ours_is_foreign_and_its_target_safe(self, tmp_path: Path) -> None:
        put(tmp_path / "elsewhere" / "x.txt")
        target = tmp_path / "target"
        replace(target, a="old")
        (target / "linked").symlink_to(tmp_path / "elsewhere")
        assert foreign_entries(target) == ["linked"]
        remove_written(target)
        assert (tmp_path / "elsewhere" / "x.txt").exists() and (target / "linked").is_symlink()

    @settings(max_examples=50, deadline=None)
    @given(
        ours=st.sets(st.sampled_from(["a.txt", "b/c.txt", "b/d.txt", "e/f/g.txt"]), min_size=1),
        brought=st.sets(st.sampled_from(["m.txt", "b/n.txt", "e/f/o.txt", ".p", "b/.q"])),
        altered=st.booleans(),
    )
    def test_removing_loses_nothing_of_a_person(
        self, tmp_path_factory: pytest.TempPathFactory, ours: set[str], brought: set[str], altered: bool
    ) -> None:
        folder = tmp_path_factory.mktemp("removal") / "target"
        with atomic_directory(folder) as staging:
            for name in ours:
                put(staging / name, "ours")
        for name in brought:
            put(folder / name, f"mine {name}")
        if altered:
            put(folder / min(ours), "edited")
        remove_written(folder)
        left = tree(folder.parent)
        assert {f"target/{name}": f"mine {name}" for name in brought}.items() <= left.items()
        assert ("edited" in left.values()) == altered
        assert "ours" not in left.values()

    def test_what_no_record_knows_is_not_removed(self, tmp_path: Path) -> None:
        put(tmp_path / "target" / "a.txt")
        remove_written(tmp_path / "target")
        assert tree(tmp_path) == {"target/a.txt": "mine"}

    def test_a_broken_record_makes_everything_foreign(self, tmp_path: Path) -> None:
        replace(tmp_path / "target", a="old")
        for text in ("", "[]", '{"files": 3}', '{"files": {"a.txt": 1}}', '{"files": {"a.txt": {"bytes": "3"}}}', "\0"):
            put(tmp_path / "target" / RECORD, text)
            with pytest.raises(ConfigError, match=r"a\.txt"):
                replace(tmp_path / "target", a="new")

    @pytest.mark.parametrize("name", ["../victim", "link/victim", "ABSOLUTE", "", ".", "folder", "a\0b"])
    def test_a_record_that_names_what_lies_elsewhere_moves_and_removes_nothing(self, tmp_path: Path, name: str) -> None:
        put(tmp_path / "victim", "mine")
        put(tmp_path / "elsewhere" / "victim", "mine")
        target = tmp_path / "target"
        put(target / "folder" / "b.txt", "mine")
        (target / "link").symlink_to(tmp_path / "elsewhere")
        named = str(tmp_path / "victim") if name == "ABSOLUTE" else name
        put(target / RECORD, json.dumps({"files": {named: {"bytes": 1}, "link": {"bytes": 1}}}))
        remove_written(target)
        left = tree(tmp_path)
        assert left["victim"] == left["elsewhere/victim"] == left["target/folder/b.txt"] == "mine"
        assert not any(path.startswith("target.edited") for path in left)

    def test_a_run_of_before_there_were_records_is_known_by_its_manifest(self, tmp_path: Path) -> None:
        put(tmp_path / "target" / "a.txt", "old")
        adopt(tmp_path / "target", {"a.txt": {"bytes": 3}})
        replace(tmp_path / "target", b="new")
        assert without_records(tree(tmp_path)) == {"target/b.txt": "new"}


class TestStages:
    def test_a_file_at_an_outputs_place_is_refused(self, tmp_path: Path) -> None:
        put(tmp_path / "out.txt")
        config = Config(tmp_path)
        with pytest.raises(ConfigError, match=r"out\.txt is there"), open_stage("first", config, []) as stage:
            stage.replaces(tmp_path / "out.txt")
        assert (tmp_path / "out.txt").read_text() == "mine"

    def test_an_altered_output_is_kept_and_one_of_a_killed_run_is_not(self, tmp_path: Path) -> None:
        target = tmp_path / "out.txt"

        def run(text: str, kill: bool = False) -> None:
            with open_stage("first", Config(tmp_path, size=len(text)), []) as stage:
                stage.replaces(target)
                write_text(target, text)
                if kill:
                    raise KeyboardInterrupt
                stage.finish([target])

        run("one")
        with pytest.raises(KeyboardInterrupt):
            run("three", kill=True)
        run("seven")
        assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.txt"]
        target.write_text("edited")
        run("eleven")
        assert (tmp_path / "out.txt.edited").read_text() == "edited" and target.read_text() == "eleven"

    def test_a_table_that_a_person_brought_is_not_overwritten(self, tmp_path: Path) -> None:
        put(tmp_path / "table.csv")
        with pytest.raises(StaleInputError, match=r"table\.csv is not what `ivr edit` wrote.*--force"):
            run_stage("edit", Config(tmp_path), [], "table.csv", editable=True)
        assert run_stage("edit", Config(tmp_path, force=True), [], "table.csv", editable=True)
        assert (tmp_path / "table.csv.edited").read_text() == "mine"

    @pytest.mark.parametrize("name", ["extra.txt", "deep/extra.txt", "extra.pdf"])
    def test_an_extra_file_in_an_input_directory_is_refused(self, tmp_path: Path, name: str) -> None:
        run_stage("first", Config(tmp_path), [], "first/a.txt")
        put(tmp_path / "first" / name)
        with pytest.raises(StaleInputError, match=rf"{name} lies where `ivr first` writes"):
            run_stage("second", Config(tmp_path), [Input(tmp_path / "first", made_by="first")], "second.txt")

    def test_an_extra_directory_or_file_of_an_optional_input_is_refused(self, tmp_path: Path) -> None:
        run_stage("first", Config(tmp_path), [], "first/a.txt")
        for place in (put(tmp_path / "general" / "x.txt").parent, put(tmp_path / "table.parquet")):
            with pytest.raises(StaleInputError, match="lies where `ivr first` writes"):
                run_stage("second", Config(tmp_path), [Input(place, made_by="first", optional=True)], "second.txt")

    def test_names_with_a_dot_are_not_read(self, tmp_path: Path) -> None:
        run_stage("first", Config(tmp_path), [], "first/a.txt")
        put(tmp_path / "first" / ".DS_Store")
        assert run_stage("second", Config(tmp_path), [Input(tmp_path / "first", made_by="first")], "second.txt")


def test_leftovers_of_a_replaced_directory_hold_nothing_of_a_person(tmp_path: Path) -> None:
    """Killed between the exchange and the removal: the old directory goes, what went over is there."""
    target = tmp_path / "models" / "base"
    replace(target, a="old")
    put(target / ".mine")
    old = target.with_name(".base.ivr-99")
    target.rename(old)
    with atomic_directory(target) as staging:
        put(staging / "a.txt", "new")
        os.link(old / ".mine", staging / ".mine")
    remove_leftovers(tmp_path)
    assert without_records(tree(tmp_path)) == {"models/base/.mine": "mine", "models/base/a.txt": "new"}


def test_clean_removes_what_a_run_wrote_and_nothing_else(tmp_path: Path) -> None:
    with open_stage("init", Config(tmp_path), []) as stage:
        for folder in ("corpora/cleaned", "models/base", "tokenizers/original"):
            replace(tmp_path / folder, a="ours", b="ours")
        put(tmp_path / "corpora" / "rejects.jsonl", "ours")
        stage.finish([tmp_path / "corpora", tmp_path / "models"])
    replace(tmp_path / "training" / "checkpoints" / "12ab" / "step-00000001", weights="ours")
    put(tmp_path / ".make" / "init-123.args", "ours")
    mine = [
        "corpora/raw/a.txt",
        "corpora/general/raw/b.txt",
        "corpora/mine/c.txt",
        "corpora/cleaned/d.txt",
        "models/llama/e.txt",
        "training/notes.txt",
        "thesis/f.txt",
        ".git/g",
    ]
    for name in mine:
        put(tmp_path / name)
    put(tmp_path / "models" / "base" / "a.txt", "edited")
    clean(tmp_path)
    left = tree(tmp_path)
    assert dict.fromkeys(mine, "mine") | {"models/base.edited/a.txt": "edited"} == {
        name: text for name, text in left.items() if name != ".lock"
    }


def test_clean_of_a_person_s_own_directory_does_nothing(tmp_path: Path) -> None:
    for name in ("models/a.bin", "training/b.py", "report/c.tex", "corpora/cleaned/d.txt", "manifests/init.json"):
        put(tmp_path / name)
    before = tree(tmp_path)
    clean(tmp_path)
    assert {name: text for name, text in tree(tmp_path).items() if name not in {".lock"}} == before


def test_the_record_says_what_was_written(tmp_path: Path) -> None:
    replace(tmp_path / "target", a="x")
    record = json.loads((tmp_path / "target" / RECORD).read_text())
    assert record["files"]["a.txt"]["bytes"] == 1 and len(record["files"]["a.txt"]["sha256"]) == 64


def test_a_file_that_a_later_stage_writes_anew_is_no_edit(tmp_path: Path) -> None:
    target = tmp_path / "final"
    with atomic_directory(target) as staging:
        write_text(staging / "README.md", "first")
        write_text(staging / "config.json", "{}")
    record_file(target, "README.md", b"second")
    write_text(target / "README.md", "second")
    record_file(target, "notes.txt", b"none of ours")
    assert foreign_entries(target) == []
    (target / "notes.txt").write_text("mine")
    assert foreign_entries(target) == ["notes.txt"], "the record says nothing of what was not written"
    (target / "notes.txt").unlink()
    with atomic_directory(target) as staging:
        write_text(staging / "README.md", "third")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final"], "nothing was kept as if it were edited"
