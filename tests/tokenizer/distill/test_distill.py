"""`ivr distill-tokenizer` as a user calls it: the directory, its certificate, and how transformers loads it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_run import NASTY, TinyRun, domain_documents
from tokenizers import Tokenizer

from ivr.analysis.pretokens import pretoken_encoder
from ivr.analysis.tables import merge_tables, read_pretoken_frequency
from ivr.corpus.documents import read_documents
from ivr.disk.digest import sha256_file
from ivr.encoding.byte_alphabet import to_alphabet

LOAD = """
import json, sys
from transformers import AutoTokenizer
texts = json.load(open(sys.argv[1]))
for folder in sys.argv[2:]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True) for text in texts]
    back = [tokenizer.decode(row, clean_up_tokenization_spaces=False) for row in ids]
    print(json.dumps({"ids": ids, "texts": back, "eos": tokenizer.eos_token_id, "size": len(tokenizer),
                      "fast": tokenizer.is_fast}))
    tokenizer.save_pretrained(folder + "-saved")
"""


def load_in_a_fresh_process(texts: list[str], folders: list[Path], tmp_path: Path) -> list[dict[str, Any]]:
    """What AutoTokenizer makes of each folder; it also saves each beside itself, with the suffix -saved."""
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    command = [sys.executable, "-c", LOAD, str(tmp_path / "texts.json"), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def certificate(run: TinyRun) -> dict[str, Any]:
    return json.loads(run.paths.certificate.read_text(encoding="utf-8"))


def test_every_id_keeps_its_string(distilled: TinyRun) -> None:
    base, result = distilled.tokenizer("original"), distilled.tokenizer("distilled_unigram")
    assert result.get_vocab() == base.get_vocab()
    assert json.loads(result.to_str())["model"]["type"] == "Unigram"
    assert "merges" not in json.loads(result.to_str())["model"]
    for token_id in range(base.get_vocab_size()):
        assert result.decode([token_id], skip_special_tokens=False) == base.decode(
            [token_id], skip_special_tokens=False
        )


def test_documents_are_encoded_alike_but_for_the_pretokens_of_the_certificate(distilled: TinyRun) -> None:
    base, result = distilled.tokenizer("original"), distilled.tokenizer("distilled_unigram")
    named = {row["pretoken"] for row in certificate(distilled)["mismatches"]}
    alike = 0
    for document in read_documents(distilled.paths.cleaned_corpora):
        pretokens = {document[begin:end] for _, (begin, end) in base.pre_tokenizer.pre_tokenize_str(document)}
        if not pretokens & named:
            assert result.encode(document).ids == base.encode(document).ids
            alike += 1
    assert alike > 100


def test_the_certificate_lists_every_mismatch_with_a_cause(distilled: TinyRun) -> None:
    tables = [
        read_pretoken_frequency(file)
        for file in (distilled.paths.pretoken_frequency, distilled.paths.general_pretoken_frequency)
    ]
    table = merge_tables(tables)
    base, result = (pretoken_encoder(distilled.tokenizer(name)) for name in ("original", "distilled_unigram"))
    wrong = {
        pretoken: count
        for pretoken, count in zip(table.pretokens, table.counts_P.tolist(), strict=True)
        if base.encode(pretoken).ids != result.encode(pretoken).ids
    }
    written = certificate(distilled)
    assert {row["pretoken"]: row["count"] for row in written["mismatches"]} == wrong
    assert all(row["cause"] for row in written["mismatches"])
    corpus = written["corpus"]
    assert (corpus["types"], corpus["occurrences"]) == (len(table), table.counts_P.sum())
    assert (corpus["mismatched_types"], corpus["mismatched_occurrences"]) == (len(wrong), sum(wrong.values()))
    assert corpus["agreement_percent"] == pytest.approx(100 * (1 - sum(wrong.values()) / table.counts_P.sum()))
    paths = distilled.paths
    assert written["base_tokenizer_sha256"] == sha256_file(paths.original_tokenizer / "tokenizer.json")
    assert written["result_tokenizer_sha256"] == sha256_file(paths.distilled_tokenizer / "tokenizer.json")


@pytest.mark.slow
def test_more_mismatches_than_allowed_leave_the_old_artifact(
    fresh: TinyRun, monkeypatch: pytest.MonkeyPatch, said: Callable[[], str]
) -> None:
    from ivr.tokenizer.distill import certificate as module

    build = module.build_certificate

    def with_one_more(*arguments: Any, **named: Any) -> dict[str, Any]:
        found = build(*arguments, **named)
        found["corpus"]["mismatched_types"] += 1
        return found

    monkeypatch.setattr(module, "build_certificate", with_one_more)
    folder = fresh.paths.distilled_tokenizer
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    assert fresh("distill-tokenizer", "--allow-mismatches", "0") == 2
    assert "--allow-mismatches" in said()
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()} == before


def test_before_analyze_it_names_the_command(tmp_path: Path, said: Callable[[], str]) -> None:
    assert TinyRun(tmp_path)("distill-tokenizer") == 3
    assert "run `ivr init` first" in said()


@pytest.mark.slow
def test_two_runs_write_the_same_bytes(fresh: TinyRun) -> None:
    folder = fresh.paths.distilled_tokenizer
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert fresh("distill-tokenizer", "--force") == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.slow
def test_transformers_loads_it_beside_a_gpt2_config_and_saves_it_whole(remapped: TinyRun, tmp_path: Path) -> None:
    """The trap: without tokenizer_class a directory whose config says gpt2 is read as another tokenizer."""
    names = ("distilled_unigram", "remapped")
    folders = []
    for name in names:
        folder = tmp_path / name
        shutil.copytree(remapped.paths.root / "tokenizers" / name, folder)
        shutil.copy(remapped.paths.base_model / "config.json", folder)
        bare = tmp_path / f"{name}-bare"
        shutil.copytree(folder, bare)
        config = json.loads((bare / "tokenizer_config.json").read_text())
        assert config.pop("tokenizer_class") == "PreTrainedTokenizerFast"
        (bare / "tokenizer_config.json").write_text(json.dumps(config))
        folders += [folder, bare]
    texts = [*NASTY, *domain_documents(10, seed=9)]
    loaded = dict(zip(folders, load_in_a_fresh_process(texts, folders, tmp_path), strict=True))
    for name in names:
        tokenizer, found = remapped.tokenizer(name), loaded[tmp_path / name]
        expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        assert found["ids"] == expected
        assert found["texts"] == texts and found["fast"] is True
        assert (found["eos"], found["size"]) == (tokenizer.token_to_id("<|endoftext|>"), tokenizer.get_vocab_size())
        assert loaded[tmp_path / f"{name}-bare"]["ids"] != expected  # transformers 5: why the class is written
        saved = Tokenizer.from_file(str(tmp_path / f"{name}-saved" / "tokenizer.json"))
        assert json.loads(saved.to_str()) == json.loads(
            Tokenizer.from_file(str(tmp_path / name / "tokenizer.json")).to_str()
        )
        again = json.loads((tmp_path / f"{name}-saved" / "tokenizer_config.json").read_text())
        assert again["eos_token"] == "<|endoftext|>"
    saved_folders = [tmp_path / f"{name}-saved" for name in names]
    for folder in saved_folders:
        shutil.copy(remapped.paths.base_model / "config.json", folder)
    for name, found in zip(names, load_in_a_fresh_process(texts, saved_folders, tmp_path), strict=True):
        assert found["ids"] == loaded[tmp_path / name]["ids"]


def test_the_certificate_says_what_was_compared_beyond_pretokens(distilled: TinyRun) -> None:
    written = certificate(distilled)
    assert next(iter(written)) == "summary" and "\n" not in written["summary"]
    files = {row["path"]: row for row in written["corpora"]["files"]}
    cleaned = sorted(distilled.paths.cleaned_corpora.glob("*.txt"))
    general = sorted(distilled.paths.general_cleaned.glob("*.txt"))
    assert set(files) == {str(file.relative_to(distilled.paths.root)) for file in [*cleaned, *general]}
    for path, row in files.items():
        assert row["sha256"] == sha256_file(distilled.paths.root / path)
    documents = [text for file in [*cleaned, *general] for text in read_documents(file)]
    assert written["documents"]["documents"] == len(documents), "few enough here to be compared whole"
    assert written["documents"]["different_decodings"] == written["documents"]["not_restored"] == 0
    assert written["runs"]["max_length"] == 12 and written["runs"]["strings"] > 1500
    assert written["runs"]["both_sides"] > 0 and written["runs"]["beside_two_neighbours"] == "to length 4"
    assert "12 alone and beside one character that shares a token, to length 4 between two)" in written["summary"]
    assert written["runs"]["mismatched"] == sum(row["mismatches"] for row in written["runs"]["families"])
    hard = written["adversarial"]
    assert hard["scores_cannot"] + hard["not_fixed"] == hard["strings"] - hard["equal"] and hard["strings"] == 5000
    assert set(hard["causes"]) <= set(written["causes"])


def test_margins_are_those_of_the_file(distilled: TinyRun) -> None:
    """Against every segmentation of the strings that the certificate names, scored by the file."""
    found = certificate(distilled)["margins"]
    spec = json.loads((distilled.paths.distilled_tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    scores = dict(spec["model"]["vocab"])
    assert found["closest"] and found["smallest"] == found["closest"][0]["margin"]

    def totals(text: str, upto: int) -> list[float]:
        if not text:
            return [0.0]
        each = [
            scores[text[:size]] + rest
            for size in range(1, len(text) + 1)
            if text[:size] in scores
            for rest in totals(text[size:], upto)
        ]
        return sorted(each, reverse=True)[:upto]

    for row in found["closest"]:
        symbols = row["string"][1:-1] if row["string"].startswith("<") else to_alphabet(row["string"].encode())
        best, second = totals(symbols, 2)
        assert best - second == row["margin"]


def test_scores_survive_the_library_bit_for_bit(distilled: TinyRun, tmp_path: Path) -> None:
    """Written, read by `tokenizers`, written by it and read by Python: the same floats, and integers all of them."""
    file = distilled.paths.distilled_tokenizer / "tokenizer.json"

    def scores(path: Path) -> list[tuple[str, str]]:
        vocabulary = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
        assert all(float(score).is_integer() for _, score in vocabulary)
        return [(token, float(score).hex()) for token, score in vocabulary]

    Tokenizer.from_file(str(file)).save(str(tmp_path / "again.json"))
    Tokenizer.from_file(str(tmp_path / "again.json")).save(str(tmp_path / "twice.json"))
    assert scores(file) == scores(tmp_path / "again.json") == scores(tmp_path / "twice.json")
