"""What every stage promises: it locks, it checks its inputs, it knows when it is current."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ivr.artifacts import ArtifactPaths
from ivr.console import LOG
from ivr.disk.digest import sha256_file
from ivr.disk.writer import write_text
from ivr.errors import ConfigError, CorruptInputError, StaleInputError, TryAgainError
from ivr.manifest import FileRecord
from ivr.options.declared import StageConfig, option
from ivr.schema import write_sealed
from ivr.stage import Input, Manifest, artifacts_lock, open_stage
from ivr.versions import DECIDING_PACKAGES, NOTED_PACKAGES, STAGE_VERSIONS


@dataclass(frozen=True)
class Config(StageConfig):
    size: int = option(1, "what is written")
    processes: int = option(1, "that write it", identity=False)


def run_stage(
    name: str, config: Config, inputs: Sequence[Input], output: str, editable: bool = False
) -> Manifest | None:
    """A stage that writes `size` into one file; None when it was current."""
    target = config.artifacts_dir / output
    with open_stage(name, config, inputs) as stage:
        if stage.current:
            return None
        if editable:
            stage.protect_edits(target)
        write_text(target, f"{config.size}\n")
        stage.results["size"] = config.size
        return stage.finish([], editable=[target]) if editable else stage.finish([target])


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "raw.txt"
    path.write_text("raw")
    return path


def first(tmp_path: Path, raw: Path, **options: object) -> Manifest | None:
    return run_stage("first", Config(tmp_path, **options), [Input(raw)], "first/a.txt")  # type: ignore[arg-type]


def second(tmp_path: Path, **options: object) -> Manifest | None:
    config = Config(tmp_path, **options)  # type: ignore[arg-type]
    return run_stage("second", config, [Input(tmp_path / "first", made_by="first")], "second.txt")


def test_the_manifest_says_what_was_read_and_written(tmp_path: Path, raw: Path) -> None:
    manifest = first(tmp_path, raw)
    assert manifest is not None
    assert manifest.inputs == [FileRecord("raw.txt", sha256_file(raw), 3)]
    assert [row.path for row in manifest.outputs] == ["first/a.txt"]
    assert manifest.results == {"size": 1} and manifest.config["size"] == 1
    assert manifest.wall_seconds >= 0 and manifest.peak_memory_bytes > 0
    assert Manifest.read(ArtifactPaths(tmp_path).manifest("first")) == manifest


def test_current_until_something_that_counts_changes(tmp_path: Path, raw: Path) -> None:
    assert first(tmp_path, raw)
    assert first(tmp_path, raw) is None
    assert first(tmp_path, raw, processes=8) is None, "a field that is not identity"
    assert first(tmp_path, raw, size=2), "an option changed"
    assert first(tmp_path, raw), "an option changed back"
    raw.write_text("other")
    assert first(tmp_path, raw), "an input changed"
    (tmp_path / "first" / "a.txt").write_text("altered")
    assert first(tmp_path, raw), "an output was altered"
    (tmp_path / "first" / "a.txt").unlink()
    assert first(tmp_path, raw), "an output is gone"
    assert first(tmp_path, raw) is None
    assert first(tmp_path, raw, force=True)


def test_a_result_of_another_version_of_the_stage_is_made_again_and_it_says_why(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = first(tmp_path, raw)
    assert made is not None and made.version == 1
    monkeypatch.setitem(STAGE_VERSIONS, "first", 2)
    with caplog.at_level("INFO", LOG.name):
        again = first(tmp_path, raw)
    assert again is not None and again.version == 2
    assert "first: made by version 1 of first, this is 2, running again" in caplog.text
    assert first(tmp_path, raw) is None


def test_a_manifest_without_a_version_counts_as_the_first(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first(tmp_path, raw)
    path = ArtifactPaths(tmp_path).manifest("first")
    old = json.loads(path.read_text())
    del old["version"]
    write_sealed(path, old)
    assert first(tmp_path, raw) is None, "nothing has changed since the first version"
    write_sealed(path, old)
    monkeypatch.setitem(STAGE_VERSIONS, "first", 2)
    assert first(tmp_path, raw)


def test_another_version_of_a_package_that_decides_runs_the_stage_again_of_another_is_said(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(DECIDING_PACKAGES, "first", ("tokenizers",))
    monkeypatch.setitem(NOTED_PACKAGES, "first", ("torch",))
    assert first(tmp_path, raw)
    path = ArtifactPaths(tmp_path).manifest("first")
    written = json.loads(path.read_text())
    with caplog.at_level("INFO", LOG.name):
        write_sealed(path, {**written, "versions": {**written["versions"], "torch": "1.13.1"}})
        assert first(tmp_path, raw) is None
        assert "first: made with torch 1.13.1, this is " in caplog.text
        write_sealed(path, {**written, "versions": {**written["versions"], "tokenizers": "0.1.0"}})
        assert first(tmp_path, raw)
    assert "first: made with tokenizers 0.1.0, this is " in caplog.text


def test_a_current_stage_touches_its_manifest_for_make(tmp_path: Path, raw: Path) -> None:
    first(tmp_path, raw)
    manifest = ArtifactPaths(tmp_path).manifest("first")
    os.utime(manifest, (0, 0))
    assert first(tmp_path, raw) is None
    assert manifest.stat().st_mtime > 0


def test_artifacts_may_be_moved(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    raw = tmp_path / "raw.txt"
    raw.write_text("raw")
    assert first(tmp_path / "here", raw)
    assert second(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert first(tmp_path / "there", raw) is None
    assert second(tmp_path / "there") is None


def test_a_missing_input_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(StaleInputError, match=r"run `ivr first` first") as caught:
        second(tmp_path)
    assert caught.value.exit_code == 3
    with pytest.raises(ConfigError, match="no such file"):
        first(tmp_path, tmp_path / "none.txt")


def test_an_altered_input_names_both_hashes_and_the_command(tmp_path: Path, raw: Path) -> None:
    first(tmp_path, raw)
    recorded = sha256_file(tmp_path / "first" / "a.txt")
    (tmp_path / "first" / "a.txt").write_text("altered")
    altered = sha256_file(tmp_path / "first" / "a.txt")
    with pytest.raises(StaleInputError) as caught:
        second(tmp_path)
    assert recorded[:16] in str(caught.value) and altered[:16] in str(caught.value)
    assert "run `ivr first` again" in str(caught.value)


def test_a_file_gone_from_an_input_directory_is_noticed(tmp_path: Path, raw: Path) -> None:
    first(tmp_path, raw)
    (tmp_path / "first" / "a.txt").rename(tmp_path / "first" / "b.txt")
    with pytest.raises(StaleInputError, match=r"a\.txt is gone; run `ivr first` again"):
        second(tmp_path)


def test_a_file_that_a_stage_does_not_read_may_change_and_go(tmp_path: Path, raw: Path) -> None:
    first(tmp_path, raw)
    card = tmp_path / "first" / "README.md"
    write_text(card, "a card")
    manifest_path = ArtifactPaths(tmp_path).manifest("first")
    manifest = json.loads(manifest_path.read_text())
    row = {"path": "first/README.md", "sha256": sha256_file(card), "bytes": 6}
    write_sealed(manifest_path, {**manifest, "outputs": [*manifest["outputs"], row]})
    without = [Input(tmp_path / "first", made_by="first", without=("README.md",))]
    manifest = run_stage("second", Config(tmp_path), without, "second.txt")
    assert manifest is not None and [row.path for row in manifest.inputs] == ["first/a.txt"]
    card.write_text("another")
    assert run_stage("second", Config(tmp_path), without, "second.txt") is None
    card.unlink()
    assert run_stage("second", Config(tmp_path), without, "second.txt") is None
    (tmp_path / "first" / "a.txt").unlink()
    with pytest.raises(StaleInputError, match="is gone"):
        run_stage("second", Config(tmp_path), without, "second.txt")


def test_an_input_without_its_manifest_is_not_trusted(tmp_path: Path, raw: Path) -> None:
    first(tmp_path, raw)
    ArtifactPaths(tmp_path).manifest("first").unlink()
    with pytest.raises(StaleInputError, match=r"`ivr first` did not finish"):
        second(tmp_path)


def test_an_optional_input_may_be_absent(tmp_path: Path) -> None:
    absent = Input(tmp_path / "none", made_by="first", optional=True)
    assert run_stage("second", Config(tmp_path), [absent], "second.txt")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("[]", "should be"),
        ('{"stage": "first"}', "argv: this field is missing"),
        ("{", "is not JSON"),
        ("[" * 100_000, "nested too deep"),
        ('{"stage": 1' + "0" * 30 + "}", "stage is a whole number beyond"),
        ('{"stage": NaN}', "stage = nan"),
        ('{"stage": "\\ud800"}', "half a character"),
    ],
)
def test_a_damaged_manifest_is_named_and_its_stage_runs_again(tmp_path: Path, raw: Path, text: str, said: str) -> None:
    first(tmp_path, raw)
    path = ArtifactPaths(tmp_path).manifest("first")
    write_text(path, text)
    with pytest.raises(CorruptInputError, match=rf"first\.json.*{said}.*run `ivr first` again"):
        second(tmp_path)
    assert first(tmp_path, raw) is not None
    assert second(tmp_path) is not None


def test_every_flipped_bit_of_a_manifest_is_seen(tmp_path: Path, raw: Path) -> None:
    first(tmp_path, raw)
    path = ArtifactPaths(tmp_path).manifest("first")
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(CorruptInputError, match=r"first\.json"):
            Manifest.read(path)


def test_a_name_that_no_record_can_hold_is_refused_before_any_work(tmp_path: Path) -> None:
    odd = tmp_path / "raw" / os.fsdecode(b"caf\xe9.txt")
    odd.parent.mkdir()
    odd.write_text("x")
    with pytest.raises(ConfigError, match=r"caf\\xe9\.txt: the file's name is not UTF-8"):
        run_stage("first", Config(tmp_path / "artifacts"), [Input(odd.parent)], "a.txt")


def test_a_manifest_of_an_earlier_version_is_read(tmp_path: Path, raw: Path) -> None:
    first(tmp_path, raw)
    path = ArtifactPaths(tmp_path).manifest("first")
    record = json.loads(path.read_text())
    del record["checksum"], record["slurm"]
    write_text(path, json.dumps(record))
    assert first(tmp_path, raw) is None
    write_text(path, json.dumps({**record, "invented": 1}))
    with pytest.raises(CorruptInputError, match="invented: a field that this version does not know"):
        second(tmp_path)


def test_an_editable_file_in_a_directory_of_outputs_is_recorded_once(tmp_path: Path, raw: Path) -> None:
    write_text(tmp_path / "out" / "a.txt", "a")
    write_text(tmp_path / "out" / "README.md", "mine")
    with open_stage("first", Config(tmp_path), [Input(raw)]) as stage:
        manifest = stage.finish([tmp_path / "out"], editable=[tmp_path / "out" / "README.md"])
    assert [(row.path, row.editable) for row in manifest.outputs] == [("out/a.txt", False), ("out/README.md", True)]


class TestEditableOutput:
    def write(self, tmp_path: Path, **options: object) -> Manifest | None:
        return run_stage("edit", Config(tmp_path, **options), [], "rules.txt", editable=True)  # type: ignore[arg-type]

    def test_an_edit_does_not_make_the_stage_stale_nor_its_reader_refuse(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        (tmp_path / "rules.txt").write_text("mine")
        assert self.write(tmp_path) is None
        rules = Input(tmp_path / "rules.txt", made_by="edit", editable=True)
        assert run_stage("reader", Config(tmp_path), [rules], "read.txt")

    def test_an_edit_is_not_overwritten(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        (tmp_path / "rules.txt").write_text("mine")
        for _ in range(2):
            with pytest.raises(StaleInputError, match=r"was edited.*--force"):
                self.write(tmp_path, size=2)
        assert (tmp_path / "rules.txt").read_text() == "mine"

    def test_force_keeps_the_edited_one_beside(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        (tmp_path / "rules.txt").write_text("mine")
        assert self.write(tmp_path, size=2, force=True)
        assert (tmp_path / "rules.txt").read_text() == "2\n"
        assert (tmp_path / "rules.txt.edited").read_text() == "mine"

    def test_a_run_killed_before_its_manifest_does_not_block_the_next(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        with pytest.raises(KeyboardInterrupt), open_stage("edit", Config(tmp_path, size=2), []) as stage:
            stage.protect_edits(tmp_path / "rules.txt")
            write_text(tmp_path / "rules.txt", "2\n")
            raise KeyboardInterrupt
        assert self.write(tmp_path, size=2)
        assert (tmp_path / "rules.txt").read_text() == "2\n"
        assert not list(tmp_path.glob("*.edited*"))  # what the first one wrote, the second wrote again

    def test_a_run_killed_just_after_its_manifest_lets_no_later_edit_be_lost(self, tmp_path: Path) -> None:
        """Its note of what it may overwrite would make the edit pass for its own."""
        with open_stage("edit", Config(tmp_path), []) as stage:
            stage.protect_edits(tmp_path / "rules.txt")
        note = next((tmp_path / "manifests").glob(".*.unfinished"))
        said = note.read_bytes()
        self.write(tmp_path)
        note.write_bytes(said)
        assert self.write(tmp_path) is None and not note.exists()
        (tmp_path / "rules.txt").write_text("mine")
        with pytest.raises(StaleInputError, match=r"was edited.*--force"):
            self.write(tmp_path, size=2)

    def test_what_a_person_changed_after_a_run_was_killed_is_kept(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), open_stage("edit", Config(tmp_path), []) as stage:
            stage.protect_edits(tmp_path / "rules.txt")
            write_text(tmp_path / "rules.txt", "1\n")
            raise KeyboardInterrupt
        (tmp_path / "rules.txt").write_text("mine")
        assert self.write(tmp_path)
        assert (tmp_path / "rules.txt.edited").read_text() == "mine"


def test_a_pipe_among_the_inputs_is_refused_and_not_read_for_ever(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    os.mkfifo(raw / "pipe.txt")
    with pytest.raises(ConfigError, match=r"pipe\.txt is no regular file, but a pipe"):
        first(tmp_path, raw)


HOLD = """
import sys
from pathlib import Path
from ivr.stage import artifacts_lock
with artifacts_lock(Path(sys.argv[1]), "train"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_names_its_holder_and_goes_with_it(tmp_path: Path, raw: Path) -> None:
    lock = ArtifactPaths(tmp_path).lock
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(TryAgainError, match=rf"in use by `ivr train`, process {process.pid} on ") as caught:
            first(tmp_path, raw)
        assert caught.value.exit_code == 75
        process.kill()
    assert first(tmp_path, raw), "the lock went with the process"


def test_the_lock_is_free_after_an_exception(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), artifacts_lock(tmp_path / ".lock", "a"):
        1 / 0
    with artifacts_lock(tmp_path / ".lock", "b"):
        pass


def test_leftovers_of_killed_runs_go_when_a_stage_opens(tmp_path: Path, raw: Path) -> None:
    (tmp_path / ".a.txt.ivr-77").write_text("half")
    first(tmp_path, raw)
    assert not (tmp_path / ".a.txt.ivr-77").exists()


def test_the_manifest_is_plain_json(tmp_path: Path, raw: Path) -> None:
    first(tmp_path, raw)
    record = json.loads(ArtifactPaths(tmp_path).manifest("first").read_text())
    assert record["stage"] == "first" and record["versions"]["python"]


def test_a_pipe_or_a_directory_in_place_of_a_manifest_is_named(tmp_path: Path, raw: Path) -> None:
    first(tmp_path, raw)
    path = ArtifactPaths(tmp_path).manifest("first")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CorruptInputError, match="no file, but a pipe"):
        Manifest.read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match=r"first.json is a directory"):
        first(tmp_path, raw)
