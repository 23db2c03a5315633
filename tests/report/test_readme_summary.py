"""The README shows the summary as the program writes it."""

import re

from documents import ROOT, blocks

from ivr.artifacts import ArtifactPaths
from ivr.report.summary import read_run, summary_text


def without_figures(line: str) -> str:
    return " ".join(re.sub(r"[\d.,]*\d", "#", line.replace("> ", "")).split())


def test_every_line_in_the_readme_is_one_that_the_summary_has(whole_run: ArtifactPaths) -> None:
    run = read_run(whole_run)
    run.manifests["evaluate"].results["agreement_percent"] = 100.0
    told = {without_figures(line) for line in summary_text(run).splitlines()}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = [block.code.splitlines() for block in blocks(readme) if block.language == "text"]
    body = [line for line in shown[2:] if line != "[...]"]
    assert len(body) > 10
    assert [line for line in body if without_figures(line) not in told] == []
