"""`ivr select --max-words`, `remap`, `remap --undo` and `verify` on a tiny run: its figures are the library's."""

import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import NASTY, TinyRun
from tokenizers import Tokenizer

from ivr.analysis.pretokens import PretokenSplitter
from ivr.corpus.documents import read_documents
from ivr.encoding.bpe import read_bpe
from ivr.encoding.byte_alphabet import from_alphabet, readable
from ivr.report.figures import read_rules_of
from ivr.report.page.parts import Lines, Missing, Note
from ivr.report.page.segmentation import segmentation
from ivr.tokenizer.remap.rules import read_rules, write_rules
from ivr.tokenizer.select.output.cells import write_cell
from ivr.tokenizer.select.output.table import read_candidates
from ivr.tokenizer.superwords.boundaries import Boundaries, joints
from ivr.tokenizer.superwords.pattern import has_superwords

SWAPS = 60


@pytest.fixture(scope="session")
def spanning(distilled: TinyRun, copy_run: Callable[[TinyRun], TinyRun]) -> TinyRun:
    """Do not change it: copy it."""
    run = copy_run(distilled)
    assert run("select", "--swaps", str(SWAPS), "--max-words", "3") == 0
    assert run("remap") == 0
    return run


@pytest.fixture
def mine(spanning: TinyRun, copy_run: Callable[[TinyRun], TinyRun]) -> TinyRun:
    return copy_run(spanning)


def table(run: TinyRun) -> list[dict[str, str]]:
    with run.paths.replacement_candidates.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def superwords(run: TinyRun) -> list[str]:
    read = read_candidates(run.paths.replacement_candidates)  # a cell may have an apostrophe in front, for spreadsheets
    spans = [int(row["words"]) > 1 for row in table(run)]
    return [from_alphabet(row.new_token).decode() for row, is_span in zip(read, spans, strict=True) if is_span]


