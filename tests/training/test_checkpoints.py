"""Which checkpoints stay: whole ones, up to the step just written. No model is needed to say."""

import json
from pathlib import Path

import pytest

from ivr.disk.digest import sha256_file
from ivr.training.checkpoints import MARKER, begin, newest_whole, superfluous


def checkpoint(folder: Path, step: int, name: str = "") -> Path:
    path = folder / (name or f"step-{step:08d}")
    path.mkdir(parents=True)
    weights = path / "training.pt"
    weights.write_bytes(b"weights of step %d" % step)
    facts = {"bytes": weights.stat().st_size, "sha256": sha256_file(weights)}
    marker = {"step": step, "card": {"--lr": 1}, "files": {"training.pt": facts}}
    (path / MARKER).write_text(json.dumps(marker))
    return path


def flip(path: Path) -> None:
    """One bit, size and times kept."""
    content = bytearray((path / "training.pt").read_bytes())
    content[3] ^= 1
    (path / "training.pt").write_bytes(bytes(content))


def steps(paths: list[Path]) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in paths]


def turn(folder: Path, every: int, turns: int, keep: int) -> list[int]:
    """A requeued job again and again: where each turn begins, when it takes one checkpoint further and is stopped."""
    begun = []
    for _ in range(turns):
        found = newest_whole(folder)
        begun.append(found.step if found else 0)
        step = begun[-1] + every
        if not (folder / f"step-{step:08d}").exists():
            checkpoint(folder, step)
        for path in superfluous(folder, step, keep):
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
    return begun


def test_a_damaged_newest_checkpoint_does_not_push_every_new_one_out(tmp_path: Path) -> None:
    flip(checkpoint(tmp_path, 300))
    assert turn(tmp_path, every=100, turns=4, keep=1) == [0, 100, 200, 300][:4]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_whole_ones_up_to_this_step_stay(tmp_path: Path, keep: int) -> None:
    for step in (100, 200, 300, 400, 900):
        checkpoint(tmp_path, step)
    assert steps(superfluous(tmp_path, 400, keep)) == [*[100, 200, 300][: 4 - keep], 900]


def test_one_that_is_cut_short_does_not_count(tmp_path: Path) -> None:
    whole, cut, unmarked = (checkpoint(tmp_path, step) for step in (100, 200, 250))
    checkpoint(tmp_path, 300)
    (cut / "training.pt").write_bytes(b"")
    (unmarked / MARKER).unlink()
    assert superfluous(tmp_path, 300, keep=2) == [cut, unmarked]
    assert whole.exists()


def test_steps_are_numbers_not_words_and_other_folders_are_not_ours(tmp_path: Path) -> None:
    late = checkpoint(tmp_path, 100_000_000)
    checkpoint(tmp_path, 99_999_999)
    mine = checkpoint(tmp_path, 7, name="step-before-i-changed-it")
    found = newest_whole(tmp_path)
    assert found is not None and found.path == late
    assert mine not in superfluous(tmp_path, 100_000_000, keep=1)


@pytest.mark.parametrize(
    "marker", ["", "[]", "3", "{}", '{"step": 1, "card": {}, "files": []}', "[" * 100_000, '{"step": "x"}']
)
def test_a_marker_of_any_form_is_passed_over(tmp_path: Path, marker: str) -> None:
    whole = checkpoint(tmp_path, 100)
    (checkpoint(tmp_path, 200) / MARKER).write_text(marker)
    found = newest_whole(tmp_path)
    assert found is not None and found.path == whole


@pytest.mark.parametrize("note", ["", "[]", "{}", "null", '{"identity": 3, "card": 4}'])
def test_a_note_of_an_unfinished_run_that_cannot_be_read_is_written_anew(tmp_path: Path, note: str) -> None:
    (tmp_path / "unfinished.json").write_text(note)
    begin(tmp_path, "identity", {"--lr": 1}, resume=True)
    assert json.loads((tmp_path / "unfinished.json").read_text())["identity"] == "identity"
