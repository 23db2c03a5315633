"""Whatever tokenizer directory is taken, the distilled tokenizer gives the same; what cannot be kept is refused in a
sentence. 300 directories drawn with every kind of added token, file and option; `bench_exactness.py` draws 10,000.
"""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_outcomes import Beyond, Named, outcome_of, spared
from drawn_tokenizers import END, write
from small_bpe import build_tokenizer, vocabulary
from tokenizers import AddedToken, Tokenizer

from ivr.analysis.tables import PretokenTable
from ivr.base.auto_tokenizer import check_auto_tokenizer
from ivr.base.tokenizer_directory import complete_tokenizer
from ivr.corpus.document_end import end_of_text_id, end_token
from ivr.disk.writer import write_json
from ivr.encoding.bpe import read_bpe
from ivr.errors import ConfigError
from ivr.tokenizer.distill.certificate import Compared, build_certificate
from ivr.tokenizer.distill.pipeline import distill
from ivr.tokenizer.distill.stage import load_base
from ivr.tokenizer.proof.checker import NAME as PROOF
from ivr.tokenizer.unigram_file import NEVER, read_unigram, token_bytes, write_tokenizer
from ivr.tokenizer.verify.added_tokens import compare_added, differences

DRAWS = 300
MERGES = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "hello"), ("a", "b")]


@pytest.fixture(autouse=True)
def less_work() -> Any:
    with spared():
        yield


@pytest.mark.slow
def test_every_drawn_directory_is_the_same_or_refused(tmp_path: Path) -> None:
    refused: Counter[str] = Counter()
    for seed in range(DRAWS):
        outcome = outcome_of(seed, tmp_path / "draw")
        assert not outcome.faults, f"seed {seed}: {outcome.faults[0]}"
        if outcome.refused:
            assert outcome.refused.startswith("DIR") and "\n" not in outcome.refused
            refused[outcome.refused[:40]] += 1
    assert DRAWS / 20 < sum(refused.values()) < DRAWS / 2, refused


# the cases by name ----------------------------------------------------------------------------------------------------
def spec_of(*added: AddedToken) -> dict[str, Any]:
    """tokenizer.json of GPT-2's kind over MERGES, with these tokens added."""
    tokenizer = build_tokenizer(vocabulary(MERGES), MERGES)
    tokenizer.add_tokens([*added])
    return json.loads(tokenizer.to_str())


CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": END,
    "eos_token": END,
    "unk_token": END,
}


def taken(folder: Path, files: dict[str, Any], model_config: dict[str, Any] | None = None) -> Path:
    """A directory of these files, completed as `init` completes it."""
    if model_config is not None:
        files = {**files, "config.json": {"model_type": "gpt2", **model_config}}
    complete_tokenizer(write(folder, files), "DIR", {"model_type": "gpt2", **(model_config or {})})
    check_auto_tokenizer(folder, "DIR")
    return folder


