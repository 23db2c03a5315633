"""The report as one self-contained HTML page: no network, no script, light and dark, wide and narrow."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ivr.encoding.byte_alphabet import readable
from ivr.report.figures import read_metrics, read_swaps, swapped_ids, token_counts
from ivr.report.markup import escape, missing, pictures, section, table
from ivr.report.outcome import bits_per_byte, differences, new_rows, sampling, training
from ivr.report.plots import zipf
from ivr.report.segmentation import segmentation
from ivr.report.status import StageStatus, duration, size
from ivr.report.summary import TEXTS, Run, agreement, percent, tokens_saved, verified

SHOWN_SWAPS = 50
LONGEST_FIGURE = 30  # a table that was edited may hold 1e300
# column of replacement_candidates.csv -> heading, whether it is a figure
SWAP_COLUMNS = {
    "old_id": ("id", True),
    "old_token": ("leaves", False),
    "old_count": ("count", True),
    "new_token": ("enters", False),
    "words": ("words", True),
    "new_count": ("count", True),
    "tokens_saved": ("tokens saved", True),
    "tokens_lost": ("tokens lost", True),
    "reason": ("reason", False),
}


def page(run: Run, statuses: Sequence[StageStatus]) -> str:
    """The whole page."""
    swaps = read_swaps(run.paths)
    metrics = read_metrics(run.paths)
    title = run.title
    body = "\n".join(
        [
            f'<header><p class="eyebrow">gpt2-ivr run</p><h1>{escape(title)}</h1></header>',
            _tiles(run),
            section("Bits per byte", bits_per_byte(run), "On held-out documents, the same for every model."),
            *differences(run),
            *sampling(run),
            section("New rows before any training", new_rows(run)),
            section("Training", training(run, metrics)),
            section("Swaps", _swaps(swaps), "The reassigned ids that save most tokens."),
            section(
                "Held-out lines, before and after", segmentation(run.paths), "Tokens parted by bars; new ones are bold."
            ),
            section("Where the reassigned ids lay", _zipf(run, swaps)),
            section("Certificate of the distilled tokenizer", _certificate(run)),
            section("Stages", _stages(statuses)),
            section("Made with", _versions(run)),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_stylesheet()}</style>\n</head>\n<body>\n<main>\n{body}\n"
        "</main>\n</body>\n</html>\n"
    )


def _tiles(run: Run) -> str:
    tiles = []
    found = agreement(run)
    tiles.append(
        ("agreement", percent(found[0]), f"of {found[1]:,} pretokens")
        if found
        else ("agreement", "–", "missing: ivr distill-tokenizer")
    )
    saved = tokens_saved(run)
    tiles.append(
        ("tokens saved", f"{saved[2]:.1f} %", f"held out: {saved[0]:,} → {saved[1]:,}")
        if saved
        else ("tokens saved", "–", "missing: ivr evaluate")
    )
    for text in TEXTS:
        before, after = run.bits_per_byte(text, "base"), run.bits_per_byte(text, "trained")
        if before is not None and after is not None:
            tiles.append(
                (f"bits per byte, {TEXTS[text]}", f"{after:.3f}", f"before {before:.3f} ({after - before:+.3f})")
            )
    cells = "\n".join(
        f'<div class="tile"><p class="label">{escape(label)}</p><p class="value">{escape(value)}</p>'
        f'<p class="detail">{escape(detail)}</p></div>'
        for label, value, detail in tiles
    )
    return f'<div class="tiles">\n{cells}\n</div>'


def _swaps(swaps: Sequence[Mapping[str, str]]) -> str:
    if not swaps:
        return missing("select")
    columns = {name: about for name, about in SWAP_COLUMNS.items() if name in swaps[0]}
    rows = [[_swap_cell(name, row.get(name) or "") for name in columns] for row in swaps[:SHOWN_SWAPS]]
    swapped = table([about[0] for about in columns.values()], rows, [about[1] for about in columns.values()], "tall")
    more = len(swaps) - SHOWN_SWAPS
    return swapped + (f'<p class="note">{more:,} more in replacement_candidates.csv.</p>' if more > 0 else "")


def _swap_cell(name: str, value: str) -> str:
    if name.endswith("_token"):
        return f"<code>{escape(_as_text(value))}</code>"
    if SWAP_COLUMNS[name][1] and name != "old_id":
        with contextlib.suppress(ValueError):
            return f"{float(value):,.0f}"[:LONGEST_FIGURE]
    return escape(value)


def _as_text(token: str) -> str:
    """A token of the byte alphabet as text, its blanks visible."""
    return readable(token).replace(" ", "\u2423")


def _zipf(run: Run, swaps: Sequence[Mapping[str, str]]) -> str:
    counts, ranks = token_counts(run.paths, swapped_ids(swaps))
    if not counts:
        return missing("analyze")
    unused = len(swaps) - len(ranks)
    note = f"{unused:,} of the {len(swaps):,} reassigned ids did not occur in the corpus at all." if unused else ""
    note = f'<p class="note">{note}</p>' if note else ""
    return note + pictures([zipf(counts, ranks)])


def _certificate(run: Run) -> str:
    if (found := agreement(run)) is None:
        return missing("distill-tokenizer")
    share, occurrences, mismatched, types = found
    rows = [
        ["agreement by occurrence", percent(share, 4)],
        ["pretokens compared", f"{occurrences:,} ({types:,} distinct)"],
        ["distinct pretokens that differ", f"{mismatched:,}"],
    ]
    for key, label in (
        ("mismatched_occurrences", "their occurrences"),
        ("constraints", "constraints solved"),
        ("rounds", "rounds of repair"),
        ("largest_score", "largest token score"),
    ):
        value = run.result("distill-tokenizer", key)
        if value is not None:
            rows.append([label, f"{value:,}" if abs(value) < 1e9 else f"{value:.3g}"])
    checked = f'<p class="note">{escape(said)}.</p>' if (said := verified(run)) else ""
    return table(["", ""], rows, [False, True], "slim") + (
        f'{checked}<p class="note">Every mismatch, with its cause, stands in <code>certificate.json</code>.</p>'
    )


def _stages(statuses: Sequence[StageStatus]) -> str:
    rows = []
    for row in statuses:
        state = f'<span class="state {row.state}">{row.state}</span> {escape(row.reason or row.remark)}'.rstrip()
        figures = [duration(row.wall_seconds), size(row.peak_memory_bytes), size(row.output_bytes)]
        rows.append([escape(row.stage), state, *(figures if row.state != "missing" else ["", "", ""])])
    return table(["stage", "state", "time", "peak memory", "output"], rows, [False, False, True, True, True])


def _versions(run: Run) -> str:
    if not run.manifests:
        return '<p class="missing">Missing: no stage has run.</p>'
    last = list(run.manifests.values())[-1]
    words = [f"{name} {version}" for name, version in last.versions.items()]
    commit = f", commit {last.git_commit[:12]}" if last.git_commit else ""
    return f'<p class="note">{escape(", ".join(words) + commit)}</p>'


def _stylesheet() -> str:
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")
