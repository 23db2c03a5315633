"""Hostile files for every reader: refused in a sentence or read, never a traceback, a hang, or a file elsewhere.

Ten thousand cases: tests/benchmarks/bench_fuzz.py.
"""

import math
import random
from pathlib import Path

import pytest
from fuzz_cases import Reader, mutate, run_case
from fuzz_readers import readers

from ivr.errors import CorruptInputError

CASES, SEED = 500, 1
ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow  # a whole run is made for it
def test_no_reader_fails_at_a_hostile_file(small_run: Path, tmp_path: Path) -> None:
    found = readers(small_run, ROOT)
    shares = sum(reader.share for reader in found)
    outcomes = []
    for reader in found:
        for number in range(max(3, math.ceil(CASES * reader.share / shares))):
            outcomes.append(run_case(reader, f"{SEED}.{number}", tmp_path / "case"))
    faults = [
        f"{one.reader}, case {one.seed}, {one.mutation!r}: {one.said}" for one in outcomes if one.verdict == "fault"
    ]
    assert faults == []
    assert len(outcomes) >= CASES
    refused = {one.reader for one in outcomes if one.verdict == "refused"}
    soft = {"corpus: text", "corpus: JSON", "check"}  # these name what is wrong and go on
    assert refused >= {reader.name for reader in found} - soft


@pytest.mark.slow  # a whole run is made for it
def test_the_good_files_are_read(small_run: Path, tmp_path: Path) -> None:
    for reader in readers(small_run, ROOT):
        for name, data in reader.files.items():
            path = tmp_path / reader.name.replace(" ", "-") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        reader.read(tmp_path / reader.name.replace(" ", "-"))


def hostile(how: str, run: Path) -> None:
    """Readers with one fault each."""
    if how == "traceback":
        raise KeyError("path")
    if how == "outside":
        (run.parent / "owned").write_text("x")
    if how == "left":
        (run / ".a.txt.ivr-123").write_text("half")
    if how == "altered":
        (run / "b.txt").write_text("other")
    if how == "memory":
        bytearray(1 << 40)
    if how == "abroad":
        raise OSError("no name, no reason")


@pytest.mark.parametrize("how", ["traceback", "outside", "left", "altered", "memory", "abroad"])
def test_a_fault_is_seen(how: str, tmp_path: Path) -> None:
    good = {"a.txt": b"a", "b.txt": b"b"}
    seeds = (str(seed) for seed in range(100))
    reader = Reader(how, good, lambda run: hostile(how, run))
    # a mutation may have taken b.txt away
    assert any(run_case(reader, seed, tmp_path / "case").verdict == "fault" for seed in seeds)


def test_a_refusal_is_none(tmp_path: Path) -> None:
    def refuse(run: Path) -> None:
        raise CorruptInputError("a.txt: 3 is not 4")

    assert run_case(Reader("no", {"a": b"a"}, refuse), "0", tmp_path / "case").verdict == "refused"


def test_a_case_is_the_same_again(tmp_path: Path) -> None:
    spoiled = []
    for turn in ("one", "two"):
        (tmp_path / turn).mkdir()
        (tmp_path / turn / "a.json").write_text('{"a": [1, 2, {"b": "c"}]}')
        mutate(tmp_path / turn, random.Random(7), ("json",))
        spoiled.append([(path.name, path.read_bytes()) for path in (tmp_path / turn).iterdir() if path.is_file()])
    assert spoiled[0] == spoiled[1]
