"""`ivr verify`: equal is 0, different is 1, and the report names pretoken, place and family."""

import gzip
import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import bpe_tokenizer, documents, make_world, save_tokenizer, unigram_tokenizer, write_corpus
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.corpus.documents import read_documents
from ivr.disk.digest import sha256_file
from ivr.encoding.byte_alphabet import BYTE_TO_CHARACTER
from ivr.stage import Manifest
from ivr.tokenizer.verify.pair import Pair, Workers
from ivr.tokenizer.verify.repeats import RunTask, check_runs, compare_runs, ranges, run_units
from ivr.tokenizer.verify.sources import PIECE_CHARACTERS, read_chunks, sources_of

LOWERED = "Ġcarcinoma"
FITTING = ("scores", "proof", "repeats", "fit", "distill", "select", "remap", "unigram_file")


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    return bpe_tokenizer()


@pytest.fixture(scope="module")
def unigram(bpe: Tokenizer) -> Tokenizer:
    return unigram_tokenizer([bpe.id_to_token(token_id) for token_id in range(bpe.get_vocab_size())])


@pytest.fixture(autouse=True)
def few_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them take a minute; what is left has each class of character."""
    monkeypatch.setattr("ivr.tokenizer.verify.repeats.neighbours", lambda: (list(" aZ1!'é中"), list('asl1!"é中')))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus" / "domain.txt"
    write_corpus(
        path, ["the cell\nof a <|endoftext|> b", "in vitro\n\ncarcinoma, no carcinoma", *documents(60, seed=2)]
    )
    return path


def edited(tokenizer: Tokenizer, edit: Callable[[dict[str, Any]], None]) -> Tokenizer:
    spec = json.loads(tokenizer.to_str())
    edit(spec)
    return Tokenizer.from_str(json.dumps(spec))


def lower(spec: dict[str, Any]) -> None:
    """One score is changed: the token is never worth taking."""
    for row in spec["model"]["vocab"]:
        if row[0] == LOWERED:
            row[1] = -1e6


def verify(root: Path, ours: Tokenizer, theirs: Tokenizer, *options: object) -> tuple[int, dict[str, Any]]:
    """Exit code and report."""
    save_tokenizer(ours, root / "ours")
    save_tokenizer(theirs, root / "theirs")
    paths = ["--tokenizer", root / "ours", "--against", root / "theirs" / "tokenizer.json", "--processes", 1]
    code = main(["verify", "--artifacts-dir", str(root / "artifacts"), *map(str, [*paths, *options])])
    return code, json.loads((root / "artifacts" / "verification" / "verification.json").read_text(encoding="utf-8"))


def test_a_tokenizer_equals_itself(tmp_path: Path, bpe: Tokenizer, corpus: Path) -> None:
    options = ("--corpus", corpus, "--runs", 3, "--adversarial", 200, "--processes", 1)
    code, report = verify(tmp_path, bpe, bpe, *options)
    assert code == 0 and report["equal"] is True
    found = report["documents"]
    assert (
        found["documents"] == 62
        and found["mismatched_pretokens"] == found["different_decodings"] == found["not_restored"] == 0
    )
    pretokens = [piece for text in read_documents(corpus) for piece, _ in bpe.pre_tokenizer.pre_tokenize_str(text)]
    assert (found["pretokens"], found["distinct_pretokens"]) == (len(pretokens), len(set(pretokens)))
    assert found["files"][0]["sha256"] == sha256_file(corpus)
    assert report["ids"]["ids"] == bpe.get_vocab_size()
    assert report["runs"]["strings"] > 500 and report["adversarial"]["strings"] == 200
    assert report["tokenizer"]["sha256"] == sha256_file(tmp_path / "ours" / "tokenizer.json")
    manifest = Manifest.read(ArtifactPaths(tmp_path / "artifacts").manifest("verify"))
    assert manifest is not None and manifest.results["equal"] is True
    assert verify(tmp_path, bpe, bpe, *options) == (0, report), "current: nothing is done"


def test_one_changed_score_is_found_and_placed(
    tmp_path: Path, unigram: Tokenizer, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--corpus", corpus, "--runs", 0, "--processes", 1)
    code, report = verify(tmp_path, edited(unigram, lower), unigram, *options)
    assert code == 1 and report["equal"] is False
    texts = list(read_documents(corpus))
    mismatches = {row["text"]: row for row in report["documents"]["mismatches"]}
    assert set(mismatches) == {" carcinoma"}
    row = mismatches[" carcinoma"]
    assert (
        row["count"] == sum(text.count(" carcinoma") for text in texts) == report["documents"]["mismatched_pretokens"]
    )
    assert report["documents"]["different_documents"] == sum(" carcinoma" in text for text in texts)
    # the second document begins in line 4 of the file, after two lines of text and the separator
    assert (row["document"], row["line"], row["character"]) == (2, 6, texts[1].index(" carcinoma"))
    assert (row["before"], row["after"]) == ("in vitro\n\ncarcinoma, no", "")
    assert row["against"] == [LOWERED] and "".join(row["tokenizer"]) == LOWERED and len(row["tokenizer"]) > 1
    assert row["cause"] == "unknown", "the reference is no BPE"
    own = [entry["text"] for entry in report["ids"]["first"]["not_to_themselves"]]
    assert own == [LOWERED]
    said = capsys.readouterr().out
    assert f"{corpus}, document 2, line 6, character 23" in said and "against    Ġcarcinoma\n" in said
    assert verify(tmp_path, edited(unigram, lower), unigram, *options)[0] == 1, "current, and still different"


@pytest.mark.slow
def test_the_number_of_processes_does_not_matter(
    tmp_path: Path, bpe: Tokenizer, unigram: Tokenizer, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ivr.tokenizer.verify.sources.CHUNK_CHARACTERS", 1000)
    options = ("--corpus", corpus, "--runs", 2, "--adversarial", 2500, "--force", "--seed", 5)
    alone = verify(tmp_path, unigram, bpe, *options, "--processes", 1)
    together = verify(tmp_path, unigram, bpe, *options, "--processes", 3)
    assert alone == together
    found = alone[1]["adversarial"]
    assert alone[0] == 1 and found["equal"] < 2500 and alone[1]["runs"]["families"]
    assert found["scores_cannot"] + found["not_fixed"] == 2500 - found["equal"] and found["not_fixed"] > 0


def tiny(model: Any, *cuts: Any) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=False), *cuts])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@pytest.fixture
def tied(tmp_path: Path) -> tuple[Tokenizer, models.Model]:
    """One merge, (a, a): scores cannot say that `aaa` is `aa`, `a`."""
    symbols = list(BYTE_TO_CHARACTER.values())
    vocabulary = {token: token_id for token_id, token in enumerate([*symbols, "aa"])}
    scores = [(symbol, 0.0) for symbol in symbols]
    return tiny(models.BPE(vocabulary, [("a", "a")])), models.Unigram([*scores, ("aa", 1.0)], None, False)


def test_runs_are_found_in_families(tmp_path: Path, tied: tuple[Tokenizer, models.Model], corpus: Path) -> None:
    reference, model = tied
    code, report = verify(tmp_path, tiny(model), reference, "--corpus", corpus, "--runs", 6, "--processes", 1)
    assert code == 1 and set(report["runs"]["units_with_mismatches"]) == {"a"}
    families = {tuple(context): row for row in report["runs"]["families"] for context in row["contexts"]}
    assert families["", ""]["lengths"] == "3,5"
    example = {"text": "aaa", "tokenizer": ["a", "aa"], "against": ["aa", "a"], "cause": "tie"}
    assert families["", ""]["example"] == example
    assert families["Z", ""] is families["", ""] and families["Z", "s"] is families["", ""], "one family"
    assert ("1", "") not in families, "digits and letters are two pretokens"
    assert ("a", "") not in families, "a longer run"
    assert report["runs"]["causes"] == {"tie": report["runs"]["mismatched"]} and len(families) == 11
    assert report["runs"]["families_not_listed"] == 0
    assert not report["documents"]["different_documents"], "no such run in the corpus"


def test_cuts_of_the_pre_tokenizer_count(tmp_path: Path, tied: tuple[Tokenizer, models.Model], corpus: Path) -> None:
    reference, model = tied
    cut = pre_tokenizers.Split(Regex("aa"), "isolated")
    options = ("--corpus", corpus, "--runs", 6, "--adversarial", 300, "--processes", 1)
    code, report = verify(tmp_path, tiny(model, cut), reference, *options)
    assert code == 0 and report["runs"]["mismatched"] == 0


@pytest.mark.parametrize("quick", [True, False])
def test_runs_of_blanks_are_tried_before_a_word(quick: bool) -> None:
    symbols = list(BYTE_TO_CHARACTER.values())
    vocabulary = {token: place for place, token in enumerate([*symbols, "ĊĊ"])}
    model = models.BPE(vocabulary, [("Ċ", "Ċ")])
    cut = pre_tokenizers.Split(Regex("^Ċ(?=ĊĊ$)"), "isolated")  # three before a word: the fourth is the word's
    with Workers(tiny(model, cut).to_str(), tiny(model).to_str(), processes=1) as workers:
        found = compare_runs(workers, tiny(model).to_str(), 5, quick=quick)
    contexts = {tuple(context): family["lengths"] for family in found["families"] for context in family["contexts"]}
    assert contexts["", ""] == "3" and contexts["", "a"] == "4"


def test_units_are_bytes_and_what_merges_with_itself() -> None:
    merges = [["h", "a"], ["ha", "ha"], ["haha", "haha"], ["-", "-"], ["a", "b"]]
    units = run_units(json.dumps({"model": {"type": "BPE", "merges": merges}}))
    assert len(units) == 257 and units[-1] == "ha", "`haha` is a run of `ha`, `--` one of `-`"
    assert len(run_units(json.dumps({"model": {"type": "Unigram"}}))) == 256


def test_a_difference_between_two_neighbours_at_one_length_is_found(tmp_path: Path, corpus: Path) -> None:
    symbols = list(BYTE_TO_CHARACTER.values())
    vocabulary = {token: place for place, token in enumerate([*symbols, "aa", "ba", "ac"])}
    model = models.BPE(vocabulary, [("a", "a"), ("b", "a"), ("a", "c")])
    cut = pre_tokenizers.Split(Regex("(?<=baaaaa)(?=c)"), "isolated")
    code, report = verify(tmp_path, tiny(model, cut), tiny(model), "--corpus", corpus, "--runs", 9)
    (family,) = report["runs"]["families"]
    assert code == 1 and (family["unit"], family["lengths"], family["cause"]) == ("a", "5", "cut")
    assert family["contexts"] == [["b", "c"]] and report["runs"]["mismatched"] == 1
    assert family["example"]["against"] == ["b", "aa", "aa", "ac"]
    assert family["example"]["tokenizer"] == ["b", "aa", "aa", "a", "c"]


def test_the_certificate_names_what_differs_between_two_neighbours_only() -> None:
    symbols = list(BYTE_TO_CHARACTER.values())
    vocabulary = {token: place for place, token in enumerate([*symbols, "aa", "ba", "ac"])}
    model = models.BPE(vocabulary, [("a", "a"), ("b", "a"), ("a", "c")])
    ours = tiny(model, pre_tokenizers.Split(Regex("(?<=baaa)(?=ac)"), "isolated")).to_str()
    with Workers(ours, tiny(model).to_str(), processes=1) as workers:
        found = compare_runs(workers, tiny(model).to_str(), 12, quick=True)
    (family,) = found["families"]
    assert (family["unit"], family["lengths"], family["contexts"]) == ("a", "4", [["b", "c"]])
    assert (found["max_length"], found["beside_two_neighbours"], found["both_sides"]) == (12, "to length 4", 1)


def test_of_very_many_pairs_of_neighbours_some_are_tried_with_every_one_among_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lefts, rights = "bcdefgh", "ijklmnop"
    tokens = [*BYTE_TO_CHARACTER.values(), *(x + "a" for x in lefts), *("a" + r for r in rights)]
    text = tiny(models.BPE({token: place for place, token in enumerate(tokens)}, [])).to_str()
    pair = Pair(text, text)
    seen: list[str] = []
    monkeypatch.setattr(pair, "encode", lambda texts: (seen.extend(texts), ([[]] * len(texts),) * 2)[1])

    def both(task: RunTask) -> tuple[int, int]:
        seen.clear()
        outcome = check_runs(pair, task)
        tried = [text for text in seen if text[0] != "a" != text[-1]]
        assert {text[0] for text in tried} >= {*lefts} and {text[-1] for text in tried} >= {*rights}
        assert {text.count("a") for text in tried} == set(range(1, 51))
        return outcome.both_sides, outcome.pairs_left_out

    assert both(RunTask("a", 50, [], [])) == (56, 0)
    tried, left_out = both(RunTask("a", 50, [], [], most_pairs=20))
    assert tried + left_out == 56 and 14 <= tried <= 24
    assert both(RunTask("a", 50, [], [], turns=1)) == (56, 0)


def test_ranges() -> None:
    assert ranges([3, 5, 6, 7, 9, 10]) == "3,5-7,9-10"
    assert ranges([4]) == "4"


def test_another_decoder_is_a_difference(tmp_path: Path, bpe: Tokenizer, corpus: Path) -> None:
    def drop(spec: dict[str, Any]) -> None:
        spec["decoder"] = None

    code, report = verify(tmp_path, edited(bpe, drop), bpe, "--corpus", corpus, "--runs", 0)
    assert code == 1
    assert report["documents"]["different_decodings"] == report["documents"]["documents"]
    assert report["documents"]["different_documents"] == 0
    assert report["documents"]["other_differences"][0]["what"] == "decoding"


def test_what_both_decode_alike_is_no_difference(tmp_path: Path, bpe: Tokenizer, corpus: Path) -> None:
    """The library puts a blank after an added token too, so that such a text does not come back."""

    def add(spec: dict[str, Any]) -> None:
        spec["pre_tokenizer"]["add_prefix_space"] = True
        entry = {"id": bpe.get_vocab_size(), "content": "vitro", "special": False}
        spec["added_tokens"].append({**spec["added_tokens"][0], **entry})

    both = edited(bpe, add)
    code, report = verify(tmp_path, both, both, "--corpus", corpus, "--runs", 0, "--adversarial", 100)
    assert code == 0 and report["documents"]["not_restored"] == 1 and report["adversarial"]["not_restored"] == 0


def test_another_pre_tokenizer_is_a_difference(tmp_path: Path, bpe: Tokenizer, corpus: Path) -> None:
    def cut_off_blanks(spec: dict[str, Any]) -> None:
        split = {"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated", "invert": False}
        spec["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, spec["pre_tokenizer"]]}

    code, report = verify(tmp_path, edited(bpe, cut_off_blanks), bpe, "--corpus", corpus, "--runs", 0)
    first = report["documents"]["mismatches"][0]
    assert code == 1 and (first["text"], first["document"], first["character"]) == (" cell", 1, 3)
    assert first["before"] == "the" and first["against"] == ["Ġcell"] and first["tokenizer"] == ["Ġ", "cell"]
    assert first["cause"] == "cut" and report["documents"]["causes"]["cut"] >= 50


def test_a_difference_that_no_pretoken_explains(tmp_path: Path, bpe: Tokenizer, corpus: Path) -> None:
    def blank_in_front(spec: dict[str, Any]) -> None:
        spec["pre_tokenizer"]["add_prefix_space"] = True

    code, report = verify(tmp_path, edited(bpe, blank_in_front), bpe, "--corpus", corpus, "--runs", 0)
    assert code == 1 and report["documents"]["mismatches"] == []
    first = report["documents"]["other_differences"][0]
    assert (first["what"], first["document"], first["line"], first["character"]) == ("ids", 1, 1, 0)
    assert first["against"][0] == "the" and first["tokenizer"][0] != "the"


def test_a_quick_look_reads_the_first_documents_of_every_file(tmp_path: Path, bpe: Tokenizer, corpus: Path) -> None:
    write_corpus(corpus.with_name("more.txt"), documents(30, seed=4))
    options = ("--corpus", corpus.parent, "--runs", 0, "--max-documents", 7)
    code, report = verify(tmp_path, bpe, bpe, *options)
    assert code == 0 and [row["documents"] for row in report["documents"]["files"]] == [7, 7]
    assert report["documents"]["first_documents_only"] == 7


def test_the_defaults_are_the_artifacts(tmp_path: Path) -> None:
    paths = make_world(tmp_path / "world", num_documents=10)
    output = tmp_path / "o.json"
    assert (
        main(["verify", "--artifacts-dir", str(paths.root), "--runs", "0", "--processes", "1", "--output", str(output)])
        == 0
    )
    report = json.loads(output.read_text(encoding="utf-8"))
    files = [Path(row["path"]).parent for row in report["documents"]["files"]]
    assert files == [paths.cleaned_corpora, paths.heldout_corpora, paths.general_heldout]
    assert report["tokenizer"]["model"] == "Unigram" and report["against"]["model"] == "BPE"


# what is read -----------------------------------------------------------------------------------------------------
def read(path: Path) -> list[tuple[int, str]]:
    return [(d.line, d.text) for chunk in read_chunks(sources_of([path])) for d in chunk.documents]


def test_plain_text_is_read_whole_in_pieces(tmp_path: Path) -> None:
    text = "".join(f"line {number}\r\n\n" for number in range(20_000)) + "<|endoftext|> no separator\nlast"
    for name, opener in (("a.txt", open), ("b.txt.xz", lzma.open), ("c.txt.gz", gzip.open), ("d.py", open)):
        with opener(tmp_path / name, "wb") as stream:  # type: ignore[operator]
            stream.write(text.encode())
        pieces = read(tmp_path / name)
        assert "".join(piece for _, piece in pieces) == text and len(pieces) == 1 + len(text) // (PIECE_CHARACTERS + 12)
        for line, piece in pieces:
            assert text.split("\n")[line - 1] == piece.split("\n")[0]


def test_cleaned_text_is_read_by_documents(tmp_path: Path) -> None:
    texts = ["a\n<|endoftext|>\nb", "", "c\n\n", "x" * (PIECE_CHARACTERS + 1)]
    write_corpus(tmp_path / "a.txt", texts)
    assert read(tmp_path / "a.txt") == [(1, texts[0]), (5, ""), (7, "c\n\n"), (11, texts[3])]
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress((tmp_path / "a.txt").read_bytes()))
    assert read(tmp_path / "a.txt.xz") == read(tmp_path / "a.txt")


def test_jsonl_is_read_by_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a\\nb"}\n\n{"text": "c"}\n', encoding="utf-8")
    assert read(tmp_path / "a.jsonl") == [(1, "a\nb"), (3, "c")]


# what is refused --------------------------------------------------------------------------------------------------
def damage_tokenizer(root: Path) -> list[object]:
    (root / "ours" / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "BP', encoding="utf-8")
    return []


def not_a_tokenizer(root: Path) -> list[object]:
    (root / "ours" / "tokenizer.json").write_text('{"a": 1}', encoding="utf-8")
    return []


def cut_xz(root: Path) -> list[object]:
    (root / "cut.txt.xz").write_bytes(lzma.compress(b"text " * 10_000)[:-20])
    return ["--corpus", root / "cut.txt.xz"]


def latin_1(root: Path) -> list[object]:
    (root / "latin.txt").write_bytes("Ärzte".encode("latin-1"))
    return ["--corpus", root / "latin.txt"]


def empty_directory(root: Path) -> list[object]:
    (root / "empty").mkdir()
    return ["--corpus", root / "empty"]


def smaller_vocabulary(root: Path) -> list[object]:
    save_tokenizer(bpe_tokenizer(300), root / "ours")
    return []


@pytest.mark.parametrize(
    ("prepare", "code", "said"),
    [
        (damage_tokenizer, 4, "is not a tokenizer.json"),
        (not_a_tokenizer, 4, "is not a tokenizer.json"),
        (cut_xz, 4, "cut.txt.xz is damaged or cut short"),
        (latin_1, 4, "latin.txt is not UTF-8 text"),
        (empty_directory, 2, "empty holds no text"),
        (smaller_vocabulary, 2, "300 ids"),
        (lambda root: ["--tokenizer", root / "nowhere"], 2, "nowhere: no such file or directory"),
        (lambda root: ["--tokenizer", root / "corpus"], 2, "corpus holds no tokenizer.json"),
        (lambda root: ["--corpus", root / "nowhere"], 2, "nowhere: no such file or directory"),
        (lambda root: ["--runs", -1], 2, "--runs -1"),
        (lambda root: ["--max-documents", 0], 2, "--max-documents 0"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path,
    bpe: Tokenizer,
    corpus: Path,
    capfd: pytest.CaptureFixture[str],
    prepare: Callable[[Path], list[object]],
    code: int,
    said: str,
) -> None:
    save_tokenizer(bpe, tmp_path / "ours")
    save_tokenizer(bpe, tmp_path / "theirs")
    usual = ["--tokenizer", tmp_path / "ours", "--against", tmp_path / "theirs", "--corpus", corpus, "--processes", 1]
    options = [*usual, "--runs", 0, "--artifacts-dir", tmp_path / "artifacts", *prepare(tmp_path)]
    assert main(["verify", *map(str, options)]) == code
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and said in lines[0]
    assert not (tmp_path / "artifacts" / "verification").exists()


def test_a_tokenizer_on_which_the_library_panics_is_refused(
    tmp_path: Path, bpe: Tokenizer, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save_tokenizer(bpe, tmp_path / "theirs")
    spec = json.loads(bpe.to_str())
    spec["model"] = {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [["a", "b"]]}
    (tmp_path / "ours.json").write_text(json.dumps(spec))
    words = ["--tokenizer", tmp_path / "ours.json", "--against", tmp_path / "theirs", "--corpus", corpus]
    assert main(["verify", *map(str, words), "--artifacts-dir", str(tmp_path / "artifacts")]) == 4
    assert "ours.json is not a tokenizer.json" in capfd.readouterr().err.splitlines()[-1]


def test_without_artifacts_the_missing_stage_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--artifacts-dir", str(tmp_path)]) == 3
    assert "ivr distill-tokenizer" in capfd.readouterr().err


def test_nothing_of_the_fit_is_imported() -> None:
    modules = [
        f"ivr.tokenizer.verify.{name}" for name in ("stage", "causes", "documents", "repeats", "summary", "adversarial")
    ]
    code = f"import sys, {', '.join(modules)}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert {f"ivr.tokenizer.{name}" for name in FITTING}.isdisjoint(loaded)
    assert {f"ivr.encoding.{name}" for name in ("bpe", "bpe_encoder", "unigram_encoder")}.isdisjoint(loaded)
