"""Norms and neighbours of rows against numpy on whole matrices, in every dtype, whatever the blocks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ivr.errors import CorruptInputError
from ivr.report import rows
from ivr.report.rows import all_norms, nearest_rows, read_matrix, row_changes

NAME = "transformer.wte.weight"


def write(folder: Path, matrix: torch.Tensor) -> Path:
    folder.mkdir()
    save_file({"transformer.h.0.ln_1.weight": torch.ones(3), NAME: matrix}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_rows_of_every_dtype_are_those_of_torch(tmp_path: Path, dtype: torch.dtype) -> None:
    matrix = torch.randn(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    folder = write(tmp_path / "model", matrix)
    for name in (NAME, "wte.weight"):  # files of the Hub lack the prefix
        read = read_matrix(folder, name, "mend it")
        assert np.array_equal(read.rows([3, 0, 39]), matrix[[3, 0, 39]].double().numpy())
    assert np.allclose(all_norms(read, 40), matrix.double().norm(dim=1).numpy())


def test_neighbours_are_those_with_the_largest_cosine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.randn(60, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    matrix[7] = 0  # has no direction, and is nobody's neighbour but by cosine 0
    matrix[50:] = 100 * matrix[8]  # rows beyond the vocabulary are not looked at
    read = read_matrix(write(tmp_path / "model", matrix), NAME, "mend it")
    whole = matrix[:50] / matrix[:50].norm(dim=1, keepdim=True).clamp_min(1e-300)
    cosines = (whole @ whole.T).fill_diagonal_(-2).numpy()
    expected = np.argsort(-cosines, axis=1)[:, :3]
    for block in (8192, 7):
        monkeypatch.setattr(rows, "BLOCK_ROWS", block)
        found = nearest_rows(read, [8, 3], 50)
        assert [[token_id for token_id, _ in row] for row in found] == [expected[8].tolist(), expected[3].tolist()]
        assert found[0][0][1] == pytest.approx(cosines[8, expected[8, 0]], abs=1e-6)


def test_a_row_that_training_turned(tmp_path: Path) -> None:
    before = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    after = torch.tensor([[0.0, 3.0], [0.0, 2.0], [1.0, 1.0]])
    read = [
        read_matrix(write(tmp_path / name, matrix), NAME, "mend it") for name, matrix in (("a", before), ("b", after))
    ]
    turned, kept = row_changes(read[0], read[1], [0, 1], [0], 3)
    assert (turned.norm_before, turned.norm_after, turned.cosine) == (1.0, 3.0, 0.0)
    assert turned.nearest_before[0][0] == 2 and turned.nearest_after[0] == (1, 1.0)
    assert kept.cosine == 1.0 and kept.nearest_before == ()


@pytest.mark.parametrize("spoilt", ["cut", "no such tensor", "a list", "beyond the end", "nan"])
def test_what_is_no_matrix_is_refused_in_a_sentence(tmp_path: Path, spoilt: str) -> None:
    folder = write(tmp_path / "model", torch.full((4, 2), float("nan")) if spoilt == "nan" else torch.ones(4, 2))
    path = folder / "model.safetensors"
    data = path.read_bytes()
    name = "lm_head.weight" if spoilt == "no such tensor" else NAME
    if spoilt == "cut":
        path.write_bytes(data[:-8])
    elif spoilt in ("a list", "beyond the end"):
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header[NAME]["shape"] = [400, 2]
        text = json.dumps([] if spoilt == "a list" else header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(CorruptInputError, match=r"run `ivr train|mend it"):
        matrix = read_matrix(folder, name, "mend it")
        row_changes(matrix, matrix, [0], [0], 4)
