"""Where the figures come from, as sections: the certificate, the stages, the files, the commands that repeat them."""

from collections.abc import Sequence

from ivr.report.lineage import commands, lineage
from ivr.report.page.parts import Block, Cell, Column, Commands, Figure, Missing, Note, Section, Shown, Table
from ivr.report.status import StageStatus, duration, size
from ivr.report.summary import Run, agreement, percent, verified

SHOWN_HASH = 12  # hexadecimal digits; the file has all 64


def provenance_sections(run: Run, statuses: Sequence[StageStatus]) -> list[Section]:
    """All of them, in the order of the page."""
    note = (
        "What came from what. A file without a maker was brought; hashes are the first digits of sha256, all of them "
        "stand in numbers/lineage.csv."
    )
    return [
        Section("certificate", "Certificate of the distilled tokenizer", _certificate(run)),
        Section("stages", "Stages", [_stages(statuses)]),
        Section("lineage", "Lineage", [_lineage(run)], note),
        Section("repeat", "To repeat it", _repeat(run)),
    ]


def _certificate(run: Run) -> list[Block]:
    if (found := agreement(run)) is None:
        return [Missing("distill-tokenizer")]
    proportion, occurrences, mismatched, types = found
    rows: list[list[Cell]] = [
        ["agreement by occurrence", Shown(proportion, percent(proportion, 4))],
        ["pretokens compared", Figure(occurrences)],
        ["distinct ones", Figure(types)],
        ["distinct pretokens that differ", Figure(mismatched)],
    ]
    for key, label in (
        ("mismatched_occurrences", "their occurrences"),
        ("constraints", "constraints solved"),
        ("rounds", "rounds of repair"),
        ("largest_score", "largest token score"),
    ):
        value = run.result("distill-tokenizer", key)
        if value is not None:
            rows.append([label, Figure(value, "," if abs(value) < 1e9 else ".3g")])
    columns = [Column("what", "what"), Column("value", "value", True)]
    checked: list[Block] = [Note(f"{said}.")] if (said := verified(run)) else []
    last = Note("Every mismatch, with its cause, stands in certificate.json beside the tokenizer.")
    return [Table("certificate", "Certificate", columns, rows, slim=True), *checked, last]


def _stages(statuses: Sequence[StageStatus]) -> Table:
    rows: list[list[Cell]] = []
    for row in statuses:
        why = row.reason or row.remark
        cells = [
            Shown(row.wall_seconds, duration(row.wall_seconds)),
            *(Shown(value, size(value)) for value in (row.peak_memory_bytes, row.output_bytes)),
        ]
        if row.state == "missing":
            cells = [Shown(None, "")] * len(cells)
        rows.append([row.stage, f"{row.state}: {why}" if why else row.state, *cells])
    columns = [
        Column("stage", "stage"),
        Column("state", "state"),
        Column("seconds", "time", True),
        Column("peak_memory_bytes", "peak memory", True),
        Column("output_bytes", "output", True),
    ]
    return Table("stages", "Stages", columns, rows)


def _lineage(run: Run) -> Table:
    rows: list[list[Cell]] = []
    for one in lineage(run.manifests):
        name = one.path if one.files == 1 else f"{one.path} ({one.files:,} files)"
        digest = Shown(one.sha256, one.sha256[:SHOWN_HASH])
        rows.append([name, digest, Shown(one.bytes, size(one.bytes)), one.made_by, ", ".join(one.read_by)])
    columns = [
        Column("path", "file"),
        Column("sha256", "sha256"),
        Column("bytes", "size", True),
        Column("made_by", "made by"),
        Column("read_by", "read by"),
    ]
    return Table("lineage", "Files of the run", columns, rows, searchable=True)


def _repeat(run: Run) -> list[Block]:
    if not run.manifests:
        return [Note("Missing: no stage has run.", warning=True)]
    last = list(run.manifests.values())[-1]
    words = ", ".join(f"{name} {version}" for name, version in last.versions.items())
    return [Commands("\n".join(commands(run.manifests))), Note(f"Made with {words}.")]
