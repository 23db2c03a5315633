"""A stage whose results change has another version: the results of the tiny run are known by their digests."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_run import TinyRun

from ivr.analysis.tables import read_pretoken_frequency
from ivr.versions import package_remark, stage_version, why_outdated

GOLDEN = Path(__file__).parent.parent / "golden" / "results.json"


def pretokens(run: TinyRun) -> str:
    table = read_pretoken_frequency(run.paths.pretoken_frequency)
    return json.dumps([table.pretokens, table.counts_P.tolist(), table.documents_P.tolist()])


def model(name: str) -> Callable[[TinyRun], str]:
    """The vocabulary with its scores and the pattern of a tokenizer."""

    def read(run: TinyRun) -> str:
        spec = json.loads(run.tokenizer(name).to_str())
        return json.dumps([spec["model"], spec["pre_tokenizer"], spec["added_tokens"]])

    return read


# what later stages read of each, without what is written beside it
RESULTS: dict[str, Callable[[TinyRun], str]] = {
    "analyze": lambda run: pretokens(run) + run.paths.token_id_sequences.read_text(encoding="utf-8"),
    "distill-tokenizer": model("distilled_unigram"),
    "select": lambda run: run.paths.replacement_candidates.read_text(encoding="utf-8"),
    "remap": model("remapped"),
}


@pytest.mark.parametrize("stage", RESULTS)
def test_results_are_those_of_this_version(remapped: TinyRun, stage: str) -> None:
    known = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    found = {"version": stage_version(stage), "results": hashlib.sha256(RESULTS[stage](remapped).encode()).hexdigest()}
    if os.environ.get("IVR_UPDATE_GOLDEN") and known.get(stage, {}).get("version") != found["version"]:
        GOLDEN.write_text(json.dumps({**known, stage: found}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return
    assert known.get(stage) == found, (
        f"`ivr {stage}` gives other results than its version {stage_version(stage)} did (or another stage before it "
        f"does): raise its number in ivr/versions.py, then IVR_UPDATE_GOLDEN=1 pytest {Path(__file__).name}"
    )


def test_what_is_outdated_is_said() -> None:
    here = {"tokenizers": "2.0", "torch": "3.0"}
    now = stage_version("analyze")
    assert why_outdated("analyze", now, here, here) == ""
    assert why_outdated("analyze", now, {}, here) == "", "a package that was not recorded tells nothing"
    assert why_outdated("analyze", now + 1, here, here) == f"made by version {now + 1} of analyze, this is {now}"
    assert why_outdated("analyze", now, {"tokenizers": "1.9"}, here) == "made with tokenizers 1.9, this is 2.0"
    assert why_outdated("train", stage_version("train"), {"torch": "2.9"}, here) == ""
    assert package_remark("train", {"torch": "2.9"}, here) == "made with torch 2.9, this is 3.0"
    assert package_remark("analyze", {"torch": "2.9"}, here) == ""
