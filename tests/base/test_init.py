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
from ivr.disk.writer import files_below


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


CSV = ".csv (write its text column as .jsonl)"


def names_in(folder: Path) -> list[str]:
    return [path.name for path in files_below(folder)]


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
    assert corpora["domain"]["rejected"] == {
        "file type is not read: .csv (write its text column as .jsonl)": 1,
        "invalid utf-8": 1,
    }
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
    assert names_in(world.paths.cleaned_corpora) == ["renamed.txt"]
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
        (["--raw-corpora-dir", "ONLY_CSV"], 2, f"x.csv (file type is not read: {CSV})"),
        (
            ["--raw-corpora-dir", "ONLY_BAD"],
            2,
            "no key 'text' (1); check --text-key",
        ),
        (["--raw-corpora-dir", "CUT"], 4, "x.txt.xz is damaged or cut short"),
        (["--cleaned-corpora-dir", "RAW"], 2, "keep them apart"),
        (["--cleaned-corpora-dir", "ONLY_CSV"], 2, "which `ivr` did not write"),
        (["--cleaned-corpora-dir", "TEXT"], 2, "which `ivr` did not write"),
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
    assert names_in(target) == ["lines.txt"]
    assert not world.paths.cleaned_corpora.exists()


def test_the_sample_takes_the_users_text_as_its_domain(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = SampleRecipe(num_merges=30, num_layers=1, num_heads=1, width=8, context=16, num_steps=2, batch_size=1)
    monkeypatch.setattr(stage, "RECIPE", tiny)
    monkeypatch.setattr(stage, "GENERAL_PACKAGES", ("yaml",))
    monkeypatch.setattr(stage, "DOMAIN_PACKAGES", ("packaging",))
    monkeypatch.setattr(pinning, "check_auto_tokenizer", lambda folder, origin: None)
    assert world.init("--model-name", "sample") == 0
    assert names_in(world.paths.cleaned_corpora) == ["lines.txt"]
    assert names_in(world.paths.general_cleaned) == ["yaml.txt"]
    assert world.manifest["results"]["model"]["recipe"]["num_merges"] == 30
    weights = world.paths.base_model / "model.safetensors"
    before = stat_of(weights)

    # no text of one's own: the sample's domain; the model is not trained again
    assert main(["init", "--artifacts-dir", str(world.paths.root)]) == 0
    assert names_in(world.paths.cleaned_corpora) == ["packaging.txt"]
    assert stat_of(weights) == before

    # text of a kind that is not read is no reason to take the sample's instead
    world.paths.raw_corpora.mkdir()
    (world.paths.raw_corpora / "paper.pdf").write_bytes(b"%PDF")
    assert main(["init", "--artifacts-dir", str(world.paths.root)]) == 2


def put(path: Path, text: str = "mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_of_a_person_goes_with_the_general_text(world: World, tmp_path: Path) -> None:
    general = world.paths.general_cleaned.parent
    raw = put(general / "raw" / "own.txt", "".join(f"text {number}\n" for number in range(100)))
    notes = put(general / "notes.md")
    assert world.init("--general-corpora-dir", str(raw.parent)) == 0
    assert world.init() == 0
    assert raw.is_file() and notes.is_file()
    assert sorted(path.name for path in general.iterdir()) == ["notes.md", "raw"]


@pytest.mark.parametrize(
    "place",
    [
        "corpora/cleaned/own.txt",
        "corpora/heldout/deep/own.txt",
        "corpora/general/cleaned/own.txt",
        "models/base/own.safetensors",
        "tokenizers/original/own.json",
        "corpora/rejects.jsonl",
    ],
)
@pytest.mark.parametrize("before", [False, True], ids=["first run", "another run"])
def test_what_a_person_put_there_is_refused_and_kept(
    world: World, capsys: pytest.CaptureFixture[str], place: str, before: bool
) -> None:
    if before:
        assert world.init() == 0
        if place == "corpora/rejects.jsonl":
            return  # ours now; an edit of it is kept (tests/test_ownership.py)
    mine = put(world.paths.root / place)
    assert world.init("--seed", "3") == 2
    assert mine.name in (said := capsys.readouterr().err) and "did not write" in said
    assert mine.read_text() == "mine"


def test_what_fails_in_a_second_fails_before_the_corpus_is_cleaned(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def clean(*_: object) -> None:
        pytest.fail("the corpus was cleaned")

    monkeypatch.setattr(stage, "clean_corpus", clean)
    (world.model / "model.safetensors").write_bytes(b"cut")
    assert world.init() == 4
    assert "model.safetensors" in capsys.readouterr().err
    write_model(world.model)
    assert world.init("--model-name", "./gone") == 2
    assert world.init("--document-separator", "line", "--processes", "-1") == 2
    monkeypatch.setattr(stage, "least_bytes", lambda root: 1 << 62)
    assert world.init() == 2
    assert "MB free" in capsys.readouterr().err
    assert not world.paths.base_model.exists(), "and before the model is copied"


def test_a_wrong_key_is_seen_before_the_model_is_copied(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    put(world.raw / "lines.txt", "")
    put(world.raw / "rows.jsonl", '{"content": "words"}\n' * 5000)
    assert world.init() == 2
    assert "the most with --text-key content" in capsys.readouterr().err
    assert not world.paths.base_model.exists()
    assert world.init("--text-key", "content", "--heldout-fraction", "0") == 0


def test_encodings_of_a_mixed_folder(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    korean = "첫 줄은 남아야 한다\n둘째 줄도 그렇다\n"
    for name, encoding in (("a", "utf-16"), ("b", "utf-8-sig"), ("c", "utf-8"), ("d", "cp949"), ("e", "utf-16-le")):
        (world.raw / f"{name}.txt").write_bytes(korean.encode(encoding))
    assert world.init("--encoding", "cp949", "--heldout-fraction", "0") == 0
    kept = list(read_documents(world.paths.cleaned_corpora))
    assert [kept.count(line) for line in korean.splitlines()] == [4, 4]
    said = capsys.readouterr().err
    assert "left out: e.txt: looks like UTF-16-LE without a byte order mark; give --encoding utf-16-le (1)" in said
    assert world.init("--encoding", "utf-16", "--heldout-fraction", "0") == 0
    assert list(read_documents(world.paths.cleaned_corpora)).count(korean.splitlines()[0]) == 4


def test_special_tokens_of_the_model_are_known(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    put(world.raw / "gpt.txt", "<|startoftext|>\none\n\ntwo\n<|endoftext|>\n" * 30)
    put(world.raw / "rows.jsonl", '{"text": "a <|endoftext|> b"}\n')
    assert world.init("--heldout-fraction", "0") == 0
    said = capsys.readouterr().err
    assert "gpt.txt: documents are parted by <|endoftext|> or <|startoftext|>" in said
    assert "the special token <|endoftext|> stands 1 times as text inside documents (rows.jsonl)" in said
    assert list(read_documents(world.paths.cleaned_corpora)).count("one\n\ntwo") == 30
    assert world.manifest["results"]["corpora"]["domain"]["special_tokens"] == {"<|endoftext|>": 1}


def test_long_names_of_folders_and_files(world: World) -> None:
    for folder in ("가" * 60, "나" * 60):
        put(world.raw / folder / ("다" * 60) / ("라" * 63 + ".txt"), "one line\nanother\n")
    assert world.init("--heldout-fraction", "0") == 0
    assert len(names_in(world.paths.cleaned_corpora)) == 3
