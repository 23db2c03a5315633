"""What a reader sees of the page: colours with contrast, figures without powers of ten, columns that say something."""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ivr.artifacts import ArtifactPaths
from ivr.manifest import PIPELINE, FileRecord, Manifest
from ivr.report.lineage import lineage
from ivr.report.page import templates
from ivr.report.page.control import control_section
from ivr.report.page.outcome import outcome_sections, strategies_section
from ivr.report.page.parts import Bars, Section, Table
from ivr.report.page.plots import apart, intervals, loss_curve, outline, rank_frequency
from ivr.report.summary import read_run
from ivr.schema import write_sealed

WriteRun = Callable[..., ArtifactPaths]
STYLE = (Path(templates.__file__).parent / "page.css").read_text(encoding="utf-8")
TEXT_ON = {"ink": ("paper", "card", "new"), "ink-soft": ("paper", "card"), "link": ("paper",), "warn": ("paper",)}


def palettes() -> list[dict[str, str]]:
    """The colours of the light page, the dark one and that on paper, by name."""
    found = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+);", block)) for block in re.findall(r":root {(.*?)}", STYLE, re.S)
    ]
    assert len(found) == 3 and all(found)
    return found


def luminance(color: str) -> float:
    """As WCAG 2 defines it."""
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark", "paper"])
def test_text_has_the_contrast_that_the_strictest_rule_asks_for(palette: dict[str, str]) -> None:
    for ink, grounds in TEXT_ON.items():
        for ground in grounds:
            low, high = sorted((luminance(palette[ink]), luminance(palette[ground])))
            assert (high + 0.05) / (low + 0.05) >= 7, (ink, ground)


def changed(paths: ArtifactPaths, stage: str, key: str, value: object) -> None:
    manifest = json.loads(paths.manifest(stage).read_text())
    write_sealed(paths.manifest(stage), {**manifest, "results": {**manifest["results"], key: value}})


def section(sections: list[Section], anchor: str) -> Section:
    return next(one for one in sections if one.anchor == anchor)


def table(one: Section) -> Table:
    return next(block for block in one.blocks if isinstance(block, Table))


def test_one_initialiser_has_no_bars_to_compare(whole_run: ArtifactPaths) -> None:
    several = strategies_section(read_run(whole_run))
    assert any(isinstance(block, Bars) for block in several.blocks)
    manifest = json.loads(whole_run.manifest("align").read_text())
    changed(whole_run, "align", "strategies", {"distill": manifest["results"]["strategies"]["distill"]})
    alone = strategies_section(read_run(whole_run))
    assert not any(isinstance(block, Bars) for block in alone.blocks) and len(table(alone).rows) == 1


@pytest.mark.slow
def test_columns_of_prompts_inside_a_token_are_shown_where_there_are_such(whole_run: ArtifactPaths) -> None:
    def shown() -> list[str]:
        found = table(section(outcome_sections(read_run(whole_run)), "prompt-ends"))
        return [found.columns[place].key for place in found.places]

    assert "as_prompt" in shown() and "as_whole_text" in shown()
    changes = {"as_prompt": 1.0, "as_whole_text": 1.0, "difference": -0.00001, "low": -0.0001, "high": 0.0}
    changed(
        whole_run,
        "evaluate",
        "prompt_ends",
        {"domain": {"base": {"cuts": 8, "cuts_inside_a_token": 0, "all": changes, "inside": None}}},
    )
    assert "as_prompt" not in shown() and "difference" in shown()
    row = table(section(outcome_sections(read_run(whole_run)), "prompt-ends")).rows[0]
    texts = [cell if isinstance(cell, str) else getattr(cell, "shown", "") for cell in row]
    assert "+0.0000" in texts and "-0.0000" not in texts


def test_operations_are_read_without_powers_of_ten(tmp_path: Path, write_run: WriteRun) -> None:
    paths = write_run(tmp_path, PIPELINE[:-1])
    changed(paths, "evaluate", "flops_per_byte", {"domain": {"base": 62_193_000.0, "trained": 50_300.0}})
    changed(
        paths,
        "evaluate",
        "bits_per_byte",
        {"domain": {"base": 1.9, "trained": 1.6, "control-bytes": 1.8, "control-flops": 1.7}},
    )
    Manifest("control", "ivr control", {}, "0", [], [], results=control_results()).write(paths.manifest("control"))
    run = read_run(paths)
    page = [table(section(outcome_sections(run), "tokens")), table(control_section(run)[0])]
    shown = " ".join(getattr(cell, "shown", "") for one in page for row in one.rows for cell in row)
    assert "62.2 M" in shown and "50.3 k" in shown and "47.3 T" in shown
    assert not re.search(r"\de[+-]?\d", shown)


def control_results() -> dict[str, object]:
    arm = {"bytes": 190_123, "tokens": 60_000, "flops": 4.732e13}
    spent = {"per_token": 1e6, "training": 4.9e13, "initialising": 1e12, "total": 5e13}
    return {"spent": spent, "bytes": arm, "flops": arm}


def test_the_axis_of_differences_is_read_beside_long_names() -> None:
    """No letter of its label stands outside of the picture, however little room the names leave for the axis."""
    name = "no swaps, same FLOPs \u2212 no swaps, same bytes"
    svg = intervals("differences-1", "differences", [(name, -0.1, -0.2, 0.1)] * 10).svg
    width = float(re.findall(r'viewBox="0 0 ([0-9.]+) ', svg)[0])
    ((style, x),) = re.findall(r'<text style="([^"]*)" x="([0-9.]+)"[^>]*>difference in', svg)
    assert "text-anchor: middle" in style
    assert abs(float(x) - width / 2) < 1, "in the middle of the picture, which has room for it"


def test_pictures_of_a_large_run_are_small_files() -> None:
    """Of GPT-2's vocabulary, thousands of swaps and of steps: a picture can be committed and sent."""
    counts = [max(1, 3_000_000 // (rank + 3)) for rank in range(50_000)]
    dice = random.Random(1)
    dropped = sorted(dice.sample(range(20_000, 50_000), 5000))
    steps = list(range(1, 20_001))
    losses = [5 / (1 + step / 900) + dice.random() for step in steps]
    losses[12_345] = 9.0
    drawn = [rank_frequency(counts, dropped, [30_000 // (k + 1) + 20 for k in range(5000)]), loss_curve(steps, losses)]
    for picture in drawn:
        assert len(picture.svg) < 150_000 and len(picture.png) < 150_000, picture.name
    assert max(losses[place] for place in outline(losses)) == 9.0, "a spike is seen"
    assert apart(dropped, 50_000)[0] == dropped[0] and len(apart(dropped, 50_000)) < 400


def test_a_stage_that_reads_a_file_twice_is_named_once() -> None:
    rules = FileRecord("tokenizers/remapped/remap_rules.yaml", "1" * 64, 5)
    made = Manifest("remap", "ivr remap", {}, "0", [], [rules])
    read = Manifest("align", "ivr align", {}, "0", [rules, rules], [])
    (row,) = lineage({"remap": made, "align": read})
    assert row.read_by == ("align",)