def used(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[int]:
    return Counter(token_id for text in texts for token_id in tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.slow
def test_totals_and_counts_are_what_the_library_counts(spanning: TinyRun) -> None:
    results, after = spanning.results("select"), spanning.tokenizer("remapped")
    texts, general = (
        list(read_documents(path)) for path in (spanning.paths.cleaned_corpora, spanning.paths.general_cleaned)
    )
    counts = used(after, texts)
    assert results["tokens_after"] == counts.total() < 0.75 * results["tokens_before"]
    assert results["protected_after"] == used(after, general).total()
    assert 10 < results["superwords"] == len(superwords(spanning)) < SWAPS  # words enter, too
    for row in table(spanning):
        assert int(row["new_count"]) == counts[int(row["old_id"])]


@pytest.mark.slow
def test_inside_pretokens_is_the_default_and_writes_no_other_column(remapped: TinyRun) -> None:
    assert remapped.manifest("select")["config"]["max_words"] == 1
    assert "words" not in table(remapped)[0]
    assert remapped.paths.remap_rules.read_text(encoding="utf-8").startswith("format: 2\n")


@pytest.mark.slow
def test_every_superword_is_its_one_id_and_its_pieces_are_the_originals(spanning: TinyRun) -> None:
    rules, original, after = (
        read_rules(spanning.paths.remap_rules), spanning.tokenizer("original"), spanning.tokenizer("remapped"),
    )  # fmt: skip
    spans = [swap for swap in rules.swaps if swap.words > 1]
    assert len(spans) == len(superwords(spanning))
    split = PretokenSplitter(original)
    for swap in spans:
        text = from_alphabet(swap.new).decode()
        assert list(swap.pieces) == original.encode(text, add_special_tokens=False).ids
        assert swap.words == len(split(text))
        for before in ("", "\n", "the\n", text if text.startswith(" ") else "x\n"):
            encoding = after.encode(before + text, add_special_tokens=False)
            assert encoding.ids[-1] == swap.id
            assert encoding.offsets[-1] == (len(before), len(before) + len(text))
    spec = json.loads(after.to_str())
    assert [step["type"] for step in spec["pre_tokenizer"]["pretokenizers"]] == ["ByteLevel", "Split"]
    assert spec["model"]["type"] == "Unigram"


@pytest.mark.slow
def test_nothing_spans_a_boundary_unless_asked_for(mine: TinyRun) -> None:
    split = PretokenSplitter(mine.tokenizer("original"))

    def crossing(text: str) -> bool:
        return bool(re.search(r"""[.!?;:]["')\]}>`*_]* |[.!?;:][^\x00-\x7f]|[\u2026\u3002].""", text))

    found = superwords(mine)
    assert not [text for text in found if any(map(str.isnumeric, text)) or crossing(text) or "\n" in text]
    assert mine("select", "--force", "--swaps", "400", "--max-words", "3", "--superword-boundaries", "none") == 0
    loose = superwords(mine)
    assert [text for text in loose if any(map(str.isnumeric, text))]
    assert [text for text in loose if crossing(text)]
    assert not [text for text in loose if "\n" in text or "  " in text]
    assert max(len(split(text)) for text in loose) == 3
    assert mine("remap") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("of the cells. The cells", ["of the cells.", " The cells"]),
        ('cells." The (cells;) and', ['cells."', " The (cells;)", " and"]),
        ("is: the cells? No! a", ["is:", " the cells?", " No!", " a"]),
        ("see et al., e.g., U.S.C. law", ["see et al., e.g., U.S.C.", " law"]),
        (" a :class:`~numpy.ndarray` of", [" a :class:`~numpy.ndarray` of"]),
        ("좋다.그런데 e.é", ["좋다.", "그런데 e.", "é"]),
        ("the\u2026and\u3002The", ["the\u2026", "and\u3002", "The"]),
    ],
)
def test_a_sentence_ends_at_its_mark_and_a_word_goes_on_behind_one(mine: TinyRun, text: str, parts: list[str]) -> None:
    split = PretokenSplitter(mine.tokenizer("original"))
    pretokens = split(text)
    joined = joints(pretokens, split, Boundaries()).joined(np.arange(len(pretokens)), np.array([len(pretokens)]))
    found = [""]
    for pretoken, goes_on in zip(pretokens, joined.tolist(), strict=True):
        found[-1] += pretoken
        found += [] if goes_on else [""]
    assert found == [*parts, ""]
    loose = joints(pretokens, split, Boundaries.named("none"))
    assert loose.joined(np.arange(len(pretokens)), np.array([len(pretokens)]))[:-1].all()


@pytest.mark.slow
def test_conditions_hold_for_the_whole_string(mine: TinyRun) -> None:
    documents = list(read_documents(mine.paths.cleaned_corpora))
    options = ("--min-documents", "12", "--min-count", "20", "--max-bytes", "14", "--exclude", "cell|gene")
    assert mine("select", "--force", "--swaps", "40", "--max-words", "3", *options) == 0
    found = superwords(mine)
    assert found
    for text in found:
        assert sum(text in document for document in documents) >= 12
        assert "\n".join(documents).count(text) >= 20
        assert len(text.encode()) <= 14
        assert "cell" not in text and "gene" not in text


@pytest.mark.slow
def test_auto_chooses_superwords_that_pay_on_other_documents(mine: TinyRun) -> None:
    assert mine("select", "--force", "--swaps", "auto", "--max-words", "2", "--min-gain", "5") == 0
    assert superwords(mine)
    assert mine("remap") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--max-words", "0"), "--max-words 0: must be a number from 1 to 16"),
        (("--max-words", "17"), "--max-words 17: must be a number from 1 to 16"),
        (("--superword-boundaries", "lines"), "--superword-boundaries 'lines': sentences, digits, sentences,digits or"),
        (("--superword-boundaries", "none,digits"), "--superword-boundaries 'none,digits': sentences, digits,"),
    ],
)
def test_bad_options_are_named(mine: TinyRun, said: Callable[[], str], arguments: tuple[str, ...], reason: str) -> None:
    assert mine("select", "--force", *arguments) == 2
    assert reason in said()


