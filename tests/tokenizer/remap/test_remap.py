"""`ivr remap`: every new token is produced for its own string, nothing else changes, and a bad row is named."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gpt2_texts import RUNS
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bpe import bpe_of
from tiny_run import NASTY, RARE, SWAPS, TinyRun, domain_documents
from tokenizers import AddedToken, Tokenizer

from ivr.analysis.pretokens import PretokenSplitter
from ivr.disk.digest import sha256_file
from ivr.encoding.bpe import read_bpe
from ivr.encoding.byte_alphabet import from_alphabet, to_alphabet
from ivr.errors import CorruptInputError
from ivr.tokenizer.distill.pipeline import distill
from ivr.tokenizer.remap.apply import DistilledTokenizer, apply_swaps, check_candidates, make_swaps, undo_swaps
from ivr.tokenizer.remap.rules import RemapRules, Swap, read_rules, write_rules
from ivr.tokenizer.scores.merge_weights import EXACT_IN_FILE
from ivr.tokenizer.select.output.cells import write_cell
from ivr.tokenizer.select.output.table import Candidate
from ivr.tokenizer.unigram_file import read_unigram


@pytest.fixture(scope="module")
def before(remapped: TinyRun) -> Tokenizer:
    return remapped.tokenizer("distilled_unigram")


@pytest.fixture(scope="module")
def after(remapped: TinyRun) -> Tokenizer:
    return remapped.tokenizer("remapped")


def test_only_the_swapped_ids_have_other_strings(remapped: TinyRun, before: Tokenizer, after: Tokenizer) -> None:
    swaps = {swap.id: swap for swap in read_rules(remapped.paths.remap_rules).swaps}
    assert len(swaps) == SWAPS
    for token_id in range(before.get_vocab_size()):
        if token_id in swaps:
            assert (before.id_to_token(token_id), after.id_to_token(token_id)) == (
                swaps[token_id].old,
                swaps[token_id].new,
            )
        else:
            assert after.id_to_token(token_id) == before.id_to_token(token_id)


def test_every_new_token_is_produced_for_its_own_string(remapped: TinyRun, after: Tokenizer) -> None:
    for swap in read_rules(remapped.paths.remap_rules).swaps:
        assert after.encode(from_alphabet(swap.new).decode()).ids == [swap.id]


def test_the_pieces_are_the_original_tokenizers(remapped: TinyRun) -> None:
    original = remapped.tokenizer("original")
    for swap in read_rules(remapped.paths.remap_rules).swaps:
        assert original.encode(from_alphabet(swap.new).decode()).ids == list(swap.pieces)


def test_the_rules_name_their_tokenizers(remapped: TinyRun) -> None:
    rules, paths = read_rules(remapped.paths.remap_rules), remapped.paths
    assert rules.original_tokenizer_sha256 == sha256_file(paths.original_tokenizer / "tokenizer.json")
    assert rules.distilled_tokenizer_sha256 == sha256_file(paths.distilled_tokenizer / "tokenizer.json")


WORD = st.sampled_from([*RARE, "cell", "the", "zebra", "fish", " ", "  ", "\n", ".", "ph", "oryl", "세", "1"])
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])), st.lists(WORD).map("".join), st.lists(WORD).map(" ".join)
)


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_any_text_comes_back(before: Tokenizer, after: Tokenizer, text: str) -> None:
    for tokenizer in (before, after):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_text_without_old_token_or_new_string_is_as_before(
    remapped: TinyRun, before: Tokenizer, after: Tokenizer, text: str
) -> None:
    swaps = read_rules(remapped.paths.remap_rules).swaps
    ids, old_ids = before.encode(text).ids, {swap.id for swap in swaps}
    new = [from_alphabet(swap.new) for swap in swaps]
    for pretoken in PretokenSplitter(before)(text):
        alone = before.encode(pretoken).ids
        if not old_ids & set(alone) and not any(string in pretoken.encode() for string in new):
            assert after.encode(pretoken).ids == alone
    if not old_ids & set(ids) and not any(string in text.encode() for string in new):
        assert after.encode(text).ids == ids


def test_nasty_documents_come_back(after: Tokenizer) -> None:
    for text in [*NASTY, *domain_documents(30, seed=4)]:
        assert after.decode(after.encode(text).ids, skip_special_tokens=False) == text


def test_before_distill_tokenizer_it_names_the_command(
    analyzed: TinyRun, copy_run: Callable[[TinyRun], TinyRun], said: Callable[[], str]
) -> None:
    run = copy_run(analyzed)
    assert run("remap") == 3
    assert "run `ivr distill-tokenizer` first" in said()
    assert not run.paths.remapped_tokenizer.exists()


def test_before_select_it_names_the_command(
    distilled: TinyRun, copy_run: Callable[[TinyRun], TinyRun], said: Callable[[], str]
) -> None:
    assert copy_run(distilled)("remap") == 3
    assert "run `ivr select` first" in said()


def test_two_runs_write_the_same_bytes(fresh: TinyRun) -> None:
    folder = fresh.paths.remapped_tokenizer
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert fresh("remap", "--force") == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_edited_rules_are_carried_out(fresh: TinyRun, tmp_path: Path) -> None:
    rules = read_rules(fresh.paths.remap_rules)
    kept = rules.swaps[::2]
    path = tmp_path / "mine.yaml"
    write_rules(path, RemapRules(rules.original_tokenizer_sha256, rules.distilled_tokenizer_sha256, kept))
    assert fresh("remap", "--rules", str(path)) == 0
    written = read_rules(fresh.paths.remap_rules)
    assert written == RemapRules(rules.original_tokenizer_sha256, rules.distilled_tokenizer_sha256, kept)
    before, after = fresh.tokenizer("distilled_unigram"), fresh.tokenizer("remapped")
    for swap in rules.swaps:
        assert after.id_to_token(swap.id) == (swap.new if swap in kept else before.id_to_token(swap.id))


def test_a_bad_swap_of_a_rules_file_is_named(fresh: TinyRun, tmp_path: Path, said: Callable[[], str]) -> None:
    rules = read_rules(fresh.paths.remap_rules)
    path = tmp_path / "mine.yaml"
    text = fresh.paths.remap_rules.read_text(encoding="utf-8")
    first, second = (f"- id: {swap.id}\n" for swap in rules.swaps[:2])
    path.write_text(text.replace(first, "- id: 7\n"), encoding="utf-8")
    assert fresh("remap", "--rules", str(path)) == 4
    assert f"{path}, line 5: old_id 7 is a byte and cannot be given away" in said()
    assert second in text


# a table that a person edited ------------------------------------------------------------------------------------
Table = list[dict[str, str]]


class EditedTable:
    """`refusal(edit)` edits the table, runs the stage and gives what it said; the old tokenizer must stay."""

    def __init__(self, run: TinyRun, said: Callable[[], str]) -> None:
        self.run, self.said = run, said
        self.file = run.paths.replacement_candidates

    def read(self) -> Table:
        return list(csv.DictReader(io.StringIO(self.file.read_text(encoding="utf-8"))))

    def write(self, table: Table) -> None:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
        self.file.write_text(stream.getvalue(), encoding="utf-8")

    def refusal(self) -> str:
        before = sha256_file(self.run.paths.remapped_tokenizer / "tokenizer.json")
        assert self.run("remap") == 4
        assert sha256_file(self.run.paths.remapped_tokenizer / "tokenizer.json") == before
        message = self.said()
        assert str(self.file) in message
        return message


@pytest.fixture
def table(fresh: TinyRun, said: Callable[[], str]) -> EditedTable:
    return EditedTable(fresh, said)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("old_id", "x", "line 3, old_id = 'x': not a whole number"),
        ("old_id", "", "line 3, old_id = '': not a whole number"),
        ("old_id", "12.0", "line 3, old_id = '12.0': not a whole number"),
        ("old_id", "1_2", "line 3, old_id = '1_2': not a whole number"),
        ("old_id", "-1", "line 3, old_id = '-1': not a whole number"),
        ("old_id", "99999", "line 3: old_id 99999 is not an id (0 to "),
        ("old_id", "7", "line 3: old_id 7 is a byte and cannot be given away"),
        ("old_id", "END", "is an added token and cannot be given away"),
        ("old_id", "FIRST", "stands in line 2 already"),
        ("old_token", "Ġwrong", "line 3: old_token 'Ġwrong' is not id "),
        ("new_token", "Ġthe", "line 3: new_token 'Ġthe' is id "),
        ("new_token", "FIRST", "stands in line 2 already"),
        ("new_token", "two words", "line 3, new_token = 'two words': ' ' is not in the byte alphabet"),
        ("new_token", "세포", "line 3, new_token = '세포': '세' is not in the byte alphabet"),
        (
            "new_token",
            "ĠtwoĊone",
            "line 3: new_token ' two\\none' is split into [' two', '\\n', 'one'] before the model",
        ),
        ("new_token", "é", "line 3: new_token 'é' is id "),
    ],
)
def test_a_bad_row_is_named_with_line_column_value_and_reason(
    table: EditedTable, column: str, value: str, reason: str
) -> None:
    rows = table.read()
    if value == "FIRST":
        value = rows[0][column]
        if column == "old_id":
            rows[1]["old_token"] = rows[0]["old_token"]
    if value == "END":
        value = str(table.run.tokenizer("original").token_to_id("<|endoftext|>"))
    rows[1][column] = value
    table.write(rows)
    message = table.refusal()
    assert reason in message
    assert "line 3" in message
    assert column in message


def test_a_row_without_any_new_string(table: EditedTable) -> None:
    rows = table.read()
    rows[1].update(new_token="", new_text="")
    table.write(rows)
    assert "line 3, new_token = '': empty, and no new_text to make it from" in table.refusal()


def edit_lines(table: EditedTable, edit: Callable[[list[str]], None]) -> None:
    lines = table.file.read_text(encoding="utf-8").splitlines()
    edit(lines)
    table.file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_comma_without_quotes_is_seen(table: EditedTable) -> None:
    edit_lines(table, lambda lines: lines.__setitem__(2, lines[2].replace(",", ",oops,", 1)))
    assert "line 3: more fields than columns; a token with a comma or a quote in it stands in quotes" in table.refusal()


def test_a_short_row_is_seen(table: EditedTable) -> None:
    edit_lines(table, lambda lines: lines.__setitem__(2, lines[2].rpartition(",")[0]))
    assert "line 3: fewer fields than columns" in table.refusal()


def test_a_missing_column_is_named(table: EditedTable) -> None:
    edit_lines(table, lambda lines: lines.__setitem__(0, lines[0].replace("old_token", "token")))
    assert "line 1: no column old_token" in table.refusal()


def test_a_file_that_is_not_utf8(table: EditedTable) -> None:
    table.file.write_bytes(table.file.read_bytes() + b"\xff\xfe\n")
    assert "is not UTF-8" in table.refusal()


def test_a_quote_without_end(table: EditedTable) -> None:
    table.file.write_text(table.file.read_text(encoding="utf-8") + '5,"abc', encoding="utf-8")
    assert "not a table of this kind" in table.refusal()


def test_text_in_place_of_a_token_and_fewer_rows_work(table: EditedTable) -> None:
    rows = table.read()[:4]
    rows[0].update(new_token="", new_text=" 단백질")
    rows[1].update(new_token="", new_text=write_cell("''\""))
    table.write(rows)
    assert table.run("remap") == 0
    after = table.run.tokenizer("remapped")
    assert after.encode(" 단백질").ids == [int(rows[0]["old_id"])]
    assert after.encode("''\"").ids == [int(rows[1]["old_id"])]
    assert len(read_rules(table.run.paths.remap_rules).swaps) == 4


def test_a_text_that_was_edited_beside_its_token_is_said(table: EditedTable, capfd: pytest.CaptureFixture[str]) -> None:
    assert table.run("remap") == 0
    assert "new_text" not in capfd.readouterr().err
    rows = table.read()
    rows[1].update(new_text=write_cell(" 단백질"))
    table.write(rows)
    assert table.run("remap") == 0
    assert "in 1 rows new_text is not what new_token reads, first in line 3: new_token counts" in capfd.readouterr().err


def test_a_table_from_a_spreadsheet_and_from_elsewhere_works(table: EditedTable, tmp_path: Path) -> None:
    text = table.file.read_text(encoding="utf-8")
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    before = table.run.paths.remap_rules.read_bytes()
    assert table.run("remap", "--candidates", str(path)) == 0
    assert table.run.paths.remap_rules.read_bytes() == before
    shutil.copy(path, table.file)


# the way back -----------------------------------------------------------------------------------------------------
def test_undo_gives_the_distilled_tokenizer_byte_for_byte(fresh: TinyRun) -> None:
    distilled, remapped = fresh.paths.distilled_tokenizer, fresh.paths.remapped_tokenizer
    wanted = {name: (distilled / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")}
    assert (remapped / "tokenizer.json").read_bytes() != wanted["tokenizer.json"]
    shutil.rmtree(distilled)  # what it needs stands in the remapped tokenizer and its rules
    assert fresh("remap", "--undo") == 0
    assert {name: (remapped / name).read_bytes() for name in wanted} == wanted
    assert read_rules(fresh.paths.remap_rules).swaps == ()


def test_a_remapped_tokenizer_that_was_altered_is_not_undone(fresh: TinyRun, said: Callable[[], str]) -> None:
    file = fresh.paths.remapped_tokenizer / "tokenizer.json"
    rules = read_rules(fresh.paths.remap_rules)
    write_rules(
        fresh.paths.remap_rules,
        RemapRules(rules.original_tokenizer_sha256, rules.distilled_tokenizer_sha256, rules.swaps[1:]),
    )
    before = file.read_bytes()
    assert fresh("remap", "--undo") == 3
    assert "is for an distilled tokenizer with sha256" in said()
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("score", "1", "score 1 is too low"),
        ("score", str(2**60), f"score = {2**60}: it lies beyond 2^53"),
        ("pieces", "[0]", "pieces [0] do not make"),
        ("pieces", "[99999]", "pieces [99999]: 99999 is no token of the original"),
        ("old_score", "3", "old_score 3 is not the score of id"),
    ],
)
def test_rules_that_cannot_be_carried_out_are_named(
    fresh: TinyRun, tmp_path: Path, said: Callable[[], str], key: str, value: str, reason: str
) -> None:
    lines = fresh.paths.remap_rules.read_text(encoding="utf-8").splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith(f"  {key}:"))
    lines[place] = f"  {key}: {value}"
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert fresh("remap", "--rules", str(path)) == 4
    message = said()
    assert f"{path}, line 5" in message
    assert reason in message


# real text --------------------------------------------------------------------------------------------------------
REAL_TEXT = st.lists(
    st.one_of(st.sampled_from([*RUNS, *RARE, " the", " protein", "N", "\n", " "]), st.text("c=()1. \n", max_size=9))
).map("".join)


@pytest.mark.parametrize(("score", "refused"), [(EXACT_IN_FILE - 2, False), (EXACT_IN_FILE - 1, True)])
def test_a_score_that_no_file_holds_is_refused_with_its_row(score: int, refused: bool) -> None:
    """`bcd` is to outweigh `bc`, which was given the largest score or one less."""
    base = bpe_of([("a", "b"), ("c", "d"), ("d", "d")])
    bpe = read_bpe(base)
    distilled = DistilledTokenizer(base, bpe.tokens, np.zeros(bpe.num_ids, np.int64))
    rows = [Candidate(2, bpe.tokens.index("ab"), "ab", "bc", score), Candidate(3, bpe.tokens.index("cd"), "cd", "bcd")]
    if refused:
        with pytest.raises(CorruptInputError, match=rf"line 3 of the candidates: new_token 'bcd' .* {EXACT_IN_FILE}"):
            make_swaps(rows, distilled, bpe, PretokenSplitter(base))
    else:
        swaps = make_swaps(rows, distilled, bpe, PretokenSplitter(base))
        assert max(swap.score for swap in swaps) == EXACT_IN_FILE - 1


@pytest.fixture(scope="module")
def real(gpt2: Tokenizer, distilled_gpt2: Tokenizer) -> tuple[Tokenizer, Tokenizer, tuple[Swap, ...], PretokenSplitter]:
    """GPT-2's tokenizer distilled, and with strings in place of its last ids, many of which cross a cut in a run."""
    bpe, split = read_bpe(gpt2), PretokenSplitter(gpt2)
    texts = [*RUNS, *RARE, " carcinomas", " the protein", "Ph", "c1"]
    pretokens = sorted({pretoken for text in texts for pretoken in split(text)})
    vocabulary = json.loads(distilled_gpt2.to_str())["model"]["vocab"]
    strings, scores_V = [t for t, _ in vocabulary], np.array([s for _, s in vocabulary], np.int64)
    parts = DistilledTokenizer(distilled_gpt2, strings, scores_V)
    known = set(parts.strings)
    new = [to_alphabet(p.encode()) for p in [*pretokens, ")))=", "cc", " aaaaar", "\n\n\n\n\n\n"]]
    new = sorted({token for token in new if token not in known})
    rows = [Candidate(0, 50_000 - place, parts.strings[50_000 - place], token) for place, token in enumerate(new)]
    swaps = make_swaps(rows, parts, bpe, split)
    return distilled_gpt2, apply_swaps(parts, swaps, split), swaps, split


