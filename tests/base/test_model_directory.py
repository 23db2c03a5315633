"""What is refused before anything is built on it, and that a taken model loads as transformers loads it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_model import CONFIG, safetensors_bytes, tiny_model_files, tiny_vocab, write_model

from ivr.base.model_directory import lay_in_model, lay_in_tokenizer, model_files, read_model
from ivr.base.tokenizer import build_tokenizer
from ivr.base.tokenizer_directory import complete_tokenizer
from ivr.disk.writer import files_below
from ivr.errors import ConfigError, CorruptInputError, IvrError


def tokenizer_json(**changes: object) -> bytes:
    """The tiny model's tokenizer.json with parts replaced; `model_type` replaces the model's type."""
    content = json.loads(build_tokenizer(*tiny_vocab()).to_str())
    model_type = changes.pop("model_type", None)
    if model_type:
        content["model"]["type"] = model_type
    return json.dumps({**content, **changes}).encode()


def merges_with(line: str) -> bytes:
    return tiny_model_files()["merges.txt"] + line.encode()


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("config.json", json.dumps({**CONFIG, "model_type": "t5"}).encode(), ConfigError, "model_type is 't5'"),
        ("config.json", b'{"model_type": "gp', CorruptInputError, "config.json is not JSON"),
        ("config.json", json.dumps({**CONFIG, "vocab_size": 258}).encode(), CorruptInputError, "set vocab_size to 259"),
        ("model.safetensors", safetensors_bytes()[:-1], CorruptInputError, "cut short"),
        ("model.safetensors", safetensors_bytes()[:20], CorruptInputError, "cut short"),
        ("model.safetensors", b"", CorruptInputError, "is empty"),
        ("tokenizer.json", tokenizer_json(model_type="Unigram"), ConfigError, "is Unigram, not byte-level BPE"),
        ("tokenizer.json", tokenizer_json(pre_tokenizer={"type": "Whitespace"}), ConfigError, "Whitespace"),
        ("tokenizer.json", tokenizer_json(normalizer={"type": "NFKC"}), ConfigError, "NFKC"),
        ("tokenizer.json", tokenizer_json()[:500], CorruptInputError, "tokenizer.json is not JSON"),
        ("tokenizer.json", b"[]", CorruptInputError, "no tokenizer"),
        ("tokenizer_config.json", b'{"eos_token": "\\ud800"}', CorruptInputError, "half a character"),
        ("merges.txt", merges_with("Ġ h\n"), CorruptInputError, r"merges.txt line 4 \('Ġ h'\)"),
        ("merges.txt", merges_with("nonsense\n"), CorruptInputError, "line 4"),
        ("merges.txt", b"\xff", CorruptInputError, "not UTF-8"),
        ("vocab.json", json.dumps({"a": 0, "b": 2}).encode(), CorruptInputError, "ids 0..n-1"),
        (
            "model.safetensors.index.json",
            b'{"weight_map": {"a": "model-00001.safetensors"}}',
            CorruptInputError,
            "00001",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, name: str, content: bytes, error: type[IvrError], message: str) -> None:
    files = {**tiny_model_files(), name: content}
    if name.endswith("index.json"):
        del files["model.safetensors"]
    folder = write_model(tmp_path / "model", files)
    with pytest.raises(error, match=message) as caught:
        lay_in_model(folder, str(folder), tmp_path / "base")
    assert str(folder) in str(caught.value)
    assert not (tmp_path / "base").exists()


def test_a_tokenizer_with_more_ids_than_the_model_has_rows(tmp_path: Path) -> None:
    files = {"config.json": json.dumps({**CONFIG, "vocab_size": 258}).encode()}
    files["model.safetensors"] = safetensors_bytes(258)
    folder = write_model(tmp_path / "model", {**tiny_model_files(), **files})
    with pytest.raises(ConfigError, match="id 258, the model only 258"):
        lay_in_model(folder, "here", tmp_path / "base")


def test_a_merge_without_its_product_is_no_panic(tmp_path: Path) -> None:
    content = json.loads(tokenizer_json())
    content["model"]["merges"].append(["Ġ", "h"])
    folder = write_model(tmp_path / "model", {"tokenizer.json": json.dumps(content).encode()})
    with pytest.raises(ConfigError, match=r"here/tokenizer.json: merge 2 \('Ġ', 'h'\): its product 'Ġh' is not in"):
        complete_tokenizer(folder, "here", {})


def test_weights_without_a_config_are_refused(tmp_path: Path) -> None:
    files = tiny_model_files()
    del files["config.json"]
    with pytest.raises(ConfigError, match=r"no config\.json"):
        read_model(write_model(tmp_path, files), "here")


def test_safetensors_come_before_pickles_and_shards_are_whole(tmp_path: Path) -> None:
    files = {**tiny_model_files(), "pytorch_model.bin": b"pickled", "tf_model.h5": b"no"}
    names = {path.name for path in model_files(write_model(tmp_path / "both", files), "here")}
    assert names == set(tiny_model_files())
    shards = {f"model-0000{number}-of-00002.safetensors": safetensors_bytes(number) for number in (1, 2)}
    index = {"weight_map": {f"tensor{number}": name for number, name in enumerate(shards)}}
    files = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors.index.json": json.dumps(index).encode()}
    names = {path.name for path in model_files(write_model(tmp_path / "sharded", {**files, **shards}), "here")}
    assert names == {*files, *shards}


@pytest.mark.slow
def test_a_taken_tokenizer_loads_to_the_same_ids_in_a_fresh_process(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    figures = lay_in_model(folder, "here", tmp_path / "base")
    lay_in_tokenizer(tmp_path / "base", tmp_path / "original")
    assert figures["tokens"] == figures["model_rows"] == 259
    assert {path.name for path in files_below(tmp_path / "original")} == {
        "merges.txt", "tokenizer.json", "tokenizer_config.json", "vocab.json"
    }  # fmt: skip
    program = (
        "import sys, json; from transformers import AutoTokenizer; probe = json.loads(sys.argv[1])\n"
        "print(json.dumps([AutoTokenizer.from_pretrained(name).encode(probe) for name in sys.argv[2:]]))"
    )
    text = "Hello world, it's 2024!\n\n  naïve café, 한국어 🙂\t\r\n\u2028x\u0000 <|end|>   <|endoftext|> he he"
    run = subprocess.run(
        [sys.executable, "-c", program, json.dumps(text), str(tmp_path / "base"), str(tmp_path / "original")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    expected = build_tokenizer(*tiny_vocab()).encode(text).ids
    assert 258 in expected and 257 in expected
    assert json.loads(run.stdout.splitlines()[-1]) == [expected, expected]


@pytest.mark.slow
@pytest.mark.needs_gpt2
def test_gpt2_itself_has_its_known_ids(tmp_path: Path, gpt2_dir: Path) -> None:
    figures = lay_in_model(gpt2_dir, str(gpt2_dir), tmp_path / "base")
    assert figures == {"tokens": 50257, "model_rows": None, "weights_bytes": 0}
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tmp_path / "base/tokenizer.json"))
    assert tokenizer.encode("Hello world").ids == [15496, 995]
    assert tokenizer.encode("<|endoftext|>").ids == [50256]