@pytest.mark.slow
def test_text_full_of_numbers_is_told_of_the_boundaries(
    mine: TinyRun, said: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ivr.tokenizer.select.inputs.MANY_NUMBERS", 0.001)
    assert mine("select", "--force", "--max-words", "2") == 0
    assert "--superword-boundaries none lets new strings span them" in said()


@pytest.mark.slow
def test_undo_and_rules_come_back(mine: TinyRun, tmp_path: Path, said: Callable[[], str]) -> None:
    rules = read_rules(mine.paths.remap_rules)
    text = mine.paths.remap_rules.read_text(encoding="utf-8")
    assert text.startswith("format: 3\n")
    write_rules(tmp_path / "again.yaml", rules)
    assert (tmp_path / "again.yaml").read_text(encoding="utf-8") == text
    remapped = (mine.paths.remapped_tokenizer / "tokenizer.json").read_bytes()
    assert mine("remap", "--rules", str(tmp_path / "again.yaml")) == 0
    assert (mine.paths.remapped_tokenizer / "tokenizer.json").read_bytes() == remapped
    swap = next(swap for swap in rules.swaps if swap.words == 2)
    head, _, tail = text.partition(f"- id: {swap.id}\n")
    for old, new, reason in (
        ("words: 2", "words: 3", f"words 3, but {swap.new!r} spans 2"),
        (f"score: {swap.score}", "score: 7", "score 7 is too low"),
        ("words: 2", "words: two", "words = 'two'"),
    ):
        (tmp_path / "bad.yaml").write_text(f"{head}- id: {swap.id}\n{tail.replace(old, new, 1)}", encoding="utf-8")
        assert mine("remap", "--rules", str(tmp_path / "bad.yaml")) == 4
        assert reason in said()
    assert mine("remap", "--undo") == 0
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (mine.paths.remapped_tokenizer / name).read_bytes() == (
            mine.paths.distilled_tokenizer / name
        ).read_bytes()


@pytest.mark.slow
def test_a_table_written_by_hand_may_hold_superwords(mine: TinyRun, said: Callable[[], str]) -> None:
    rows = table(mine)[:4]
    wanted = [" cell (gene", "of the. cell 12", "'s own", "—x"]

    def write(texts: list[str]) -> None:
        with mine.paths.replacement_candidates.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, ["old_id", "old_token", "new_token", "new_text"])
            writer.writeheader()
            for row, text in zip(rows, texts, strict=True):
                writer.writerow({"old_id": row["old_id"], "old_token": row["old_token"], "new_text": write_cell(text)})

    write(wanted)
    assert mine("remap") == 0
    after = mine.tokenizer("remapped")
    for row, text in zip(rows, wanted, strict=True):
        assert after.encode(text).ids == [int(row["old_id"])]
    for bad, reason in (("the\ncell", "no new token spans a line end"), ("'stuff", "behind a contraction")):
        write([*wanted[:3], bad])
        assert mine("remap") == 4
        assert reason in said()


@pytest.mark.slow
def test_verify_explains_a_superword_as_such(mine: TinyRun, capfd: pytest.CaptureFixture[str]) -> None:
    files = [str(mine.paths.root / "tokenizers" / name) for name in ("remapped", "original")]
    options = ("--runs", "0", "--processes", "1", "--adversarial", "50")
    assert mine("verify", "--tokenizer", files[0], "--against", files[1], *options) == 1
    report = json.loads((mine.paths.root / "verification" / "verification.json").read_text(encoding="utf-8"))
    documents, after = report["documents"], mine.tokenizer("remapped")
    new = {swap.id for swap in read_rules(mine.paths.remap_rules).swaps if swap.words > 1}
    texts = [text for path in (mine.paths.cleaned_corpora, mine.paths.general_cleaned) for text in read_documents(path)]
    counts = used(after, texts)
    assert documents["causes"]["superword"] == sum(counts[token_id] for token_id in new)
    assert documents["different_decodings"] == documents["not_restored"] == 0
    row = next(row for row in documents["mismatches"] if row["cause"] == "superword")
    assert len(row["tokenizer"]) == 1 < len(row["against"])
    assert "".join(row["against"]) == row["tokenizer"][0]
    assert from_alphabet(row["tokenizer"][0]).decode() == row["text"]
    assert "superword" in report["summary"]
    assert "one token of the tokenizer spans several pretokens" in report["causes"]["superword"]


