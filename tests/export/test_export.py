"""`ivr export`: the model for Transformers.js encodes as in Python; what cannot be is refused with its reason."""

import itertools
import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bpe import END
from tiny_run import WORDS, TinyRun, domain_documents, learnt_merges
from tokenizers import Tokenizer

from ivr.corpus.documents import read_documents
from ivr.encoding.text.tokenizer_file import load_for_text
from ivr.export.borders import parts
from ivr.export.portable import any_of, border_pattern, without_contradictions

LIBRARY = os.environ.get("IVR_JAVASCRIPT_TOKENIZERS", "")  # `make test-js` sets it
# of Oniguruma alone: what keeps what it took, conditions, calls, where a match began
FOREIGN = re.compile(r"\\[GKgk]|\(\?\(|\(\?>|\(\?#|\(\?m:|[*+?}]\+")
REPEATS = [
    " ----------",
    "aaaaaaaa",
    "000100000",
    "!!!!!???",
    "\n\n\n   x",
    "((((a))))",
    "=" * 40,
    "ㅋㅋㅋㅋㅋ",
    "......a",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """With superwords, up to the remapped tokenizer."""
    made = TinyRun(tmp_path_factory.mktemp("export"))
    documents = [
        *domain_documents(),
        *(f"{word} {repeat} {word}" for word, repeat in zip(WORDS, REPEATS, strict=False)),
    ]
    assert made("init", *made.write_inputs(learnt_merges(documents * 3, 400), documents)) == 0
    for words in (["analyze"], ["distill-tokenizer"], ["select", "--swaps", "25", "--max-words", "3"], ["remap"]):
        assert made(*words) == 0
    return made


@pytest.fixture(scope="module")
def exported(run: TinyRun) -> Path:
    assert run("export", "--for", "transformers-js", "--model-dir", str(run.paths.remapped_tokenizer)) == 0
    return run.paths.root / "export" / "transformers-js"


def texts_of(run: TinyRun) -> list[str]:
    """The run's text, its repeats by themselves, and words and marks joined at random."""
    draw = random.Random(0)
    parts = [*WORDS, *(f" {word}" for word in WORDS), " ", "\n", "'s", "1", "12", "(", ")", " the", ", ", "é", "세포주"]
    mixed = ["".join(draw.choices(parts, k=draw.randint(1, 12))) for _ in range(1000)]
    return [*read_documents(run.paths.cleaned_corpora), *REPEATS, *mixed]


def ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [found.ids for found in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


@pytest.mark.slow
def test_the_portable_tokenizer_encodes_the_run_s_text_alike(run: TinyRun, exported: Path) -> None:
    full, portable = load_for_text(run.paths.remapped_tokenizer), load_for_text(exported)
    own = list(read_documents(run.paths.cleaned_corpora))
    assert ids(full, own) == ids(portable, own)
    texts = texts_of(run)
    assert ids(full, texts) == ids(portable, texts)
    figures = json.loads((exported / "portable.json").read_text(encoding="utf-8"))
    assert figures["different_documents"] == 0 < figures["documents"]
    spec = json.loads((exported / "tokenizer.json").read_text(encoding="utf-8"))
    patterns = [step["pattern"]["Regex"] for step in spec["pre_tokenizer"]["pretokenizers"] if step["type"] == "Split"]
    assert len(patterns) == 2 and not [found for each in patterns for found in FOREIGN.findall(each)]
    full_text = (run.paths.remapped_tokenizer / "tokenizer.json").read_text(encoding="utf-8")
    assert FOREIGN.search(full_text)  # what the test looks for is there before


@pytest.mark.slow
def test_javascript_gives_the_same_ids(run: TinyRun, exported: Path, tmp_path: Path) -> None:
    if not LIBRARY or shutil.which("node") is None:
        pytest.skip("IVR_JAVASCRIPT_TOKENIZERS names no @huggingface/tokenizers, or there is no node: `make test-js`")
    # to JavaScript a literal special token is always that token
    texts = [text for text in texts_of(run) if END not in text]
    (tmp_path / "texts").write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
    words = ["node", str(Path(__file__).with_name("encode.mjs")), LIBRARY, str(exported)]
    subprocess.run([*words, str(tmp_path / "texts"), str(tmp_path / "ids")], check=True)
    found = [json.loads(line) for line in (tmp_path / "ids").read_text(encoding="utf-8").splitlines()]
    expected = ids(load_for_text(exported), texts)
    assert [text for text, a, b in zip(texts, found, expected, strict=True) if a != b] == []


def test_what_cannot_be_is_refused(run: TinyRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remapped = str(run.paths.remapped_tokenizer)
    shutil.copytree(run.paths.original_tokenizer, tmp_path / "other")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("a person's")
    for words, code, said in (
        (["--for", "gguf"], 2, "llama.cpp's Unigram knows no byte alphabet"),
        (["--for", "transformers-js"], 3, "run `ivr train` first"),
        (["--for", "transformers-js", "--model-dir", str(tmp_path / "other")], 3, "has not the tokenizer of"),
        (["--model-dir", remapped, "--output", str(tmp_path / "mine")], 2, "mine"),
        (["--model-dir", remapped, "--output", str(run.paths.base_model)], 2, "stages write there"),
        (["--model-dir", remapped, "--output", remapped], 2, "stages write there"),
    ):
        capsys.readouterr()
        assert run("export", *words) == code
        assert said in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_for_transformers_the_folder_is_copied(run: TinyRun, tmp_path: Path) -> None:
    assert run("export", "--model-dir", str(run.paths.remapped_tokenizer), "--output", str(tmp_path / "to")) == 0
    copied = {path.name: path.read_bytes() for path in (tmp_path / "to").iterdir() if path.name[0] != "."}
    there = {path.name: path.read_bytes() for path in run.paths.remapped_tokenizer.iterdir() if path.name[0] != "."}
    assert copied == there


def test_a_rest_that_goes_on_in_two_ways_is_left_out() -> None:
    borders = without_contradictions({"aaaa": ["a", "aa", "a"], "aaa": ["aa", "a"], "baaa": ["b", "a", "aa"]})
    assert list(borders) == ["aaa", "aaaa"]  # of "baaa" the rest "aaa" would be cut as "aa", "a"
    pattern = border_pattern(borders)
    assert re.findall(pattern.replace(r"\z", r"\Z"), "aaa") == ["aa", "a"]


@given(st.sets(st.text("ab", max_size=9), min_size=1))
@settings(max_examples=200, deadline=None)
def test_counted_repeats_are_the_same_texts(texts: set[str]) -> None:
    pattern = re.compile(any_of(texts).replace(r"\z", r"\Z"))
    others = ("".join(each) for size in range(10) for each in itertools.product("ab", repeat=size))
    assert {text for text in others if pattern.match(text)} == texts


def test_a_repeat_of_many_lengths_takes_no_more_room_than_one_of_few() -> None:
    few, many = (any_of(["x" + "ab" * count for count in range(3, most)]) for most in (6, 200))
    assert len(many) <= len(few) + 3


def test_parts_are_few_and_the_model_splits_each_as_the_whole(run: TinyRun) -> None:
    full = load_for_text(run.paths.remapped_tokenizer)
    words = [word[::-1] for word in WORDS if len(full.encode(word[::-1]).tokens) > 2]
    assert words
    for word in words:
        tokens = full.encode(word).tokens
        found = parts(tokens, full.model)
        assert "".join(found) == "".join(tokens)
        assert [piece.value for part in found for piece in full.model.tokenize(part)] == tokens
    assert any(len(parts(full.encode(word).tokens, full.model)) == 1 for word in words)
    assert parts(["-", "--", "--"], full.model) == ["-", "--", "--"], "repeats by tokens"