@pytest.mark.slow
def test_new_tokens_with_runs_are_produced_for_their_own_strings(
    real: tuple[Tokenizer, Tokenizer, tuple[Swap, ...], PretokenSplitter],
) -> None:
    _, after, swaps, _ = real
    assert [swap.new for swap in swaps if "ccccc" in swap.new]
    for swap in swaps:
        assert after.encode(from_alphabet(swap.new).decode()).ids == [swap.id]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(text=REAL_TEXT)
def test_only_pretokens_with_a_new_string_or_an_old_token_change(
    real: tuple[Tokenizer, Tokenizer, tuple[Swap, ...], PretokenSplitter], text: str
) -> None:
    before, after, swaps, split = real
    assert after.decode(after.encode(text).ids, skip_special_tokens=False) == text
    old_ids, new = {swap.id for swap in swaps}, [from_alphabet(swap.new).decode() for swap in swaps]
    pretokens = split(text)
    touched = [p for p in pretokens if old_ids & set(before.encode(p).ids) or any(string in p for string in new)]
    if not touched:
        assert after.encode(text).ids == before.encode(text).ids


@pytest.mark.slow
def test_undoing_gives_the_same_tokenizer(
    real: tuple[Tokenizer, Tokenizer, tuple[Swap, ...], PretokenSplitter],
) -> None:
    before, after, swaps, split = real
    vocabulary = json.loads(after.to_str())["model"]["vocab"]
    parts = DistilledTokenizer(after, [t for t, _ in vocabulary], np.array([s for _, s in vocabulary], np.int64))
    assert undo_swaps(parts, swaps, split).to_str() == before.to_str()


