"""Weights in every form that transformers loads, or that people bring: taken, or refused in one sentence. No torch."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load
from tiny_model import CONFIG, safetensors_bytes, tensor_shapes, tiny_model_files, write_model

from ivr.base import model_directory
from ivr.base.model_directory import check_model, lay_in_model, model_files
from ivr.base.model_files import choose_weights
from ivr.base.weights.stored_tensors import read_header
from ivr.errors import ConfigError, CorruptInputError, IvrError

Files = dict[str, bytes]
POINTER = b"version https://git-lfs.invalid/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 523\n"


@pytest.fixture(autouse=True)
def no_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_directory, "check_auto_tokenizer", lambda folder, origin: None)


def renamed(change: Callable[[str], str]) -> bytes:
    return safetensors_bytes(shapes={change(name): shape for name, shape in tensor_shapes().items()})


def sharded(index_name: str = "model.safetensors.index.json", stem: str = "model") -> Files:
    names = sorted(tensor_shapes())
    files: Files = {}
    weight_map = {}
    for number, part in enumerate((names[:5], names[5:]), start=1):
        shard = f"{stem}-{number:05d}-of-00002.safetensors"
        files[shard] = safetensors_bytes(shapes={name: tensor_shapes()[name] for name in part})
        weight_map |= dict.fromkeys(part, shard)
    return {**files, index_name: json.dumps({"weight_map": weight_map}).encode()}


def config(**changes: object) -> Files:
    return {"config.json": json.dumps({**CONFIG, **changes}).encode()}


def without_weights() -> Files:
    return {name: content for name, content in tiny_model_files().items() if name != "model.safetensors"}


def prefixed(name: str) -> str:
    return f"transformer.{name}"


@pytest.mark.parametrize(
    ("weights", "first"),
    [
        ({"model.safetensors": renamed(prefixed)}, "transformer.h.0.attn.c_attn.bias"),
        ({"model.safetensors": renamed("_orig_mod.transformer.{}".format)}, "transformer.h.0.attn.c_attn.bias"),
        ({"model.safetensors": renamed("module._orig_mod.{}".format)}, "transformer.h.0.attn.c_attn.bias"),
        (
            {"model.safetensors": renamed("model.transformer._fsdp_wrapped_module.{}".format)},
            "transformer.h.0.attn.c_attn.bias",
        ),
        (sharded(), "h.0.attn.c_attn.bias"),
        ({"model.fp16.safetensors": safetensors_bytes(dtype="F16", size=2)}, "h.0.attn.c_attn.bias"),
        (sharded("model.safetensors.index.bf16.json", "model.bf16"), "h.0.attn.c_attn.bias"),
        (
            {
                "model.safetensors": safetensors_bytes(
                    shapes={
                        **tensor_shapes(),
                        "h.0.attn.bias": [1, 1, 32, 32],
                        "h.0.attn.masked_bias": [],
                        "score.weight": [2, 4],
                    }
                )
            },
            "h.0.attn.bias",
        ),
        (
            {"model.safetensors": safetensors_bytes(shapes={**tensor_shapes(), "lm_head.weight": [259, 4]})},
            "h.0.attn.c_attn.bias",
        ),
    ],
    ids=["prefix", "compiled", "parallel", "fsdp", "shards", "variant", "sharded variant", "buffers", "tied head"],
)
def test_taken_as_one_file_that_every_stage_reads(tmp_path: Path, weights: Files, first: str) -> None:
    folder = write_model(tmp_path / "model", {**without_weights(), **weights})
    check_model(folder, "here")
    figures = lay_in_model(folder, "here", tmp_path / "base")
    laid = tmp_path / "base/model.safetensors"
    tensors = read_header(laid, "base")
    assert sorted(tensor.name for tensor in tensors)[0] == first
    assert len(tensors) >= len(tensor_shapes())
    assert figures["weights_bytes"] == laid.stat().st_size
    assert figures["weights"] in weights
    assert [path.name for path in (tmp_path / "base").glob("model*")] == ["model.safetensors"]
    stored = {name: value for text in weights.values() if text[:1] != b"{" for name, value in load(text).items()}
    values = load(laid.read_bytes())
    assert sum(value.size for value in values.values()) == sum(value.size for value in stored.values())


def test_a_file_with_transformers_names_is_copied_byte_for_byte(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    lay_in_model(folder, "here", tmp_path / "base")
    assert (tmp_path / "base/model.safetensors").read_bytes() == safetensors_bytes()


def changed(**shapes: list[int] | None) -> bytes:
    """The tiny model's weights with shapes changed, and tensors of shape None left out; `__` stands for a dot."""
    new = {name.replace("__", "."): shape for name, shape in shapes.items()}
    return safetensors_bytes(shapes={k: v for k, v in {**tensor_shapes(), **new}.items() if v is not None})