PIECES = st.sampled_from(
    ["the", "of", " the", " of", " cell", "cell", " and", " in", "-", " ", "\n", ".", "'s", "a", "세"]
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(PIECES, st.sampled_from(NASTY), st.text(max_size=4)), max_size=15).map("".join))
def test_any_text_comes_back_and_text_not_concerned_is_as_before(spanning: TinyRun, text: str) -> None:
    before, after = spanning.tokenizer("distilled_unigram"), spanning.tokenizer("remapped")
    rules = read_rules(spanning.paths.remap_rules)
    encoding, old = after.encode(text, add_special_tokens=False), before.encode(text, add_special_tokens=False).ids
    assert after.decode(encoding.ids, skip_special_tokens=False) == text
    assert len(encoding.ids) <= len(old) + 9 * sum(token_id in {swap.id for swap in rules.swaps} for token_id in old)
    if not {swap.id for swap in rules.swaps} & set(old) and not any(
        from_alphabet(swap.new) in text.encode() for swap in rules.swaps
    ):
        assert encoding.ids == old


@pytest.mark.slow
def test_names_of_boundaries() -> None:
    assert Boundaries.named("sentences,digits") == Boundaries()
    assert Boundaries.named("none") == Boundaries(sentences=False, digits=False)
    with pytest.raises(ValueError, match="words"):
        Boundaries.named("words")


@pytest.mark.slow
def test_pieces_of_a_superword_join_to_it(spanning: TinyRun) -> None:
    tokens = read_bpe(spanning.tokenizer("original")).tokens
    for swap in read_rules(spanning.paths.remap_rules).swaps:
        assert "".join(tokens[piece] for piece in swap.pieces) == swap.new


@pytest.mark.slow
def test_only_a_tokenizer_with_superwords_is_told_as_one(spanning: TinyRun, remapped: TinyRun) -> None:
    texts = [
        (run.paths.remapped_tokenizer / "tokenizer.json").read_text(encoding="utf-8") for run in (spanning, remapped)
    ]
    assert [has_superwords(text) for text in texts] == [True, False]


@pytest.mark.slow
def test_the_report_shows_held_out_lines_with_new_tokens_marked(mine: TinyRun) -> None:
    rules = read_rules_of(mine.paths)
    assert segmentation(mine.paths, rules) == Note("There is no held-out text.", warning=True)
    mine.paths.heldout_corpora.mkdir(exist_ok=True)
    text = superwords(mine)[0] + " <b>" + 40 * "."
    (mine.paths.heldout_corpora / "a.txt").write_text(
        f"{text}\nmore\n<|endoftext|>\nshort\n<|endoftext|>\n", encoding="utf-8"
    )
    shown = segmentation(mine.paths, rules)
    assert isinstance(shown, Lines) and len(shown.lines) == 1
    line = shown.lines[0]
    assert "".join(piece.text for piece in line.before) == "".join(piece.text for piece in line.after) == text
    (new,) = [piece for piece in line.after if piece.text == superwords(mine)[0]]
    (swap,) = [swap for swap in rules.values() if readable(swap.new) == new.text]
    assert new.about.startswith(f"id {swap.id}, was “") and new.about.count("”") == 1 + len(swap.pieces)
    assert not any(piece.about for piece in line.before) and line.tokens[0] > line.tokens[1]
    shutil.rmtree(mine.paths.remapped_tokenizer)
    assert segmentation(mine.paths, rules) == Missing("remap")
