"""RESULTS.md is filled from records, and what the benchmarks record fits its places."""

import argparse
import dataclasses
import doctest
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bench_coverage
import bench_distill
import bench_encode
import bench_encode_superwords
import bench_select_growth
import bench_universal
import pytest
import results
from baselines.tables import superwords_record
from results import DOCUMENT, Record, add_option, cell, command_line, fill, places, publish, table

RECORD = Record("python x.py", ["what", "how many"], [["a", 1000], ["b", None]], "2026-01-01", "abc", "2 CPU cores")
TABLE = """\
| what | how many |
|---|---:|
| a | 1,000 |
| b |  |

`python x.py`, 2026-01-01, abc, 2 CPU cores."""
EMPTY = "# Results\n\n<!-- begin one -->\n<!-- end one -->\n\n<!-- begin two -->\nold\n<!-- end two -->\ntail\n"


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "RESULTS.md"
    path.write_text(EMPTY)
    return path


def test_a_place_is_filled_and_filled_again_and_all_else_stays(document: Path) -> None:
    fill(document, "two", RECORD)
    assert document.read_text() == EMPTY.replace("old", TABLE)
    fill(document, "two", RECORD)
    assert document.read_text() == EMPTY.replace("old", TABLE)
    fill(document, "one", RECORD)
    assert document.read_text() == EMPTY.replace("old", TABLE).replace("one -->\n<", f"one -->\n{TABLE}\n<")


def test_a_place_that_is_not_there_is_refused_and_nothing_written(document: Path) -> None:
    with pytest.raises(ValueError, match="no place `<!-- begin three -->`"):
        fill(document, "three", RECORD)
    assert document.read_text() == EMPTY


@pytest.mark.parametrize(
    "text",
    [
        "<!-- begin a -->",
        "<!-- end a -->",
        "<!-- begin a --><!-- end b -->",
        "<!-- begin a --><!-- begin b --><!-- end a --><!-- end b -->",
        2 * "<!-- begin a --><!-- end a -->",
    ],
)
def test_markers_that_are_not_in_pairs_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="markers"):
        places(text)


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells under 2 columns"):
        table(dataclasses.replace(RECORD, rows=[["a"]]))


def test_numbers_stand_to_the_right_and_lines_are_not_broken() -> None:
    assert table(RECORD) == TABLE
    assert [cell(value) for value in (1234567, 0.25, "x|y", None)] == ["1,234,567", "0.25", "x\\|y", ""]


def test_the_command_is_told_without_where_the_results_go(monkeypatch: pytest.MonkeyPatch) -> None:
    script = str(Path(bench_universal.__file__))
    told = "python tests/benchmarks/bench_universal.py --sizes 250"
    for where in (["--results"], ["--results", "record.json"], []):
        monkeypatch.setattr(sys, "argv", [script, *where, "--sizes", "250"])
        assert command_line() == told