REFUSED: dict[str, tuple[Files, type[IvrError], str]] = {
    "more rows": (
        {"model.safetensors": safetensors_bytes(304)},
        CorruptInputError,
        "set vocab_size to 304 in config.json",
    ),
    "fewer rows": ({"model.safetensors": safetensors_bytes(200)}, CorruptInputError, "set vocab_size to 200"),
    "more positions": ({"model.safetensors": changed(wpe__weight=[64, 4])}, CorruptInputError, "set n_positions to 64"),
    "another width": (
        {"model.safetensors": changed(ln_f__bias=[8])},
        CorruptInputError,
        "ln_f.bias is 8, and 4 by config",
    ),
    "a tensor missing": (
        {"model.safetensors": changed(h__0__ln_1__bias=None)},
        CorruptInputError,
        "lacks h.0.ln_1.bias",
    ),
    "a layer more": (
        {"model.safetensors": changed(h__1__ln_1__bias=[4])},
        CorruptInputError,
        "2 layers, config.json says n_layer 1",
    ),
    "one tensor twice": (
        {"model.safetensors": changed(transformer__wte__weight=[259, 4])},
        CorruptInputError,
        "which are one tensor",
    ),
    "an untied head missing": (config(tie_word_embeddings=False), CorruptInputError, "has no lm_head.weight"),
    "integers": ({"model.safetensors": safetensors_bytes(dtype="I8", size=1)}, ConfigError, "is stored as I8"),
    "an unknown dtype": (
        {"model.safetensors": safetensors_bytes(dtype="F4", size=1)},
        ConfigError,
        "is stored as 'F4'",
    ),
    "quantised": (config(quantization_config={"bits": 4}), ConfigError, "is quantised"),
    "an adapter beside weights": ({"adapter_config.json": b"{}"}, ConfigError, "holds an adapter"),
    "an adapter in the weights": ({"model.safetensors": changed(h__0__lora_A=[4, 4])}, ConfigError, "not merged"),
    "code for the model": (config(auto_map={"AutoModel": "x.Y"}), ConfigError, "asks for code of its own"),
    "code for the tokenizer": (
        {"tokenizer_config.json": b'{"auto_map": {"a": "b"}}'},
        ConfigError,
        "tokenizer_config.json asks for code",
    ),
    "no size": (config(n_embd="4"), ConfigError, "n_embd is '4', not a size"),
    "no such activation": (config(activation_function="gelu_nwe"), ConfigError, "cannot build a gpt2"),
    "a pointer for weights": (
        {"model.safetensors": POINTER},
        CorruptInputError,
        "model.safetensors is a Git LFS pointer",
    ),
    "a pointer for merges": ({"merges.txt": POINTER}, CorruptInputError, "merges.txt is a Git LFS pointer"),
    "an empty merges.txt": ({"merges.txt": b""}, CorruptInputError, "merges.txt is empty"),
    "generation": ({"generation_config.json": b"[]"}, CorruptInputError, "generation_config.json is no JSON object"),
    "another case": ({"Tokenizer_Config.json": b"{}"}, ConfigError, "rename it to tokenizer_config.json"),
    "a tensor with a terminal's name": (
        {"model.safetensors": safetensors_bytes(shapes={"a\x1b[2J": [1]})},
        CorruptInputError,
        "tensor called 'a\\\\x1b",
    ),
    "gguf": ({"x.Q4.gguf": b"GGUF"}, ConfigError, "weights as GGUF (x.Q4.gguf)"),
    "tensorflow": ({"tf_model.h5": b"x"}, ConfigError, "another framework than PyTorch (tf_model.h5)"),
    "another name": ({"ckpt.pt": b"x"}, ConfigError, "under a name that transformers does not load (ckpt.pt)"),
    "another safetensors": ({"weights.safetensors": b"x"}, ConfigError, "(weights.safetensors)"),
    "a shard outside": (
        {"model.safetensors.index.json": b'{"weight_map": {"wte.weight": "../../secret.safetensors"}}'},
        CorruptInputError,
        "names '../../secret.safetensors' as a shard",
    ),
    "an absolute shard": (
        {"model.safetensors.index.json": b'{"weight_map": {"wte.weight": "/etc/passwd"}}'},
        CorruptInputError,
        "'/etc/passwd'",
    ),
    "an index of nothing": ({"model.safetensors.index.json": b"[]"}, CorruptInputError, "is no index of shards"),
    "a versioned tokenizer that is not there": (
        {"tokenizer_config.json": b'{"fast_tokenizer_files": ["tokenizer.4.0.0.json"]}'},
        CorruptInputError,
        "'tokenizer.4.0.0.json'",
    ),
}
INSTEAD_OF_WEIGHTS = (
    "gguf",
    "tensorflow",
    "another name",
    "another safetensors",
    "a shard outside",
    "an absolute shard",
    "an index of nothing",
)


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_names_and_headers(tmp_path: Path, case: str) -> None:
    files, error, message = REFUSED[case]
    base = without_weights() if case in INSTEAD_OF_WEIGHTS else tiny_model_files()
    folder = write_model(tmp_path / "model", {**base, **files})
    with pytest.raises(error) as caught:
        check_model(folder, str(folder))
    said = str(caught.value)
    assert message.replace("\\\\", "\\") in said
    assert str(folder) in said and "\n" not in said
    with pytest.raises(error):
        lay_in_model(folder, str(folder), tmp_path / "base")
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.json", "chat_template.jinja"])
def test_links_that_point_nowhere_and_folders(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "model", {**tiny_model_files(), "chat_template.jinja": b"x"})
    (folder / name).unlink()
    (folder / name).symlink_to("../blobs/0123")
    with pytest.raises(CorruptInputError, match=rf"{name} is a link to \.\./blobs/0123, which is not there"):
        check_model(folder, "here")
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(ConfigError, match=f"{name} is a directory"):
        check_model(folder, "here")


