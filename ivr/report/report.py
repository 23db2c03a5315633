"""Stage `report`: the short summary of a run, its page, its model's card; with --runs, runs compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ivr.artifacts import ArtifactPaths, check_there
from ivr.base.model_files import SAFETENSORS
from ivr.console import say
from ivr.disk.writer import write_text
from ivr.errors import StaleInputError
from ivr.options.declared import StageConfig, option
from ivr.stage import Input, Manifest, open_stage

DESCRIPTION = """\
Print the summary of a run and write it as a page, report/index.html, that needs no network; its pictures (SVG, PNG)
and numbers (CSV, JSON) lie beside it. Completes the card of training/final, where nobody has edited that.

Figures come from the manifests and tables of the other stages. A stage that has not run is shown as missing.

With --runs, compare runs instead: a page, and its table for a paper (LaTeX, Markdown, CSV), in --output.
"""
EPILOG = """\
examples:
  ivr report
  ivr report --artifacts-dir runs/korean --force
  ivr report --runs runs/* --output comparison
"""


@dataclass(frozen=True)
class Config(StageConfig):
    """The stage's options."""

    runs: Sequence[Path] = option(
        (),
        "compare these artifacts directories; differences are to the first (default: none, report one run)",
        group="several runs",
        metavar="DIR",
        identity=False,
    )
    output: Path = option(Path("comparison"), "where the comparison is written", metavar="DIR", identity=False)


def run(config: Config) -> Manifest | None:
    """Write and print the summary, write the page and the model card; or compare --runs and leave no manifest."""
    if config.runs:
        from ivr.report.compare.compare import compare_runs

        say(compare_runs(config.runs, config.output).removesuffix("\n"))
        return None
    return _report(config)


def _inputs(paths: ArtifactPaths) -> list[Input]:
    """What the page is made of, as far as it is there."""
    from ivr.manifest import EVERY_STAGE

    read = [paths.manifest(stage) for stage in EVERY_STAGE if stage != "report"]
    read += [paths.original_tokenizer / "tokenizer.json", paths.remapped_tokenizer / "tokenizer.json"]
    read += [paths.heldout_corpora, paths.remap_rules, paths.embeddings / "original_wte.json"]
    read += [paths.aligned_model / SAFETENSORS, paths.final_model / SAFETENSORS]
    read += [paths.replacement_candidates, paths.training / "metrics.jsonl", paths.token_frequency]
    return [Input(path, optional=True) for path in read]


def _report(config: Config) -> Manifest:
    from ivr.manifest import EVERY_STAGE

    paths = ArtifactPaths(config.artifacts_dir)
    check_there(paths.root)
    if not any(paths.manifest(stage).exists() for stage in EVERY_STAGE):
        raise StaleInputError(f"no stage has run in {paths.root}; `ivr init --artifacts-dir {paths.root}` is the first")
    from ivr.report.summary import where_to_look

    summary = paths.report / "summary.txt"
    with open_stage("report", config, _inputs(paths)) as stage:
        if stage.current:
            say(summary.read_text(encoding="utf-8") + where_to_look(paths))
            return stage.manifest
        from ivr.report.card import COPY, write_card
        from ivr.report.files import places, write_page
        from ivr.report.page.page import page
        from ivr.report.status import stage_statuses
        from ivr.report.summary import read_run, summary_text

        stage.replaces(*places(paths.report), summary, paths.report / COPY)
        found = read_run(paths)
        statuses = [row for row in stage_statuses(paths.root, found.manifests) if row.stage != "report"]
        text = summary_text(found)
        outputs = write_page(paths.report, page(found, statuses))
        write_text(summary, text)
        copy, card = write_card(found, stage.previous)
        manifest = stage.finish([*outputs, summary, *copy], editable=card)
    say(text + where_to_look(paths))
    return manifest