def test_publishing_keeps_the_record_and_the_script_fills_the_place_again(document: Path, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_option(parser)
    publish(parser.parse_args([]), "one", RECORD, document)
    assert document.read_text() == EMPTY
    kept = tmp_path / "record.json"
    publish(parser.parse_args(["--results", str(kept)]), "one", RECORD, document)
    filled = document.read_text()
    assert TABLE in filled
    assert Record(**json.loads(kept.read_text())) == RECORD
    document.write_text(EMPTY)
    script = Path(bench_universal.__file__).with_name("results.py")
    subprocess.run([sys.executable, script, "one", kept, "--document", document], check=True)
    assert document.read_text() == filled


# place -> (how its benchmark makes a record, what it measured)
BENCHMARKS: dict[str, tuple[Callable[[Any], Record], Any]] = {
    "fit": (
        bench_distill.record,
        [{"who": "ours", "types": 75000, "seconds": 60.0, "cpu_seconds": 73.0, "peak_bytes": 2**30}
         | {"agreement_percent": 100.0}],
    ),
    "encode": (
        bench_encode.record,
        {"english, encode_batch": {"ratio": 0.9, "lowest_ratio": 0.8, "highest_ratio": 1.0, "ratio_of_cpu": 0.9}
         | {"ratio_on_one_core": 0.9, "megabytes": 2.0}},
    ),
    "encode-superwords": (bench_encode_superwords.record, [[2000, 1340, 0.8, 0.8, 0.9, 0.9, 1.2]]),
    "superwords": (
        superwords_record,
        [{"corpus": "legal", "method": method, "swaps": swaps, "heldout_tokens": tokens, "heldout_pretokens": 80}
         for method, swaps, tokens in (("base", 0, 100), ("superwords", 500, 75), ("pairs", 500, 80))],
    ),
    "select-growth": (
        bench_select_growth.record,
        [{"pretokens": 71393, "swaps": 2000, "cpu_seconds": 7.2, "GiB": 0.5}],
    ),
    "coverage": (
        bench_coverage.record,
        {"ivr/corpus/packing.py": {"summary": {"num_statements": 100, "missing_lines": 3}}},
    ),
    "every-string": (
        bench_universal.record,
        [{"kind": "gpt2", "merges": 250, "exponent": 0.0, "ended": "proved", "bits": 8.2, "constraints": 1}
         | {"rounds": 3, "seconds": 0.1}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_what_a_benchmark_records_fits_its_place(name: str, tmp_path: Path) -> None:
    make, measured = BENCHMARKS[name]
    record = make(measured)
    copy = tmp_path / "RESULTS.md"
    copy.write_bytes(DOCUMENT.read_bytes())
    fill(copy, name, record)
    assert table(record) in copy.read_text(encoding="utf-8")


def test_a_saving_is_a_share_of_the_base_tokens() -> None:
    make, measured = BENCHMARKS["superwords"]
    assert make(measured).rows == [["legal", 500, 25.0, 20.0, None, None, None, None]]


def test_every_result_says_the_command_that_makes_it() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in places(text):
        block = text.partition(f"<!-- begin {name} -->")[2].partition(f"<!-- end {name} -->")[0]
        assert block.strip().split("\n\n")[-1].startswith("`"), f"{name}: no command"


def test_the_examples_of_the_helper_hold() -> None:
    assert doctest.testmod(results).failed == doctest.testmod(bench_coverage).failed == 0


def test_the_readme_gives_the_share_of_lines_that_was_measured() -> None:
    """Lines that some test runs, of all rooms together."""
    readme = (DOCUMENT.parents[2] / "README.md").read_text(encoding="utf-8")
    told = re.search(r"run ([\d.]+) % of the lines of `ivr/`", readme)
    block = DOCUMENT.read_text(encoding="utf-8").partition("<!-- begin coverage -->")[2]
    found = re.search(r"^\| all \|.* ([\d.]+) \|$", block, re.MULTILINE)
    assert told and found and told[1] == found[1] and float(told[1]) >= 85


def test_a_column_that_nothing_was_measured_for_is_left_out() -> None:
    record = Record(
        "python x.py", ["swaps", "a", "b"], [[500, None, 4.5], [900, None, None]], "2026-01-01", "abc", "here"
    )
    assert table(record).splitlines()[0] == "| swaps | b |"


@pytest.mark.slow
def test_every_benchmark_says_what_it_takes() -> None:
    """A benchmark that runs for hours is to fail in its first second, if at all."""
    scripts = sorted(Path(__file__).parent.glob("bench_*.py"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ended = list(pool.map(_help_of, scripts))
    assert len(scripts) > 20
    assert [(path.name, code) for path, code in zip(scripts, ended, strict=True) if code] == []


def _help_of(script: Path) -> int:
    return subprocess.run([sys.executable, script, "--help"], stdout=subprocess.DEVNULL, timeout=300).returncode