def test_a_shard_that_is_a_link_to_nothing(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", {**without_weights(), **sharded()})
    (folder / "model-00002-of-00002.safetensors").unlink()
    (folder / "model-00002-of-00002.safetensors").symlink_to("gone")
    with pytest.raises(CorruptInputError, match=r"model-00002-of-00002\.safetensors is a link to gone"):
        model_files(folder, "here")


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b'{"wte.weight": {"dtype": "F32", "shape": [1e400], "data_offsets": [0, 4]}}',
        b'{"wte.weight": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b'{"wte.weight": {"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]}}',
        b'{"wte.weight": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}',
        b'{"wte.weight": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "b": 3}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 5]}}',
        b'{"a": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}}',
        b'{"\\ud800": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        b"\xff",
        b"null",
    ],
)
def test_headers_from_hell(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(CorruptInputError):
        read_header(path, "x")
    path.write_bytes((2**63).to_bytes(8, "little") + header)
    with pytest.raises(CorruptInputError, match="cut short or damaged"):
        read_header(path, "x")


def test_what_travels_beside_weights_and_tokenizer(tmp_path: Path) -> None:
    extra = {
        "chat_template.jinja": b"{{ messages }}",
        "additional_chat_templates/tool.jinja": b"{{ tools }}",
        "LICENSE.txt": b"MIT",
        "NOTICE": b"n",
        "README.md": b"---\nlicense: mit\n---\n",
        "generation_config.json": b'{"top_k": 5}',
    }
    unwanted = {
        "training_args.bin": b"x",
        "modeling.py": b"raise SystemExit",
        "flax_model.msgpack": b"x",
        "pytorch_model.bin": b"x",
    }
    folder = write_model(tmp_path / "model", {**tiny_model_files(), **extra, **unwanted})
    lay_in_model(folder, "here", tmp_path / "base")
    for name, content in extra.items():
        assert (tmp_path / "base" / name).read_bytes() == content
    assert not any((tmp_path / "base" / name).exists() for name in unwanted)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model.safetensors", "pytorch_model.bin"], "model.safetensors"),
        (["pytorch_model.bin", "tf_model.h5", "model.fp16.safetensors"], "pytorch_model.bin"),
        (
            ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "pytorch_model.bin"],
            "model.safetensors.index.json",
        ),
        (["pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"], "pytorch_model.bin.index.json"),
        (["model.fp16.safetensors", "model.bf16.safetensors", "model.ema.safetensors"], "model.bf16.safetensors"),
        (["model.safetensors.index.fp16.json", "pytorch_model.fp32.bin"], "model.safetensors.index.fp16.json"),
        (["pytorch_model.bin.index.fp16.json"], "pytorch_model.bin.index.fp16.json"),
        (["onnx/model.safetensors", "config.json", "model.weird name.safetensors"], None),
    ],
)
def test_which_weights_are_chosen(names: list[str], expected: str | None) -> None:
    choice = choose_weights(names)
    assert (choice and choice.name) == expected
