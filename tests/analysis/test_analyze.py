"""`ivr analyze` as a user calls it."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tiny_run import TinyRun, domain_documents, learnt_merges

from ivr.analysis.tables import merge_tables, read_pretoken_frequency
from ivr.cli import main
from ivr.corpus.documents import read_documents


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A run after `init`."""
    run = TinyRun(tmp_path_factory.mktemp("analyze"))
    general = domain_documents(30, seed=5)
    with pytest.MonkeyPatch.context() as patch:  # it imports transformers; tests/corpus sees to it
        patch.setattr("ivr.base.model_directory.check_auto_tokenizer", lambda folder, origin: None)
        assert run("init", *run.write_inputs(learnt_merges(general), domain_documents(), general)) == 0
    return run


def reports(run: TinyRun) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.paths.reports.iterdir()}


def test_the_reports_say_what_the_library_says(started: TinyRun) -> None:
    assert started("analyze", "--force") == 0
    paths, tokenizer = started.paths, started.tokenizer("original")
    documents = list(read_documents(paths.cleaned_corpora))
    ids = [encoding.ids for encoding in tokenizer.encode_batch(documents)]
    assert paths.token_id_sequences.read_text() == "".join(" ".join(map(str, row)) + "\n" for row in ids)
    counts, holders = Counter(i for row in ids for i in row), Counter(i for row in ids for i in set(row))
    total = counts.total()
    assert pq.read_table(paths.token_frequency).to_pylist() == [
        {
            "token_id": token_id,
            "token": tokenizer.id_to_token(token_id),
            "count": counts[token_id],
            "document_count": holders[token_id],
            "share": counts[token_id] / total,
        }
        for token_id in range(tokenizer.get_vocab_size())
    ]
    table = read_pretoken_frequency(paths.pretoken_frequency)
    results = started.results("analyze")
    assert results["tokens"] == total
    assert (results["pretokens"], results["distinct_pretokens"]) == (table.counts_P.sum(), len(table))
    assert results["documents"] == len(documents)
    assert results["bytes"] == sum(len(document.encode()) for document in documents)
    assert results["ids_used"] == len(counts)
    general = list(read_documents(paths.general_cleaned))
    assert results["general_tokens"] == sum(len(e.ids) for e in tokenizer.encode_batch(general))


def test_one_thread_and_three_write_the_same_bytes(started: TinyRun) -> None:
    assert started("analyze", "--force", "--threads", "1") == 0
    one = reports(started)
    assert started("analyze", "--force", "--threads", "3") == 0
    assert reports(started) == one
    assert set(one) >= {"token_frequency.parquet", "pretoken_frequency.parquet", "bpe_token_id_sequences.txt"}


def test_another_number_of_threads_is_not_another_run(started: TinyRun) -> None:
    assert started("analyze", "--force", "--threads", "1") == 0
    before = started.manifest("analyze")
    assert started("analyze", "--threads", "2") == 0
    assert started.manifest("analyze") == before


def test_before_init_it_names_the_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", "--artifacts-dir", str(tmp_path / "nothing")]) == 3
    assert "run `ivr init` first" in capfd.readouterr().err


def test_tables_add_up(started: TinyRun) -> None:
    assert started("analyze") == 0
    table = read_pretoken_frequency(started.paths.pretoken_frequency)
    general = read_pretoken_frequency(started.paths.general_pretoken_frequency)
    both = merge_tables([table, general])
    expected = Counter(dict(zip(table.pretokens, table.counts_P.tolist(), strict=True)))
    expected.update(dict(zip(general.pretokens, general.counts_P.tolist(), strict=True)))
    assert dict(zip(both.pretokens, both.counts_P.tolist(), strict=True)) == expected
    assert both.pretokens == sorted(expected, key=lambda pretoken: (-expected[pretoken], pretoken))
