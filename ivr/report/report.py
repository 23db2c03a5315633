"""Stage `report`: the short summary of a run, and its HTML page."""

from dataclasses import dataclass

from ivr.artifacts import ArtifactPaths, check_there, write_text
from ivr.console import say
from ivr.errors import StaleInputError
from ivr.options.declared import StageConfig
from ivr.stage import Input, Manifest, open_stage

DESCRIPTION = """\
Print the summary of a run and write it as a page, report/index.html, that needs no network.

Figures come from the manifests and tables of the other stages. A stage that has not run is shown as missing.
"""
EPILOG = """\
examples:
  ivr report
  ivr report --artifacts-dir runs/korean --force
"""


@dataclass(frozen=True)
class Config(StageConfig):
    """Only what every stage has."""


def run(config: Config) -> Manifest:
    """Write summary.txt and index.html, print the summary on standard output."""
    from ivr.manifest import WITH_VERIFY

    paths = ArtifactPaths(config.artifacts_dir)
    check_there(paths.root)
    if not any(paths.manifest(stage).exists() for stage in WITH_VERIFY):
        raise StaleInputError(f"no stage has run in {paths.root}; `ivr init --artifacts-dir {paths.root}` is the first")
    read = [paths.manifest(stage) for stage in WITH_VERIFY if stage != "report"]
    read += [paths.original_tokenizer / "tokenizer.json", paths.remapped_tokenizer / "tokenizer.json"]
    read += [paths.heldout_corpora]
    read += [paths.replacement_candidates, paths.training / "metrics.jsonl", paths.token_frequency]
    summary, index = paths.report / "summary.txt", paths.report / "index.html"
    with open_stage("report", config, [Input(path, optional=True) for path in read]) as stage:
        if stage.current:
            say(summary.read_text(encoding="utf-8").removesuffix("\n"))
            return stage.manifest
        stage.replaces(index, summary)
        from ivr.report.page import page
        from ivr.report.status import stage_statuses
        from ivr.report.summary import read_run, summary_text

        found = read_run(paths)
        statuses = [row for row in stage_statuses(paths.root, found.manifests) if row.stage != "report"]
        text = summary_text(found)
        write_text(index, page(found, statuses))
        write_text(summary, text)
        manifest = stage.finish([index, summary])
    say(text.removesuffix("\n"))
    return manifest
