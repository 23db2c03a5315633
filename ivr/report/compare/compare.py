"""Several runs on one page: how they were set, what came of each, and whether they differ on the same documents."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ivr.disk.writer import atomic_directory, write_text
from ivr.report.compare.formats import latex, markdown, text_of
from ivr.report.compare.runs import AFTER, BEFORE, Compared, against, read_runs
from ivr.report.files import write_page
from ivr.report.page.outcome import model_name, text_name
from ivr.report.page.parts import Block, Cell, Column, Document, Figure, Note, Pictures, Section, Shown, Table
from ivr.report.page.plots import intervals
from ivr.report.summary import TEXTS

SETTINGS = (
    Column("base_model", "base model"),
    Column("domain_text", "domain text"),
    Column("swaps", "swaps", True),
    Column("initialiser", "initialiser"),
    Column("steps", "steps", True),
    Column("seed", "seed", True),
)
TABLE_MARKDOWN, TABLE_LATEX = "table.md", "table.tex"


def compare_runs(folders: Sequence[Path], output: Path) -> str:
    """Write the comparison of the runs in `folders` to `output`, whole or not at all; returns its table as Markdown.

    Raises ConfigError where `output` holds what this program did not write, or no folder holds a run.
    """
    with atomic_directory(output) as staging:
        runs = read_runs(folders)
        table, common = main_table(runs)
        write_page(staging, comparison(runs, table, common))
        text = markdown(table) + (f"\n{common}\n" if common else "")
        write_text(staging / TABLE_MARKDOWN, text)
        write_text(staging / TABLE_LATEX, latex(table, common))
    return f"{text}\nThe page: {output / 'index.html'}; for a paper: {TABLE_LATEX}, {TABLE_MARKDOWN} beside it\n"


def comparison(runs: Sequence[Compared], table: Table, common: str) -> Document:
    """The page. common: what is the same in all runs."""
    note = (
        "Tokens saved, and bits per byte, on held-out text. The change is that of the run's own base model by "
        "alignment and training, with the 95 % interval of a paired bootstrap over documents. Runs with the same "
        "domain text have the same hash there."
    )
    return Document(
        "gpt2-ivr, runs compared",
        f"{len(runs):,} runs" if len(runs) != 1 else "1 run",
        [],
        [
            Section("runs", "Runs", [*([Note(common)] if common else []), table], note),
            Section("changes", "Change by alignment and training", _pictures(runs)),
            Section("against", f"Against {runs[0].name}", _against_first(runs)),
            Section("models", "Every model measured", [_models(runs)]),
        ],
    )


def main_table(runs: Sequence[Compared]) -> tuple[Table, str]:
    """(one row a run: what a paper shows, a sentence on the settings that are the same in all)."""
    texts = [text for text in TEXTS if any(one.run.bits_per_byte(text, AFTER) is not None for one in runs)]
    settings = [_setting(one) for one in runs]
    same = [place for place in range(len(SETTINGS)) if len({text_of(row[place]) for row in settings}) == 1]
    same = same if len(runs) > 1 else []
    columns = [Column("run", "run")]
    columns += [replace(column, files_only=place in same) for place, column in enumerate(SETTINGS)]
    columns.append(Column("tokens_saved_percent", "tokens saved", True))
    for text in texts:
        columns += [
            Column(f"{text}_before", f"{text} before", True),
            Column(f"{text}_after", "after", True),
            Column(f"{text}_change", "change [95 %]", True),
            Column(f"{text}_change_low", "low", True, files_only=True),
            Column(f"{text}_change_high", "high", True, files_only=True),
        ]
        if any(one.less_control(text) for one in runs):
            columns.append(Column(f"{text}_less_control", "less no swaps, same bytes [95 %]", True))
    rows = [
        [one.name, *setting, _saved(one), *(cell for text in texts for cell in _outcome(one, text, runs))]
        for one, setting in zip(runs, settings, strict=True)
    ]
    told = [f"{SETTINGS[place].heading} {said}" for place in same if (said := text_of(settings[0][place]))]
    return Table("runs", "Runs compared", columns, rows, searchable=True), f"In all runs: {', '.join(told)}." * bool(
        told
    )


def _setting(one: Compared) -> list[Cell]:
    return [
        one.facts.base_model,
        one.domain,
        Figure(one.facts.swaps),
        str(one.run.result("align", "strategy") or ""),
        Figure(one.run.result("train", "steps")),
        Figure(one.setting("train", "seed"), ""),
    ]


def _saved(one: Compared) -> Cell:
    return Shown(one.saved, "" if one.saved is None else f"{one.saved:.1f} %")


def _outcome(one: Compared, text: str, runs: Sequence[Compared]) -> list[Cell]:
    change = one.change(text) or {}
    losses = [Figure(one.run.bits_per_byte(text, model), ".4f") for model in (BEFORE, AFTER)]
    ends = [Figure(change.get(end), "+z.4f") for end in ("low", "high")]
    has_column = any(other.less_control(text) for other in runs)
    return [*losses, _with_interval(change), *ends, *([_with_interval(one.less_control(text) or {})] * has_column)]


def _with_interval(found: Mapping[str, Any]) -> Shown:
    difference, low, high = (found.get(key) for key in ("difference", "low", "high"))
    shown = "" if difference is None else f"{difference:+z.4f}"
    if low is not None and high is not None:
        shown += f" [{low:+z.4f}, {high:+z.4f}]"
    return Shown(difference, shown)


def _pictures(runs: Sequence[Compared]) -> list[Block]:
    drawn = []
    for text in TEXTS:
        found = [(one.name, change) for one in runs if (change := one.change(text))]
        if found:
            points = [(name, change["difference"], change["low"], change["high"]) for name, change in found]
            label = f"{text_name(text)}: bits per byte after training less before"
            drawn.append(intervals(f"changes-{text}", label, points, text_name(text)))
    return [Pictures(drawn)] if drawn else [Note("No run was evaluated.", warning=True)]


def _against_first(runs: Sequence[Compared]) -> list[Block]:
    """The trained models against that of the first run, where they were measured on the same documents."""
    first, rows = runs[0], list[list[Cell]]()
    for text in TEXTS:
        for one in runs[1:]:
            found = against(first, one, text)
            if found is not None:
                ends = [Figure(found.low, "+z.4f"), Figure(found.high, "+z.4f")]
                rows.append([text_name(text), one.name, Figure(found.difference, "+z.4f"), *ends])
                rows[-1].append(Figure(found.documents))
    if not rows:
        return [Note("No other run was measured on the same held-out documents.")]
    columns = [
        Column("text", "text"),
        Column("run", "run"),
        Column("difference", f"bits per byte less {first.name}", True),
        Column("low", "95 % from", True),
        Column("high", "to", True),
        Column("documents", "documents", True),
    ]
    note = Note(
        "Trained models on the same held-out documents, a paired bootstrap over these; below 0 is better than the "
        "first run. Runs with other held-out text are left out."
    )
    return [note, Table("against_first", f"Against {first.name}", columns, rows)]


def _models(runs: Sequence[Compared]) -> Table:
    rows: list[list[Cell]] = []
    for one in runs:
        losses = one.run.result("evaluate", "bits_per_byte") or {}
        lengths = one.run.result("evaluate", "tokens_per_byte") or {}
        for text, figures in losses.items():
            for model, value in figures.items():
                tokens = (lengths.get(text) or {}).get(model)
                rows.append([one.name, text_name(text), model_name(model), Figure(value, ".4f"), Figure(tokens, ".4f")])
    columns = [
        Column("run", "run"),
        Column("text", "text"),
        Column("model", "model"),
        Column("bits_per_byte", "bits per byte", True),
        Column("tokens_per_byte", "tokens per byte", True),
    ]
    return Table("models", "Every model measured", columns, rows, searchable=True)