def distilled(base_dir: Path, target: Path, pretokens: list[str]) -> Tokenizer:
    base = load_base(base_dir / "tokenizer.json")
    target.mkdir()
    write_tokenizer(target, distill(base, read_bpe(base), pretokens, 6.8).tokenizer, base_dir)
    return Tokenizer.from_file(str(target / "tokenizer.json"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "added",
    [
        AddedToken("!", special=True),  # pad_token_id = 0: one byte
        AddedToken("hello", special=True),  # made by merges too
        AddedToken("hello", single_word=True),
        AddedToken("ab", lstrip=True, rstrip=True),
        AddedToken("COVID-19"),  # beyond the vocabulary, not special
    ],
    ids=str,
)
def test_an_added_token_of_each_kind(tmp_path: Path, added: AddedToken) -> None:
    files = {"tokenizer.json": spec_of(added), "tokenizer_config.json": CONFIG}
    folder = taken(tmp_path / "base", files)
    text = f"x{added.content}x {added.content} hello! ab"
    result = distilled(folder, tmp_path / "result", ["xhellox", "hello", "!", "xabx", " hello", "x", " ab"])
    base = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for as_text in (False, True):
        base.encode_special_tokens = result.encode_special_tokens = as_text
        one, other = base.encode(text), result.encode(text)
        assert one.ids == other.ids and one.offsets == other.offsets
    report = compare_added(result.to_str(), base.to_str())
    assert differences(report) == 0 and report["added_tokens"] == 2


def test_what_an_added_token_makes_wrong_is_seen(tmp_path: Path) -> None:
    """A Unigram model that may not give `hello`, as before, is no equal of the BPE."""
    folder = taken(tmp_path / "base", {"tokenizer.json": spec_of(AddedToken("hello", single_word=True))})
    result = distilled(folder, tmp_path / "result", ["xhellox", "hello"])
    spec = json.loads(result.to_str())
    spec["model"]["vocab"] = [[token, NEVER if token == "hello" else score] for token, score in spec["model"]["vocab"]]
    report = compare_added(json.dumps(spec), (folder / "tokenizer.json").read_text())
    assert report["different_ids"] and report["first"][0]["what"] == "different_ids"


def test_the_scores_say_what_the_model_gives(tmp_path: Path) -> None:
    spec = spec_of(AddedToken("hello", special=True), AddedToken("<new>"))
    spec["model"]["vocab"]["zzz"] = len(spec["model"]["vocab"])  # an entry that nothing makes
    spec["added_tokens"][-1]["id"] += 1
    folder = taken(tmp_path / "base", {"tokenizer.json": spec, "tokenizer_config.json": CONFIG})
    distilled(folder, tmp_path / "result", ["hello"])
    _, tokens, scores_V = read_unigram(tmp_path / "result" / "tokenizer.json")
    assert {t for t, score in zip(tokens, scores_V.tolist(), strict=True) if score == NEVER} == {END, "<new>", "zzz"}
    assert token_bytes(tokens, scores_V)[tokens.index("hello")] == b"hello"


def test_truncation_and_padding_stay_behind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = spec_of()
    spec["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    spec["padding"] = {
        "strategy": {"Fixed": 8}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 261, "pad_type_id": 0,
        "pad_token": END,
    }  # fmt: skip
    folder = taken(tmp_path / "base", {"tokenizer.json": spec, "tokenizer_config.json": CONFIG})
    assert "cuts every text after 5 tokens" in caplog.text and "fills every text up" in caplog.text
    written = json.loads((folder / "tokenizer.json").read_text())
    assert written["truncation"] is written["padding"] is None
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert (config["pad_token"], config["padding_side"]) == (END, "left")  # what AutoTokenizer took from it
    result = distilled(folder, tmp_path / "result", ["hello"])
    assert result.truncation is result.padding is None and len(result.encode("hello " * 20).ids) > 8


def test_added_tokens_of_two_files_keep_their_ids(tmp_path: Path) -> None:
    lines = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in MERGES)
    vocab = vocabulary(MERGES)
    files = {"vocab.json": vocab, "merges.txt": lines}
    numbered = {"<b>": len(vocab) + 1, "<a>": len(vocab), "hello": vocab["hello"]}
    folder = taken(tmp_path / "base", {**files, "added_tokens.json": numbered}, {"vocab_size": len(vocab) + 2})
    base = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert {token: base.token_to_id(token) for token in numbered} == numbered
    assert base.encode("x<b>hello<a>").tokens == ["x", "<b>", "hello", "<a>"]
    assert not (folder / "added_tokens.json").exists()
    numbered["<b>"] += 5
    with pytest.raises(ConfigError, match=r"added_tokens.json gives '<b>' the id 269, transformers gives it 264"):
        taken(tmp_path / "gap", {**files, "added_tokens.json": numbered}, {"vocab_size": len(vocab) + 9})


FRONT = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def robertas(added: bool) -> dict[str, Any]:
    """Specials at ids 0 to 4, no <|endoftext|>, no tokenizer_config.json."""
    tokens = [*FRONT, *(token for token in vocabulary(MERGES) if token != END)]
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    tokenizer = build_tokenizer(vocab, MERGES)
    if added:
        tokenizer.add_special_tokens([*FRONT])
    return {"tokenizer.json": json.loads(tokenizer.to_str())}


def test_specials_at_the_first_ids_and_no_end_of_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = robertas(added=True)
    rows = len(files["tokenizer.json"]["model"]["vocab"])
    folder = taken(tmp_path / "base", files, {"vocab_size": rows, "eos_token_id": 2})
    assert "transformers would add <|endoftext|>" in caplog.text and "left out" in caplog.text
    from transformers import AutoTokenizer

    assert len(AutoTokenizer.from_pretrained(folder)) == rows
    result = distilled(folder, tmp_path / "result", ["hello"])
    assert end_token(tmp_path / "result") == "</s>" and end_of_text_id(result, tmp_path / "result") == 2
    assert len(AutoTokenizer.from_pretrained(tmp_path / "result")) == rows


def test_a_number_left_over_from_another_vocabulary_ends_no_text(tmp_path: Path) -> None:
    files = robertas(added=False)
    rows = len(files["tokenizer.json"]["model"]["vocab"])
    with pytest.raises(ConfigError, match="no file names an eos_token, so nothing separates documents; set eos_token"):
        taken(tmp_path / "base", files, {"vocab_size": rows, "eos_token_id": rows - 1})