@pytest.mark.slow
def test_added_tokens_and_what_no_text_gives_stay_as_they_are(tmp_path: Path) -> None:
    """One that merges make too, one byte, one beyond the vocabulary: string, flags, score and id outlive a swap."""
    base = bpe_of([("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("a", "b"), ("b", "c")])
    base.add_tokens([AddedToken("hello", single_word=True), AddedToken("!", special=True), AddedToken("<new>")])
    tokenizer = distill(base, read_bpe(base), ["hello", "xhello", "abc", "!"], 3.0).tokenizer
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    distilled = DistilledTokenizer(*read_unigram(tmp_path / "tokenizer.json"))
    split, path = PretokenSplitter(base), tmp_path / "candidates.csv"
    old = distilled.strings.index("bc")
    wanted = [Candidate(1, old, "bc", "xyz", None)]
    check_candidates(path, wanted, distilled, split)
    swapped = apply_swaps(distilled, make_swaps(wanted, distilled, read_bpe(base), split), split)
    before, after = (json.loads(one.to_str()) for one in (tokenizer, swapped))
    assert before["added_tokens"] == after["added_tokens"]
    changed = [row for row, (one, other) in enumerate(zip(*(s["model"]["vocab"] for s in (before, after)), strict=True))
               if one != other]  # fmt: skip
    assert changed == [old]
    for as_text in (False, True):
        swapped.encode_special_tokens = base.encode_special_tokens = as_text
        assert swapped.encode("xhello hello!<new>a").ids == base.encode("xhello hello!<new>a").ids
    assert swapped.encode("xyz").ids == [old]
    for token, said in (("hello", "is an added token"), ("!", "is an added token"), ("<new>", "is an added token")):
        row = Candidate(1, distilled.strings.index(token), token, "xyz", None)
        with pytest.raises(CorruptInputError, match=said):
            check_candidates(path, [row], distilled, split)
    with pytest.raises(CorruptInputError, match="holds the added token '<new>', which is cut out of text before"):
        check_candidates(path, [Candidate(1, old, "bc", "a<new>", None)], distilled, split)
