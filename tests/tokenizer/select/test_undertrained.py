"""Among ids that cost the same, those never produced leave first, the least trained ones first."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from ivr.tokenizer.select.undertrained import distances_from_unused, eviction_order, read_input_rows

TOKENS = [b"\xc0", b"\xff", b"a", b"ab", b"abc", b"abd", b""]


def rows() -> np.ndarray:
    """Unused bytes near (1, 0); id 4 is like them, id 3 a little, id 5 not at all."""
    return np.array([[1, 0.1], [1, -0.1], [0, 1], [1, 1], [1, 0], [-1, 0], [0, 0]], np.float64)


def test_distance_from_bytes_that_no_text_holds() -> None:
    distances = distances_from_unused(rows(), TOKENS)
    assert distances is not None
    np.testing.assert_allclose(distances[[4, 3, 2, 5, 6]], [0, 1 - np.sqrt(0.5), 1, 2, 0], atol=1e-12)


def test_without_such_bytes_there_is_no_answer() -> None:
    assert distances_from_unused(rows()[2:], TOKENS[2:]) is None


def test_never_produced_then_least_trained_then_learnt_last() -> None:
    used = np.array([0, 0, 0, 7, 0, 0, 0])
    assert eviction_order([3, 4, 5], used, np.array([0, 0, 0, 0.0, 0.5, 0.2, 0])) == [5, 4, 3]
    assert eviction_order([3, 4, 5], used, None) == [5, 4, 3]
    assert eviction_order([3, 4, 5], np.zeros(7), np.array([0, 0, 0, 0.3, 0.5, 0.2, 0])) == [5, 3, 4]


def write_model(folder: Path, tensors: dict[str, np.ndarray], kind: str = "gpt2") -> Path:
    folder.mkdir(exist_ok=True)
    sizes = {"vocab_size": 7, "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1}
    (folder / "config.json").write_text(json.dumps({"model_type": kind, **sizes}))
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_rows_are_read_from_either_name_and_type(tmp_path: Path) -> None:
    for name, dtype in (("wte.weight", np.float32), ("transformer.wte.weight", np.float16)):
        folder = write_model(tmp_path, {name: rows().astype(dtype), "h.0.attn.c_attn.weight": np.zeros((2, 2))})
        found = read_input_rows(folder, 6)
        assert found is not None
        np.testing.assert_allclose(found, rows()[:6], atol=1e-3)


def test_rows_of_another_architecture_in_bfloat16(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    folder = write_model(tmp_path, {}, "llama")
    tensors = {"model.embed_tokens.weight": torch.tensor(rows()).bfloat16(), "lm_head.weight": torch.zeros(7, 2)}
    save_torch(tensors, folder / "model.safetensors")
    found = read_input_rows(folder, 6)
    assert found is not None
    np.testing.assert_allclose(found, rows()[:6], atol=1e-2)


def test_what_cannot_be_read_gives_none(tmp_path: Path) -> None:
    assert read_input_rows(tmp_path / "absent", 6) is None
    folder = write_model(tmp_path / "bad", {})
    (folder / "model.safetensors").write_bytes(b"no tensors")
    assert read_input_rows(folder, 6) is None
    assert read_input_rows(write_model(folder, {"wpe.weight": rows()}), 6) is None
    assert read_input_rows(write_model(folder, {"wte.weight": rows()}), 8) is None
