"""`ivr init` as a user calls it, on a tiny local model."""

import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from tiny_model import tiny_model_files, write_corpus, write_model

from ivr.artifacts import ArtifactPaths
from ivr.base import init as stage
from ivr.base import pinning
from ivr.base.sample_model import SampleRecipe
from ivr.cli import main
from ivr.corpus.documents import read_documents


@pytest.fixture(autouse=True)
def no_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import takes seconds; test_base_model.py sees that AutoTokenizer agrees."""
    monkeypatch.setattr("ivr.base.model_directory.check_auto_tokenizer", lambda folder, origin: None)


class World:
    """An artifacts directory, a raw corpus and a model below one temporary directory."""

    def __init__(self, root: Path) -> None:
        self.paths = ArtifactPaths(root / "artifacts")
        self.raw = write_corpus(root / "raw")
        self.model = write_model(root / "model")

    def init(self, *arguments: str) -> int:
        return main(["init", "--artifacts-dir", str(self.paths.root), *self.defaults(), *arguments])

    def defaults(self) -> list[str]:
        return ["--model-name", str(self.model), "--raw-corpora-dir", str(self.raw)]

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads(self.paths.manifest("init").read_text())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def stat_of(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_mtime_ns


def test_everything_lands_where_it_belongs(world: World) -> None:
    (world.raw / "more.txt.xz").write_bytes(lzma.compress(b"<|endoftext|>\nnot text: \xff\nand more\n"))
    (world.raw / "table.csv").write_text("a,b")
    assert world.init() == 0
    paths, corpora = world.paths, world.manifest["results"]["corpora"]
    documents = [*read_documents(paths.cleaned_corpora), *read_documents(paths.heldout_corpora)]
    assert sorted(documents) == sorted(
        [*(f"line number {number}" for number in range(60)), "<|endoftext|>", "and more"]
    )
    assert corpora["domain"]["documents"] + corpora["domain"]["heldout_documents"] == 62
    assert corpora["domain"]["rejected"] == {"file type is not read: .csv": 1, "invalid utf-8": 1}
    rejects = [json.loads(line) for line in paths.rejects.read_text().splitlines()]
    assert [(row["file"], row["line"]) for row in rejects] == [("table.csv", 0), ("more.txt.xz", 2)]
    assert rejects[1]["excerpt"] == "not text: \\xff"
    assert {row["path"] for row in world.manifest["outputs"]} >= {
        "models/base/model.safetensors",
        "models/base/tokenizer.json",
        "tokenizers/original/tokenizer.json",
        "tokenizers/original/tokenizer_config.json",
        "corpora/cleaned/lines.txt",
        "corpora/rejects.jsonl",
    }
    assert not paths.general_cleaned.exists()
    inputs = {Path(row["path"]).name for row in world.manifest["inputs"]}
    assert inputs == {"lines.txt", "more.txt.xz", "table.csv", *tiny_model_files()}


def test_a_second_run_does_nothing_and_a_changed_corpus_keeps_the_model(world: World) -> None:
    assert world.init() == 0
    cleaned, weights = world.paths.cleaned_corpora / "lines.txt", world.paths.base_model / "model.safetensors"
    before = stat_of(cleaned), stat_of(weights)
    assert world.init() == 0
    assert (stat_of(cleaned), stat_of(weights)) == before

    assert world.init("--normalize-force") == 0
    assert stat_of(cleaned) != before[0]
    assert stat_of(weights) == before[1]

    (world.raw / "lines.txt").rename(world.raw / "renamed.txt")
    assert world.init() == 0
    assert [path.name for path in world.paths.cleaned_corpora.iterdir()] == ["renamed.txt"]
    assert stat_of(weights) == before[1]

    assert world.init("--force") == 0
    assert stat_of(weights) != before[1]


def test_a_damaged_or_changed_model_is_taken_again(world: World) -> None:
    assert world.init() == 0
    weights = world.paths.base_model / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4] + b"\1\1\1\1")
    assert world.init() == 0
    assert weights.read_bytes() == whole
    (world.model / "generation_config.json").write_text("{}")
    assert world.init() == 0
    assert (world.paths.base_model / "generation_config.json").is_file()


def test_a_model_without_weights_is_taken_with_a_warning(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("config.json", "model.safetensors"):
        (world.model / name).unlink()
    assert world.init() == 0
    assert "has no weights" in capsys.readouterr().err
    assert (world.paths.original_tokenizer / "tokenizer.json").is_file()


def test_general_text_is_cleaned_too_and_goes_when_it_is_not_wanted(world: World, tmp_path: Path) -> None:
    general = write_corpus(tmp_path / "general", 100)
    assert world.init("--general-corpora-dir", str(general)) == 0
    assert len([*read_documents(world.paths.general_cleaned), *read_documents(world.paths.general_heldout)]) == 100
    assert world.manifest["results"]["corpora"]["general"]["documents"] > 80
    assert world.init() == 0
    assert not world.paths.general_cleaned.exists()
    assert "general" not in world.manifest["results"]["corpora"]


def test_two_directories_get_the_same_bytes(world: World, tmp_path: Path) -> None:
    other = ArtifactPaths(tmp_path / "other")
    assert world.init() == 0
    assert world.init("--artifacts-dir", str(other.root)) == 0
    outputs = [row["path"] for row in world.manifest["outputs"]]
    assert outputs
    for name in outputs:
        assert (world.paths.root / name).read_bytes() == (other.root / name).read_bytes(), name


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--heldout-fraction", "1.0"], 2, "--heldout-fraction 1.0"),
        (["--heldout-fraction", "nan"], 2, "--heldout-fraction nan"),
        (["--heldout-fraction", "0.000001"], 2, "--heldout-fraction 0 to hold nothing out"),
        (["--document-separator", "file"], 2, "--document-separator line"),
        (["--encoding", "utf-9"], 2, "--encoding utf-9"),
        (["--text-key", ""], 2, "--text-key is empty"),
        (["--model-name", "./nowhere"], 2, "--model-name ./nowhere: no such directory"),
        (["--revision", "main"], 2, "--revision is for models of the Hub"),
        (["--raw-corpora-dir", "nowhere"], 2, "--raw-corpora-dir nowhere"),
        (["--general-corpora-dir", "nowhere"], 2, "--general-corpora-dir nowhere"),
        (["--raw-corpora-dir", "EMPTY"], 2, "looked for .txt/.jsonl/.json"),
        (["--raw-corpora-dir", "ONLY_CSV"], 2, "x.csv (file type is not read: .csv)"),
        (["--raw-corpora-dir", "ONLY_BAD"], 2, "no key 'text' (1); check --text-key"),
        (["--raw-corpora-dir", "CUT"], 4, "x.txt.xz is damaged or cut short"),
        (["--cleaned-corpora-dir", "RAW"], 2, "keep them apart"),
        (["--cleaned-corpora-dir", "ONLY_CSV"], 2, "which `ivr init` did not write"),
        (["--cleaned-corpora-dir", "TEXT"], 2, "which `ivr init` did not write"),
    ],
)
def test_refusals_name_what_is_wrong(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    places = {"RAW": world.raw, **{name: tmp_path / name for name in ("EMPTY", "ONLY_CSV", "ONLY_BAD", "CUT", "TEXT")}}
    for name, file, content in (
        ("EMPTY", ".gitkeep", b""),
        ("ONLY_CSV", "x.csv", b"a,b"),
        ("ONLY_BAD", "x.jsonl", b'{"body": "a"}\n'),
        ("CUT", "x.txt.xz", lzma.compress(b"words " * 1000)[:-20]),
        ("TEXT", "mine.txt", b"my own text\n"),
    ):
        places[name].mkdir()
        (places[name] / file).write_bytes(content)
    assert world.init(*(str(places.get(word, word)) for word in arguments)) == code
    assert message in capsys.readouterr().err
    assert not world.paths.manifest("init").exists()
    assert not world.paths.cleaned_corpora.exists()
    assert (tmp_path / "TEXT/mine.txt").read_bytes() == b"my own text\n"


def test_a_cleaned_directory_of_the_users_choice_may_be_replaced_again(world: World, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    assert world.init("--cleaned-corpora-dir", str(target)) == 0
    assert world.init("--cleaned-corpora-dir", str(target), "--seed", "1") == 0
    assert [path.name for path in target.iterdir()] == ["lines.txt"]
    assert not world.paths.cleaned_corpora.exists()


def test_the_sample_takes_the_users_text_as_its_domain(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = SampleRecipe(num_merges=30, num_layers=1, num_heads=1, width=8, context=16, num_steps=2, batch_size=1)
    monkeypatch.setattr(stage, "RECIPE", tiny)
    monkeypatch.setattr(stage, "GENERAL_PACKAGES", ("yaml",))
    monkeypatch.setattr(stage, "DOMAIN_PACKAGES", ("packaging",))
    monkeypatch.setattr(pinning, "check_auto_tokenizer", lambda folder, origin: None)
    assert world.init("--model-name", "sample") == 0
    assert [path.name for path in world.paths.cleaned_corpora.iterdir()] == ["lines.txt"]
    assert [path.name for path in world.paths.general_cleaned.iterdir()] == ["yaml.txt"]
    assert world.manifest["results"]["model"]["recipe"]["num_merges"] == 30
    weights = world.paths.base_model / "model.safetensors"
    before = stat_of(weights)

    # no text of one's own: the sample's domain; the model is not trained again
    assert main(["init", "--artifacts-dir", str(world.paths.root)]) == 0
    assert [path.name for path in world.paths.cleaned_corpora.iterdir()] == ["packaging.txt"]
    assert stat_of(weights) == before

    # text of a kind that is not read is no reason to take the sample's instead
    world.paths.raw_corpora.mkdir()
    (world.paths.raw_corpora / "paper.pdf").write_bytes(b"%PDF")
    assert main(["init", "--artifacts-dir", str(world.paths.root)]) == 2
