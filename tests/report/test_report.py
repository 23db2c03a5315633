"""`ivr report`: the summary and the page say what the manifests say, and invent nothing."""

import base64
import csv
import hashlib
import html
import html.parser
import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ivr.artifacts import ArtifactPaths
from ivr.cli import main
from ivr.disk.digest import sha256_file
from ivr.errors import CorruptInputError
from ivr.manifest import EVERY_STAGE, PIPELINE, FileRecord, Manifest
from ivr.report.figures import heldout_points, loss_points, rank_counts, read_metrics, read_swaps
from ivr.report.lineage import lineage
from ivr.report.page.plots import intervals, running_mean, thinned
from ivr.report.page.templates import visible
from ivr.report.status import read_manifests, stage_statuses
from ivr.report.summary import percent, read_run, summary_text, where_to_look
from ivr.schema import write_sealed

WriteRun = Callable[..., ArtifactPaths]
BEFORE_REPORT = tuple(stage for stage in PIPELINE if stage != "report")


def report(paths: ArtifactPaths, *options: str) -> str:
    assert main(["report", "-q", "--artifacts-dir", str(paths.root), *options]) == 0
    return (paths.report / "index.html").read_text(encoding="utf-8")


def test_the_summary_names_the_figures(whole_run: ArtifactPaths) -> None:
    text = summary_text(read_run(whole_run))
    assert text.startswith("my/model <b>, 60 reassigned ids\n===")
    assert "99.999 % of 1,234,567 pretokens; 3 of 41,234 distinct ones differ" in text
    assert "45,120 before, 42,003 after: 6.9 % saved" in text
    rows = [line.split()[-2:] for line in text.splitlines() if line.startswith(("  before (", "  after "))]
    assert rows == [["1.9123", "1.7001"], ["2.2211", "1.7013"], ["1.6402", "1.7122"]]
    assert str(whole_run.root) not in text
    assert str(whole_run.report / "index.html") in where_to_look(whole_run)


@pytest.mark.slow
def test_a_run_that_was_moved_tells_where_it_lies_now(
    whole_run: ArtifactPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    report(whole_run)
    assert str(whole_run.certificate) in capsys.readouterr().out
    moved = ArtifactPaths(whole_run.root.rename(whole_run.root.with_name("moved")))
    report(moved)
    said = capsys.readouterr().out
    assert str(moved.certificate) in said and str(whole_run.certificate) not in said


@pytest.mark.slow
@pytest.mark.parametrize("num_stages", range(1, 9))
def test_a_run_cut_short_is_reported_as_that(tmp_path: Path, num_stages: int, write_run: WriteRun) -> None:
    paths = write_run(tmp_path, BEFORE_REPORT[:num_stages])
    page, summary = report(paths), (paths.report / "summary.txt").read_text()
    for stage in ("distill-tokenizer", "evaluate"):
        assert (f"missing: run `ivr {stage}`" in summary) == (stage not in BEFORE_REPORT[:num_stages])
    for stage in ("analyze", "distill-tokenizer", "select", "align", "train", "evaluate"):
        assert (f"<code>ivr {stage}</code> has not run" in page) == (stage not in BEFORE_REPORT[:num_stages])
    assert len(re.findall("<td>missing</td>", page)) == 8 - num_stages


@pytest.mark.slow
def test_the_same_bytes_for_the_same_run(tmp_path: Path, write_run: WriteRun) -> None:
    paths = write_run(tmp_path, BEFORE_REPORT)
    assert report(paths) == report(paths, "--force")


@pytest.mark.slow
def test_a_current_report_prints_its_summary_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write_run: WriteRun
) -> None:
    paths = write_run(tmp_path, BEFORE_REPORT)
    report(paths)
    first = capsys.readouterr().out
    stamp = (paths.report / "index.html").stat().st_mtime_ns
    report(paths)
    assert capsys.readouterr().out == first != ""
    assert (paths.report / "index.html").stat().st_mtime_ns == stamp


