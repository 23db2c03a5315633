"""A small tokenizer's certificate carries a proof for every string without odd runs, and a stranger can check it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_bpe import bpe_of
from tiny_run import TinyRun

from ivr.disk.writer import write_json
from ivr.encoding.bpe import read_bpe
from ivr.tokenizer.distill.pipeline import distill
from ivr.tokenizer.fit.closed_subsets import ClosedParts
from ivr.tokenizer.proof import closure as universal
from ivr.tokenizer.proof.checker import NAME, check_files, main
from ivr.tokenizer.proof.closure import RANGE, UNTRIED, attempt
from ivr.tokenizer.scores.constraints import Constraints
from ivr.tokenizer.scores.merge_weights import Fit, ScoresTooLarge, prior_weights, token_scores


def files(run: TinyRun) -> tuple[Path, Path, Path]:
    folder = run.paths.distilled_tokenizer
    return run.paths.original_tokenizer / "tokenizer.json", folder / "tokenizer.json", folder / NAME


@pytest.mark.slow
def test_the_certificate_says_that_it_is_proved_and_the_checker_accepts_the_files(distilled: TinyRun) -> None:
    certificate = json.loads((distilled.paths.distilled_tokenizer / "certificate.json").read_text())
    told = certificate["universal_proof"]
    assert told["proved"] and told["file"] == NAME and told["inequalities_checked"]["all bytes (00-ff)"] > 10_000
    assert "is proved for every piece" in certificate["summary"]
    command = [sys.executable, "-m", "ivr.tokenizer.proof.checker", *map(str, files(distilled))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split(",")[0]) == (0, "every string of all bytes (00-ff): accepted")


def test_no_adversarial_mismatch_is_one_that_scores_could_have_mended(distilled: TinyRun) -> None:
    hard = json.loads((distilled.paths.distilled_tokenizer / "certificate.json").read_text())["adversarial"]
    assert "score" not in hard["causes"]


def test_another_score_in_the_file_is_refused(distilled: TinyRun, tmp_path: Path) -> None:
    base, result, proof = files(distilled)
    spec = json.loads(result.read_text())
    token = next(row for row in spec["model"]["vocab"] if len(row[0]) == 4)
    token[1] += 2**40
    (tmp_path / "changed.json").write_text(json.dumps(spec))
    (verdict,) = check_files(base, tmp_path / "changed.json", proof).values()
    assert not verdict.accepted and verdict.reason
    token[1] = 0.5
    (tmp_path / "changed.json").write_text(json.dumps(spec))
    (verdict,) = check_files(base, tmp_path / "changed.json", proof).values()
    assert "no integer" in verdict.reason


def test_another_merge_list_is_refused(distilled: TinyRun, tmp_path: Path) -> None:
    base, result, proof = files(distilled)
    spec = json.loads(base.read_text())
    del spec["model"]["merges"][5]
    (tmp_path / "base.json").write_text(json.dumps(spec))
    (verdict,) = check_files(tmp_path / "base.json", result, proof).values()
    assert not verdict.accepted


def small_fit() -> tuple[universal.ByteLevelBpe, np.ndarray, Fit]:
    bpe = read_bpe(bpe_of([("a", "b"), ("c", "d"), ("b", "cd"), ("b", "c"), ("ab", "cd")]))
    prior_R = prior_weights(5, 0.0)
    scores_V = token_scores(prior_R, *bpe.derivations())
    return bpe, prior_R, Fit(prior_R, scores_V, Constraints(), 1, {})


def test_too_large_a_vocabulary_is_said_to_be_tested_not_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    bpe, prior_R, fitted = small_fit()
    monkeypatch.setattr(universal, "MOST_IDS", 100)
    kept, found = attempt(bpe, prior_R, fitted, lambda known: fitted)
    assert kept is fitted and found.ended == UNTRIED and found.proof is None
    assert "tested, not proved" in str(found.entry()["others"]) and not found.entry()["proved"]


def test_scores_beyond_the_range_leave_the_fit_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    bpe, prior_R, fitted = small_fit()
    close = universal.close
    monkeypatch.setattr(universal, "close", lambda *arguments: close(*arguments, limit=2))
    kept, found = attempt(bpe, prior_R, fitted, lambda known: fitted)
    assert kept is fitted and found.ended == RANGE and found.proof is None


@pytest.mark.slow
def test_what_is_made_of_some_bytes_is_proved_where_the_whole_vocabulary_is_not_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(universal, "MOST_IDS", 0)
    merges = [
        ("1", "2"),
        ("a", "b"),
        ("2", "3"),
        ("1", "1"),
        ("3", "1"),
        ("12", "31"),
        ("b", "c"),
        ("Ġ", "23"),
        ("b", "1"),
    ]
    base = bpe_of(merges)
    result = distill(base, read_bpe(base), ["abc", "1231", "11", " 23"], 3.0)
    base.save(str(tmp_path / "base.json"))
    result.tokenizer.save(str(tmp_path / "result.json"))
    names = ["all bytes but ASCII letters", "letters a to f and blanks"]
    assert [proof.name for proof in result.proofs] == names
    write_json(tmp_path / NAME, {"proofs": [proof.entry() for proof in result.proofs]})

    def verdicts() -> list[tuple[str, bool]]:
        found = check_files(tmp_path / "base.json", tmp_path / "result.json", tmp_path / NAME)
        return [(name, verdict.accepted) for name, verdict in found.items()]

    told = [f"{names[0]} (00-40 5b-60 7b-ff)", f"{names[1]} (20 61-66)"]
    assert verdicts() == [(name, True) for name in told]
    spec = json.loads((tmp_path / "result.json").read_text())
    scores = {row[0]: row for row in spec["model"]["vocab"]}
    scores["b1"][1] = scores["31"][1] = scores["31"][1] + 2**40  # the first mixes both alphabets: nothing is said of it
    (tmp_path / "result.json").write_text(json.dumps(spec))
    assert verdicts() == [(told[0], False), (told[1], True)]


@pytest.mark.slow
def test_an_added_token_that_merges_make_is_a_token_like_others_to_a_proof(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(universal, "MOST_IDS", 0)
    base = bpe_of([("1", "2"), ("3", "1"), ("12", "31"), ("a", "b")])
    base.add_tokens(["1231", "<new>"])
    result = distill(base, read_bpe(base), ["12", "31", "1231", "ab"], 3.0)
    assert [proof.name for proof in result.proofs] == ["all bytes but ASCII letters", "letters a to f and blanks"]
    base.save(str(tmp_path / "base.json"))
    result.tokenizer.save(str(tmp_path / "result.json"))
    write_json(tmp_path / NAME, {"proofs": [proof.entry() for proof in result.proofs]})
    verdicts = check_files(tmp_path / "base.json", tmp_path / "result.json", tmp_path / NAME)
    assert all(verdict.accepted for verdict in verdicts.values())


@pytest.mark.parametrize(
    ("proofs", "told"),
    [
        ({"F": {}}, "no proof file of this version"),
        ([], "no proof file of this version"),
        ({"proofs": []}, "holds no proof"),
        ({"proofs": [{"strings": "all bytes", "bytes": [], "F": {}}]}, "no proof file of this version"),
        ({"proofs": [{"strings": "all bytes", "bytes": ["1"], "F": {}}]}, "no proof file of this version"),
        ({"proofs": [{"strings": "ones", "bytes": [49], "F": {"-1": []}}]}, "no proof file of this version"),
        ({"proofs": 2 * [{"strings": "ones", "bytes": [49], "F": {}}]}, "two proofs of ones (31)"),
    ],
)
def test_a_file_of_another_form_is_no_proof(
    distilled: TinyRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], proofs: object, told: str
) -> None:
    write_json(tmp_path / NAME, proofs)
    base, result, _ = files(distilled)
    assert main([str(base), str(result), str(tmp_path / NAME)]) == 2
    said = capsys.readouterr()
    assert told in said.err and "accepted" not in said.out


@pytest.mark.slow
def test_parts_that_leave_the_text_no_room_are_given_up_not_the_fit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_room(*_: object) -> Constraints:
        raise ScoresTooLarge("too large")

    monkeypatch.setattr(universal, "MOST_IDS", 0)
    monkeypatch.setattr(ClosedParts, "close", no_room)
    base = bpe_of([("1", "2"), ("2", "3"), ("a", "b")])
    result = distill(base, read_bpe(base), ["123", "ab"], 3.0)
    assert "no part is made right on every string" in caplog.text
    assert not result.proofs and result.tokenizer.encode("123").ids == base.encode("123").ids


@pytest.mark.slow
def test_parts_that_text_undoes_again_and_again_are_proved_where_they_hold(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(universal, "MOST_IDS", 0)
    monkeypatch.setattr(ClosedParts, "close_again", lambda *_: 1)
    base = bpe_of([("1", "2"), ("2", "3"), ("a", "b")])
    result = distill(base, read_bpe(base), ["123", "ab"], 3.0)
    assert "is not, as a whole, beside the text" in caplog.text
    assert [proof.name for proof in result.proofs] == ["all bytes but ASCII letters", "letters a to f and blanks"]
