"""Records are read through one schema: what is wrong is named with its file, its field and the way out."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.disk.writer import write_json
from ivr.errors import CorruptInputError
from ivr.manifest import FileRecord, Manifest
from ivr.schema import MOST_LEVELS, loads_text, parse_record, read_record, read_table, write_sealed
from ivr.tokenizer.remap.rules import read_rules
from ivr.training.metrics import read_metrics


@dataclass(frozen=True)
class Note:
    name: str
    sizes: list[int] = field(default_factory=list)
    checksum: str = ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"name": 3}', "a.json, name = 3: input should be a valid string; delete it"),
        (b'{"name": "a", "sizes": ["1"]}', "a.json, sizes.0 = '1': input should be a valid integer; delete it"),
        (b'{"sizes": []}', "a.json, name: this field is missing; delete it"),
        (b'{"name": "a", "nome": 1}', "a.json, nome: a field that this version does not know; delete it"),
        (b'{"name": "a", "sizes": [1e999]}', "a.json: sizes.0 = inf, which is no finite number; delete it"),
        (b'{"name": "a", "sizes": [9223372036854775809]}', "a.json: sizes.0 is a whole number beyond 2^63; delete it"),
        (b'{"name": "\\ud800"}', "a.json: name = '\\ud800' is half a character; delete it"),
        (b'{"name": "\xff"}', "a.json is not UTF-8 (invalid start byte at byte 10); delete it"),
        (b'{"name": ', "a.json is not JSON, perhaps cut short"),
        (b"[" * (MOST_LEVELS + 2) + b"]" * (MOST_LEVELS + 2), "is nested more than 100 deep; delete it"),
        (b"[" * 1_000_000, "a.json is nested too deep"),
        (b'{"name": "a", "checksum": "0"}', "a.json: it was altered since it was written"),
    ],
)
def test_what_is_wrong_is_named(text: bytes, said: str) -> None:
    with pytest.raises(CorruptInputError) as caught:
        parse_record(text, Note, "a.json", "delete it")
    assert said in str(caught.value) and str(caught.value).startswith("a.json")


def test_json_of_elsewhere_with_half_a_character_is_refused_and_a_whole_one_taken() -> None:
    for text in (b'{"a": "\\ud800"}', b'{"\\udfff": 1}', b'["\xed\xa0\x80"]'):
        with pytest.raises(ValueError, match="half a character"):
            loads_text(text)
    assert loads_text(b'["\\ud83d\\ude42", "\xed\x95\x9c"]') == ["🙂", "한"]


def test_a_sealed_record_comes_back_and_any_other_byte_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    write_sealed(path, {"name": "세포", "sizes": [1, 2]})
    assert read_record(path, Note, "delete it").sizes == [1, 2]
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            with pytest.raises(CorruptInputError):
                read_record(path, Note, "delete it")
    path.write_text(json.dumps(json.loads(whole), ensure_ascii=False), encoding="utf-8")
    with pytest.raises(CorruptInputError, match="altered since it was written"):
        read_record(path, Note, "delete it")


def test_a_record_that_is_a_folder_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "note.json").mkdir()
    with pytest.raises(CorruptInputError, match="cannot be read"):
        read_record(tmp_path / "note.json", Note, "delete it")
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path / "none.json", Note, "delete it")


def bare(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "checksum": ""}


SPOILT: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda record: record["outputs"][0].pop("path"), "outputs.0.path: this field is missing"),
    (lambda record: record["outputs"][0].pop("sha256"), "outputs.0.sha256: this field is missing"),
    (lambda record: record["inputs"][0].pop("bytes"), "inputs.0.bytes: this field is missing"),
    (lambda record: record.update(inputs=None), "inputs = None"),
    (lambda record: record.update(wall_seconds="3"), "wall_seconds = '3'"),
    (lambda record: record.update(started_at=7), "started_at = 7"),
    (lambda record: record["results"].update(bits_per_byte={"domain": {"base": "x"}}), "results, bits_per_byte.domain"),
    (lambda record: record["results"].update(bits_per_byte=[1]), "results, bits_per_byte = [1]"),
    (lambda record: record["results"].update(heldout_tokens_before="many"), "results, heldout_tokens_before = 'many'"),
    (lambda record: record["results"].update(sampling={"base": {}}), "sampling.base.bytes_per_token: this field"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILT)
@pytest.mark.parametrize("command", ["status", "report"])
def test_a_manifest_with_a_wrong_field_is_exit_4_and_the_field_is_named(
    spoil: Callable[[dict[str, Any]], object],
    said: str,
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = ArtifactPaths(tmp_path)
    row = FileRecord("a.txt", "0" * 64, 3)
    Manifest("evaluate", "", {}, "", [row], [row], {"bits_per_byte": {}}).write(paths.manifest("evaluate"))
    record = bare(json.loads(paths.manifest("evaluate").read_text()))
    spoil(record)
    write_json(paths.manifest("evaluate"), record)
    assert main([command, "--artifacts-dir", str(tmp_path)]) == 4
    told = capsys.readouterr().err
    assert "evaluate.json" in told and said in told and "run `ivr evaluate` again" in told


def test_metrics_that_are_no_utf_8_or_lack_a_step_are_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 2}\n{"step": 2, "loss": \xff}\n{"step": 3}\n')
    with pytest.raises(CorruptInputError, match=r"metrics\.jsonl, line 2 is not UTF-8.*ivr train --force"):
        read_metrics(path)
    path.write_text('{"step": 1, "loss": 2}\n{"loss": 2}\n')
    with pytest.raises(CorruptInputError, match="line 2, step: this field is missing"):
        read_metrics(path)
    path.write_text('{"step": 1, "loss": 2}\n{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1, "loss": 2}]


@pytest.mark.parametrize(
    "value",
    ["9" * 400, "!!timestamp 2024-13-45", "&a [*a]", "!!float x", "[" * 200_000, "- " * 100_000, "{a: " * 50_000],
    ids=["huge", "no date", "alias", "no float", "brackets", "dashes", "braces"],
)
def test_rules_with_a_value_that_is_none_are_refused(value: str, tmp_path: Path) -> None:
    path = tmp_path / "remap_rules.yaml"
    lines = ["format: 2", 'original_tokenizer_sha256: "a"', 'distilled_tokenizer_sha256: "b"', "swaps:", "- id: 1"]
    lines += ['  old: "a"', '  new: "b"', "  pieces: [1]", f"  score: {value}", "  old_score: 0"]
    path.write_text("\n".join(lines))
    with pytest.raises(CorruptInputError, match=r"remap_rules\.yaml"):
        read_rules(path)


def test_a_table_of_other_columns_or_types_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"token_id": [1, 2], "count": ["x", "y"], "gap": pa.array([1, None])}), path)
    assert read_table(path, {"token_id": "int"}, "again").num_rows == 2
    for columns, said in (
        ({"tokens": "int"}, "has no column 'tokens'; again"),
        ({"count": "int"}, "the column 'count' is string, not int; again"),
        ({"gap": "int"}, "the column 'gap' is int64, with nulls, not int; again"),
    ):
        with pytest.raises(CorruptInputError, match=said):
            read_table(path, columns, "again")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptInputError, match="no whole Parquet file"):
        read_table(path, {"token_id": "int"}, "again")
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.parquet", {"token_id": "int"}, "again")