class Checker(html.parser.HTMLParser):
    """Every element is closed, every id is there once, every reference stays inside the page."""

    VOID = {"meta", "br", "input", "link", "img"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert name not in {"src", "srcset", "action", "data"} and not name.startswith("on")
            if name == "id":
                self.ids.append(str(value))
            elif name == "href":
                assert str(value).startswith("#")
                self.references.add(str(value)[1:])
            self.references |= set(re.findall(r"url\(#([^)]+)\)", value or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.slow
def test_the_page_is_well_formed_and_needs_nothing_else(tmp_path: Path, write_run: WriteRun) -> None:
    page = report(write_run(tmp_path, BEFORE_REPORT))
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids)) and checker.references <= set(checker.ids)
    assert not re.search(r"@import|https?://(?!www\.w3\.org/)", page)
    assert page.count("<svg") == 6
    assert "#0102" not in page, "a stand-in colour was left"
    assert not re.search(r"20\d\d-\d\d-\d\d", page), "a date"


def text_of(page: str) -> str:
    """What a reader sees, in one line."""
    without = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", without)))


@pytest.mark.slow
def test_what_evaluate_align_and_train_found_is_on_the_page(whole_run: ArtifactPaths) -> None:
    page = report(whole_run)
    seen = text_of(page)
    assert "Domain text after training \u2212 before -0.2721 -0.3111 -0.2222 40" in seen
    assert "General text after training \u2212 before +0.0121 +0.0011 +0.0222 50" in seen
    assert "my <own> \u2212 before -0.3572 1 " in seen, "one document has no interval"
    assert "my <own> 1.5551" in seen, "a model given with --model is shown too"
    assert "after training 12.34 % 15.00 % 41 of 60 4.00" in seen
    assert "Domain text after training 0.2500 20.2 % 4.00" in seen
    assert "Domain text before 200 0 +0.1250 -0.0100 +0.2600" in seen
    assert "Domain text after training 200 31 2.5000 1.7500 +0.1250 -0.0100 +0.2600" in seen
    assert seen.index("distill (used) 2.2211 2.900 3.100 0.500 7.12 % 8.00 % 1") < seen.index(
        "zeros 2.5000 0.000 3.100"
    )
    assert "passes over the text 1.25 general text mixed in 10.0 %" in seen
    assert "model FLOPs utilisation, median 31.0 %" in seen
    assert "2 on cpu, ZeRO-2, float32" in seen
    summary = summary_text(read_run(whole_run))
    assert "domain, trained less base -0.2721  (95 % interval -0.3111 to -0.2222)" in summary
    assert "general, the same         +0.0121  (95 % interval +0.0011 to +0.0222)" in summary
    assert "31 of 200 prompts end inside a token: 2.5000 behind them, 1.7500 encoded with them" in summary
    assert "new tokens 12.3 % of its tokens (15.0 % of held-out text)" in summary
    assert "4.00 bytes a token, the base model 3.00" in summary


@pytest.mark.slow
def test_figures_that_an_earlier_version_did_not_write_are_left_out(whole_run: ArtifactPaths) -> None:
    for stage, kept in (("evaluate", ("bits_per_byte",)), ("align", ("strategy",)), ("train", ())):
        manifest = json.loads(whole_run.manifest(stage).read_text())
        results = {key: manifest["results"][key] for key in kept}
        write_sealed(whole_run.manifest(stage), {**manifest, "results": results})
    page = report(whole_run, "--force")
    assert (
        "What the models write" not in page and "Where a prompt ends" not in page and "Is it a difference" not in page
    )
    assert "distill (used)" in page and "passes over the text" not in page
    assert "What the trained model writes" not in summary_text(read_run(whole_run))


@pytest.mark.slow
def test_text_of_the_run_is_escaped_and_what_no_screen_shows_is_visible(tmp_path: Path, write_run: WriteRun) -> None:
    page = report(write_run(tmp_path, BEFORE_REPORT))
    assert "my/model &lt;b&gt;" in page and "my/model <b>" not in page
    assert "<code>\u2423new\u2423&#34;&lt;0&gt;&#34;</code>" in page
    assert visible("a\x00\n\u202e<") == "a\\x00\\x0a\ufffd<"


@pytest.mark.slow
def test_all_swaps_are_shown_the_most_useful_first(tmp_path: Path, write_run: WriteRun) -> None:
    paths = write_run(tmp_path, BEFORE_REPORT)
    saved = [int(row["tokens_saved"]) for row in read_swaps(paths)]
    assert saved == sorted(saved, reverse=True) and len(saved) == 60
    page = report(paths)
    assert page.count("<code>\u2423old") == 60 and page.index("\u2423old0<") < page.index("\u2423old59<")
    searched = re.findall(r"<table id=\"([^\"]*)\" data-searchable>", page)
    assert "swaps-1" in searched and "makeSearchable(table)" in page and "aria-sort" in page


def test_metrics_of_a_run_that_was_killed_and_resumed(tmp_path: Path) -> None:
    paths = ArtifactPaths(tmp_path)
    assert read_metrics(paths) == []
    paths.training.mkdir()
    lines = ['{"step": 1, "loss": 3}', '{"step": 2, "loss": 2.5}', '{"step": 2, "heldout_bits_per_byte": 1.5}']
    lines += ['{"step": 2, "loss": 2.25}', '{"step": 3, "lo']
    (paths.training / "metrics.jsonl").write_text("\n".join(lines))
    metrics = read_metrics(paths)
    assert loss_points(metrics) == ([1, 2], [3.0, 2.25])
    assert heldout_points(metrics) == ([2], [1.5])
    (paths.training / "metrics.jsonl").write_text('{"st\n{"step": 1, "loss": 3}\n')
    with pytest.raises(CorruptInputError, match="line 1 is not JSON"):
        read_metrics(paths)


def test_token_counts_and_the_ranks_of_ids(tmp_path: Path, write_run: WriteRun) -> None:
    paths = write_run(tmp_path, BEFORE_REPORT)
    found = rank_counts(paths, [0, 4, 1999])
    assert found is not None
    assert found.counts[:2] == [200_000, 100_000] and len(found.counts) == 1900
    assert found.tokens[:2] == ["Ġold0", "Ġold1"]
    assert found.dropped == [1, 5], "id 1999 does not occur"


def test_small_helpers() -> None:
    assert running_mean([1.0, 3.0, 5.0], 2) == [1.0, 2.0, 4.0]
    assert running_mean([], 3) == []
    assert thinned(0) == [] and thinned(4) == [1, 2, 3, 4]
    assert thinned(50_257)[0] == 1 and thinned(50_257)[-1] == 50_257 and len(thinned(50_257)) <= 400
    assert percent(100.0) == "100.000 %" and percent(99.99999) == "> 99.999 %" and percent(99.5, 1) == "99.5 %"


@pytest.mark.slow
def test_what_verify_found_is_reported_and_its_age_too(tmp_path: Path, write_run: WriteRun) -> None:
    found = {"different_documents": 0, "documents": 1234, "runs": 5000, "different_runs": 2, "longest_run": 64}
    found |= {"adversarial_strings": 9000, "adversarial_equal_percent": 99.998}
    paths = write_run(tmp_path, EVERY_STAGE)
    manifest = json.loads(paths.manifest("verify").read_text())
    write_sealed(paths.manifest("verify"), {**manifest, "results": found})
    said = "verified from scratch: 0 of 1,234 documents differ, 2 of 5,000 runs to length 64, > 99.99 % of 9,000 adv"
    assert said in summary_text(read_run(paths))
    assert "2 of 5,000 runs" in report(paths)
    rows = {row.stage: row for row in stage_statuses(paths.root, read_manifests(paths))}
    assert list(rows) == list(EVERY_STAGE) and {row.state for row in rows.values()} == {"done"}
    # what has changed since makes `verify` stale, and nothing rests on that
    (paths.root / "verify" / "out.txt").unlink()
    rows = {row.stage: row for row in stage_statuses(paths.root, read_manifests(paths))}
    assert rows["verify"].state == "stale" and rows["report"].state == "done"
    # a comparison of other tokenizers says nothing about this run
    write_sealed(paths.manifest("verify"), {**manifest, "config": {"tokenizer": "/other"}})
    assert "verified" not in summary_text(read_run(paths))


def test_no_script_runs_but_the_pages_own(tmp_path: Path, write_run: WriteRun) -> None:
    """The policy in the page names the script's hash: what a fault in escaping would let through does not run."""
    page = report(write_run(tmp_path, BEFORE_REPORT))
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert page.count("<script") == 1
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = html.unescape(re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[0])
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert page.index("Content-Security-Policy") < page.index("<title>")


@pytest.mark.slow
def test_pictures_and_numbers_lie_beside_the_page(tmp_path: Path, write_run: WriteRun) -> None:
    paths = write_run(tmp_path, BEFORE_REPORT)
    report(paths)
    pictures = {path.stem for path in (paths.report / "pictures").glob("*.svg")}
    assert pictures == {path.stem for path in (paths.report / "pictures").glob("*.png")} and len(pictures) == 6
    for path in (paths.report / "pictures").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 2000
    for path in (paths.report / "pictures").glob("*.svg"):
        text = path.read_text()
        assert "#0102" not in text and "var(--" not in text, "colours of the page"
        ElementTree.fromstring(text)
    numbers = paths.report / "numbers"
    tables = json.loads((numbers / "figures.json").read_text())["tables"]
    assert tables["differences"][0]["low"] == -0.3111 and tables["tokens_per_byte"][1]["bytes_per_token"] == 4.0
    with (numbers / "swaps.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 60 and rows[0]["new_token"] == 'ĠnewĠ"<0>"' and rows[0]["tokens_saved"] == "18000"
    assert len((numbers / "rank_frequency.csv").read_text().splitlines()) == 1901
    manifest = json.loads(paths.manifest("report").read_text())
    written = {row["path"] for row in manifest["outputs"]}
    assert written >= {"report/numbers/swaps.csv", "report/pictures/rank-frequency.svg", "report/index.html"}


@pytest.mark.slow
def test_the_page_says_what_came_from_what_and_how_to_repeat_it(tmp_path: Path, write_run: WriteRun) -> None:
    paths = write_run(tmp_path, BEFORE_REPORT)
    seen = text_of(report(paths))
    digest = sha256_file(paths.root / "select" / "out.txt")[:12]
    assert f"select/out.txt {digest} 6 B select remap" in seen
    assert "ivr init ivr analyze ivr distill-tokenizer" in seen


def test_many_files_of_a_folder_are_one_row() -> None:
    rows = [FileRecord(f"corpora/cleaned/{n}.txt", f"{n:064}", 10) for n in range(20)]
    made = Manifest("init", "ivr init", {}, "0", [FileRecord("/data/a.txt", "1" * 64, 5)], rows)
    read = Manifest("analyze", "ivr analyze", {}, "0", rows, [FileRecord("x.parquet", "2" * 64, 7)])
    brought, folder, table = lineage({"init": made, "analyze": read})
    assert (brought.path, brought.made_by, brought.read_by) == ("/data/a.txt", "", ("init",))
    assert (folder.path, folder.files, folder.bytes) == ("corpora/cleaned/", 20, 200)
    assert (folder.made_by, folder.read_by) == ("init", ("analyze",))
    assert (table.path, table.made_by) == ("x.parquet", "analyze")


def test_names_of_texts_and_models_are_text_in_pictures_too() -> None:
    name = 'x" onload="alert(1)"><script>\\1 $\\frac{$ \x1b'
    svg = intervals("differences-1", name, [(name, 0.1, 0.0, 0.2)]).inline
    assert "<script" not in svg and "\x1b" not in svg
    label = re.search(r'aria-label="([^"]*)"', svg)
    assert label is not None and "onload=&#34;" in label[1]
