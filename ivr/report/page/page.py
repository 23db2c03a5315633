"""The report of one run: its sections, in the order in which a reader wants them."""

from collections.abc import Sequence

from ivr.report.figures import read_metrics, read_swaps
from ivr.report.page.control import control_section
from ivr.report.page.outcome import outcome_sections, strategies_section, training_section
from ivr.report.page.parts import Document, Tile
from ivr.report.page.provenance import provenance_sections
from ivr.report.page.vocabulary import rows_sections, vocabulary_sections
from ivr.report.status import StageStatus
from ivr.report.summary import TEXTS, Run, agreement, percent, tokens_saved


def page(run: Run, statuses: Sequence[StageStatus]) -> Document:
    """Everything the page shows, as data: ivr.report.page.templates.render makes HTML of it."""
    swaps = read_swaps(run.paths)
    return Document(
        "gpt2-ivr run",
        run.title,
        _tiles(run),
        [
            *outcome_sections(run),
            *control_section(run),
            *vocabulary_sections(run.paths, swaps),
            strategies_section(run),
            *rows_sections(run.paths, swaps),
            training_section(run, read_metrics(run.paths)),
            *provenance_sections(run, statuses),
        ],
    )


def _tiles(run: Run) -> list[Tile]:
    tiles = []
    found = agreement(run)
    tiles.append(
        Tile("agreement", percent(found[0]), f"of {found[1]:,} pretokens")
        if found
        else Tile("agreement", "–", "missing: ivr distill-tokenizer")
    )
    saved = tokens_saved(run)
    tiles.append(
        Tile("tokens saved", f"{saved[2]:.1f} %", f"held out: {saved[0]:,} → {saved[1]:,}")
        if saved
        else Tile("tokens saved", "–", "missing: ivr evaluate")
    )
    for text in TEXTS:
        before, after = run.bits_per_byte(text, "base"), run.bits_per_byte(text, "trained")
        if before is not None and after is not None:
            detail = f"before {before:.3f} ({after - before:+z.3f})"
            tiles.append(Tile(f"bits per byte, {TEXTS[text]}", f"{after:.3f}", detail))
    return tiles