def test_a_token_that_the_model_has_no_row_for(tmp_path: Path) -> None:
    files = {"tokenizer.json": spec_of(), "tokenizer_config.json": {**CONFIG, "pad_token": "[PAD]"}}
    with pytest.raises(ConfigError, match=r"pad_token is '\[PAD\]' with the id 263, the model only 263 rows"):
        taken(tmp_path / "base", files, {"vocab_size": 263})
    shutil.rmtree(tmp_path / "base")
    taken(tmp_path / "base", files, {"vocab_size": 264})


def test_auto_tokenizer_cleans_up_no_blanks(tmp_path: Path) -> None:
    """`clean_up_tokenization_spaces` is ignored for a BPE, and would take blanks out of what a Unigram decodes."""
    config = {**CONFIG, "clean_up_tokenization_spaces": True}
    folder = taken(tmp_path / "base", {"tokenizer.json": spec_of(), "tokenizer_config.json": config})
    distilled(folder, tmp_path / "result", ["hello", " !"])
    from transformers import AutoTokenizer

    texts = []
    for name in (folder, tmp_path / "result"):
        tokenizer = AutoTokenizer.from_pretrained(name)
        texts.append(tokenizer.decode(tokenizer.encode("hello ! ab .")))
    assert texts == ["hello ! ab ."] * 2


def test_the_names_of_special_tokens_are_not_left_to_a_class(tmp_path: Path) -> None:
    """GPT-2's own tokenizer_config.json says no more than this: eos_token is a default of GPT2Tokenizer."""
    files = {"tokenizer.json": spec_of(), "tokenizer_config.json": {"model_max_length": 1024}}
    folder = taken(tmp_path / "base", files, {"vocab_size": 263})
    distilled(folder, tmp_path / "result", ["hello"])
    from transformers import AutoTokenizer

    names = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END)
    assert AutoTokenizer.from_pretrained(tmp_path / "result").special_tokens_map == names


def certificate_of(base_dir: Path, target: Path, pretokens: list[str]) -> dict[str, Any]:
    base = load_base(base_dir / "tokenizer.json")
    result = distill(base, read_bpe(base), pretokens, 6.8)
    target.mkdir()
    write_tokenizer(target, result.tokenizer, base_dir)
    if result.proofs:
        write_json(target / PROOF, {"proofs": [proof.entry() for proof in result.proofs]})
    counts = np.ones(len(pretokens), np.int64)
    files = base_dir / "tokenizer.json", target / "tokenizer.json"
    return build_certificate(Compared(*files, PretokenTable(pretokens, counts, counts)), result, lambda done: None)


@pytest.mark.slow
def test_a_file_may_leave_out_what_the_library_takes_for_granted(tmp_path: Path) -> None:
    """As GPT-2's own tokenizer.json on the Hub does: no type of model, no use_regex."""
    spec = spec_of()
    del spec["model"]["type"], spec["pre_tokenizer"]["use_regex"]
    folder = taken(tmp_path / "base", {"tokenizer.json": spec, "tokenizer_config.json": CONFIG})
    certificate = certificate_of(folder, tmp_path / "result", ["hello", " hello", "ab"])
    assert certificate["corpus"]["mismatched_types"] == 0 and certificate["universal_proof"]["proved"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["ignore_merges", "a part made later"])
def test_no_proof_is_claimed_of_what_it_does_not_know_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("ivr.encoding.bpe.MOST_MOVED", 0.5)  # of six merges one is more than a thousandth
    spec = spec_of()
    if what == "ignore_merges":
        spec["model"]["ignore_merges"] = True
        spec["model"]["vocab"]["zzz"] = len(spec["model"]["vocab"])  # given for `zzz`, and made by no merge
    else:
        merges = spec["model"]["merges"]
        merges.insert(0, merges.pop(2))  # `he` + `ll` before `h` + `e`
    folder = taken(tmp_path / "base", {"tokenizer.json": spec, "tokenizer_config.json": CONFIG})
    certificate = certificate_of(folder, tmp_path / "result", ["hello", " hello", "ab"])
    assert not certificate["universal_proof"]["proved"] and "is tested, not proved" in certificate["summary"]
    assert not (tmp_path / "result" / PROOF).exists()


def test_only_the_listed_mismatches_explain_a_difference() -> None:
    beyond = Beyond(None, [Named(" ab", [9, 1, 2], [9, 7]), Named(" abab", [9, 1, 2, 1, 2], [9, 7, 7])])
    assert beyond.explains([9, 1, 2, 1, 2, 5], [9, 7, 7, 5]), "the first row begins as the second does"
    assert beyond.explains([4, 9, 1, 2], [4, 9, 7])
    assert not beyond.explains([4, 1, 2], [4, 7]), "not in this place"
    assert not beyond.explains([9, 1, 2, 1, 2, 1, 2], [9, 7, 7, 7]), "not so often"
