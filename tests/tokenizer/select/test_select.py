"""`ivr select`: what it reports is what a recount with the written tokenizers finds; its conditions are kept."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from tiny_run import GENERAL_WORDS, SWAPS, TinyRun
from tokenizers import Tokenizer

from ivr.corpus.documents import read_documents
from ivr.encoding.byte_alphabet import from_alphabet
from ivr.stage import Manifest
from ivr.tokenizer.select.candidates import DEFAULT_EXCLUDE
from ivr.tokenizer.select.output.table import plain_cell, read_rows
from ivr.tokenizer.select.stopping import WINDOW, documents_where, number_that_pays

Row = dict[str, str]


def rows(run: TinyRun) -> list[Row]:
    return [
        {column: plain_cell(cell) for column, cell in row.items()}
        for _, row in read_rows(run.paths.replacement_candidates)
    ]


def used(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[int]:
    return Counter(token_id for text in texts for token_id in tokenizer.encode(text, add_special_tokens=False).ids)


def domain(run: TinyRun) -> list[str]:
    return list(read_documents(run.paths.cleaned_corpora))


def select(run: TinyRun, *arguments: str) -> list[Row]:
    assert run("select", "--force", "--swaps", "25", *arguments) == 0
    return rows(run)


def new_strings(table: list[Row]) -> list[bytes]:
    return [from_alphabet(row["new_token"]) for row in table]


def test_totals_are_what_the_library_counts(remapped: TinyRun) -> None:
    before, after = remapped.tokenizer("distilled_unigram"), remapped.tokenizer("remapped")
    results, texts = remapped.results("select"), domain(remapped)
    general = list(read_documents(remapped.paths.general_cleaned))
    assert results["swaps"] == SWAPS
    assert remapped.results("remap")["unreachable_ids"] == []
    assert results["tokens_before"] == used(before, texts).total()
    assert results["tokens_after"] == used(after, texts).total()
    assert results["protected_before"] == used(before, general).total()
    assert results["protected_after"] == used(after, general).total()
    assert results["tokens_after"] < 0.9 * results["tokens_before"]


def test_counts_of_every_row_are_what_the_library_counts(remapped: TinyRun) -> None:
    texts = domain(remapped)
    before = used(remapped.tokenizer("distilled_unigram"), texts)
    after = used(remapped.tokenizer("remapped"), texts)
    for row in rows(remapped):
        assert int(row["old_count"]) == before[int(row["old_id"])]
        assert int(row["new_count"]) == after[int(row["old_id"])]


def test_the_rows_are_ids_and_strings_once_each(remapped: TinyRun) -> None:
    tokenizer, table = remapped.tokenizer("distilled_unigram"), rows(remapped)
    assert len({row["old_id"] for row in table}) == len({row["new_token"] for row in table}) == SWAPS
    assert all(tokenizer.id_to_token(int(row["old_id"])) == row["old_token"] for row in table)
    assert all(tokenizer.token_to_id(row["new_token"]) is None for row in table)
    assert [float(row["tokens_saved"]) for row in table] == sorted(
        (float(row["tokens_saved"]) for row in table), reverse=True
    )


def test_frequent_strings_of_the_field_enter(remapped: TinyRun) -> None:
    strings = new_strings(rows(remapped))
    assert b" zebrafish" in strings
    assert " 세포주".encode() in strings


@pytest.mark.slow
def test_bytes_and_specials_never_leave(fresh: TinyRun) -> None:
    leaving = [int(row["old_id"]) for row in select(fresh, "--swaps", "5000", "--min-gain", "0", "--min-count", "1")]
    tokenizer = fresh.tokenizer("distilled_unigram")
    assert len(leaving) > SWAPS
    assert min(len(tokenizer.id_to_token(token_id)) for token_id in leaving) > 1
    assert tokenizer.token_to_id("<|endoftext|>") not in leaving


def test_kept_tokens_never_leave(fresh: TinyRun, tmp_path: Path) -> None:
    leaving = [from_alphabet(row["old_token"]) for row in select(fresh)]
    kept = [token.decode() for token in leaving if token.isascii() and b"\n" not in token][:6]
    file = tmp_path / "keep.txt"
    file.write_text("\n".join(kept) + "\n\n")
    now = [from_alphabet(row["old_token"]) for row in select(fresh, "--keep-tokens", str(file))]
    assert len(kept) == 6
    assert not {token.encode() for token in kept} & set(now)
    assert len(now) == SWAPS


@pytest.mark.slow
def test_a_file_of_tokens_to_keep_may_begin_with_a_mark_and_must_be_utf8(
    fresh: TinyRun, tmp_path: Path, said: Callable[[], str]
) -> None:
    file = tmp_path / "keep.txt"
    file.write_bytes(b"\xef\xbb\xbf the\n")
    assert fresh("select", "--force", "--keep-tokens", str(file)) == 0
    file.write_bytes("café\n".encode("latin-1"))
    assert fresh("select", "--force", "--keep-tokens", str(file)) == 4
    assert f"{file} is not UTF-8" in said()


def test_a_line_to_keep_that_is_no_token_is_named(fresh: TinyRun, tmp_path: Path, said: Callable[[], str]) -> None:
    file = tmp_path / "keep.txt"
    file.write_text(" the\nnot a token\n")
    assert fresh("select", "--force", "--keep-tokens", str(file)) == 2
    assert f"{file}, line 2: 'not a token' is not a token" in said()


@pytest.mark.parametrize("min_count", [2, 60, 10**9])
def test_a_new_string_occurs_often_enough(fresh: TinyRun, min_count: int) -> None:
    text = "\n".join(domain(fresh)).encode()
    strings = new_strings(select(fresh, "--min-count", str(min_count)))
    assert all(text.count(string) >= min_count for string in strings)
    assert bool(strings) == (min_count < 10**9)


def test_a_new_string_is_short_enough_and_in_documents_enough(fresh: TinyRun) -> None:
    documents = [document.encode() for document in domain(fresh)]
    strings = new_strings(select(fresh, "--max-bytes", "7", "--min-documents", "20", "--min-count", "1"))
    assert strings
    assert max(map(len, strings)) <= 7
    assert all(sum(string in document for document in documents) >= 20 for string in strings)


def test_excluded_strings_do_not_enter(fresh: TinyRun) -> None:
    pattern = "fish|세|[A-Z]"
    texts = [string.decode() for string in new_strings(select(fresh, "--exclude", pattern))]
    assert texts
    assert not [text for text in texts if re.search(pattern, text)]


@pytest.mark.slow
def test_parts_of_characters_enter_only_when_asked_for(fresh: TinyRun) -> None:
    def partial(table: list[Row]) -> list[bytes]:
        return [string for string in new_strings(table) if string.decode(errors="replace").encode() != string]

    assert partial(select(fresh, "--swaps", "400", "--min-gain", "0", "--min-count", "1")) == []
    no_whole_ones = ("--exclude", ".", "--max-bytes", "3")  # a pattern cannot be searched in part of a character
    assert select(fresh, *no_whole_ones) == []
    assert partial(select(fresh, *no_whole_ones, "--partial-characters"))


@pytest.mark.parametrize(
    ("string", "refused"),
    [("joe@mail", True), (")@@[", False), ("C@@H](", False), ("C@H", False), ("https://x", True), ("12345", True)],
)
def test_what_is_excluded_by_default(string: str, refused: bool) -> None:
    """Parts of addresses and long numbers; chemistry writes @, too."""
    assert bool(re.search(DEFAULT_EXCLUDE, string)) == refused


@pytest.mark.slow
def test_ids_that_are_left_go_to_lesser_strings_when_a_number_was_asked_for(
    fresh: TinyRun, said: Callable[[], str]
) -> None:
    text = "\n".join(domain(fresh)).encode()
    strict = select(fresh, "--swaps", "3000", "--min-gain", "2", "--min-count", "3")
    assert "ids asked for stay as they are" in said()
    assert all(float(row["tokens_saved"]) >= 2 for row in strict)
    filled = select(fresh, "--swaps", "3000")
    assert len(filled) > len(strict)
    assert set(new_strings(strict)) <= set(new_strings(filled))
    assert all(text.count(string) >= 2 for string in new_strings(filled))
    idle = [row for row in filled if float(row["tokens_saved"]) <= 0]
    assert all("for words like those" in row["reason"] for row in idle)
    log = fresh.paths.selection_log.read_text(encoding="utf-8")
    assert (f"{len(idle):,} new strings save nothing on the corpus itself" in log) == bool(idle)
    assert fresh("remap") == 0  # every one is produced for its own string
    assert fresh.results("remap")["unreachable_ids"] == []
    assert all(text.count(string) >= 9 for string in new_strings(select(fresh, "--swaps", "3000", "--min-count", "9")))


def test_what_protected_text_loses_counts(fresh: TinyRun) -> None:
    """Words of the general text alone are free to go when it counts nothing, and dear when it counts much."""
    free = [row["old_token"] for row in select(fresh, "--protect-weight", "0")]
    lost = fresh.results("select")["protected_after"]
    kept = [row["old_token"] for row in select(fresh, "--protect-weight", "100")]
    assert {"Ġ" + word for word in GENERAL_WORDS} & set(free)
    assert not {"Ġ" + word for word in GENERAL_WORDS} & set(kept)
    assert fresh.results("select")["protected_after"] <= fresh.results("select")["protected_before"] < lost


def test_another_protected_corpus_takes_the_place_of_the_general_text(fresh: TinyRun, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "mine.txt").write_text("sister winter\n<|endoftext|>\n" * 400)
    leaving = [row["old_token"] for row in select(fresh, "--protect-corpus", str(folder))]
    texts = list(read_documents(folder))
    assert "Ġwinter" not in leaving
    assert fresh.results("select")["protected_before"] == used(fresh.tokenizer("distilled_unigram"), texts).total()


def test_two_runs_write_the_same_bytes(fresh: TinyRun) -> None:
    files = (fresh.paths.replacement_candidates, fresh.paths.selection_log)
    before = [file.read_bytes() for file in files]
    assert fresh("select", "--swaps", str(SWAPS), "--force") == 0
    assert [file.read_bytes() for file in files] == before


def test_the_log_names_the_figures(remapped: TinyRun) -> None:
    log, results = remapped.paths.selection_log.read_text(encoding="utf-8"), remapped.results("select")
    assert f"{results['tokens_before']:,} | {results['tokens_after']:,}" in log
    assert "zebrafish" in log


def test_an_edited_table_is_not_replaced_unasked(fresh: TinyRun, said: Callable[[], str]) -> None:
    file = fresh.paths.replacement_candidates
    edited = "".join(file.read_text(encoding="utf-8").splitlines(keepends=True)[:-3])
    file.write_text(edited, encoding="utf-8")
    assert fresh("select", "--swaps", "10") == 3
    assert "was edited" in said()
    assert file.read_text(encoding="utf-8") == edited
    assert fresh("select", "--swaps", "10", "--force") == 0
    assert file.with_name(file.name + ".edited").read_text(encoding="utf-8") == edited
    assert len(rows(fresh)) == 10
    assert Manifest.read(fresh.paths.manifest("select"))


def test_no_swaps_and_no_distilled_tokenizer(analyzed: TinyRun, said: Callable[[], str]) -> None:
    assert analyzed("select", "--swaps", "0") == 2
    assert analyzed("select") == 3
    assert "run `ivr distill-tokenizer` first" in said()


@pytest.mark.parametrize(
    ("arguments", "said_value"),
    [
        (("--exclude", "("), "--exclude '('"),
        (("--protect-weight", "nan"), "--protect-weight nan"),
        (("--protect-weight", "-1"), "--protect-weight -1"),
        (("--use-cost", "inf"), "--use-cost inf"),
    ],
)
def test_a_value_without_sense_is_refused(
    analyzed: TinyRun, said: Callable[[], str], arguments: tuple[str, str], said_value: str
) -> None:
    assert analyzed("select", "--swaps", "5", *arguments) == 2
    assert said_value in said()


# --swaps auto -----------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_auto_stops_where_swaps_gain_too_little_on_text_set_aside(fresh: TinyRun) -> None:
    numbers = [len(select(fresh, "--swaps", "auto", "--min-gain", str(least))) for least in (1, 40, 10**6)]
    assert numbers[0] > numbers[1] > numbers[2] == 0


@pytest.mark.slow
def test_auto_reads_only_documents_to_learn_from(fresh: TinyRun) -> None:
    before = select(fresh, "--swaps", "auto", "--min-gain", "40")
    for file in fresh.paths.heldout_corpora.glob("*.txt"):
        file.write_text("other\n<|endoftext|>\n")
    assert select(fresh, "--swaps", "auto", "--min-gain", "40") == before


def test_swaps_is_a_number_or_auto(fresh: TinyRun, said: Callable[[], str]) -> None:
    with pytest.raises(SystemExit):
        fresh("select", "--swaps", "all")
    assert "a whole number or auto is needed" in said()


def test_the_gains_add_up_and_the_first_poor_window_ends_them() -> None:
    gains_K = np.concatenate([np.full(2 * WINDOW, 9.0), np.full(WINDOW, 1.0), np.full(WINDOW, 9.0)])
    assert number_that_pays(gains_K, 5) == 2 * WINDOW
    assert number_that_pays(gains_K, 0.5) == 4 * WINDOW
    assert number_that_pays(gains_K[:0], 5) == 0


def test_about_a_tenth_is_set_aside_always_the_same() -> None:
    texts = [f"document {number}" for number in range(3000)]
    aside = list(documents_where(texts, True))
    assert 200 < len(aside) < 400
    assert aside == list(documents_where(texts, True))
    assert sorted(aside + list(documents_where(texts, False))) == sorted(texts)
