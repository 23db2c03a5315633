"""A page as files: index.html, its pictures as SVG and PNG, its tables as CSV, all its numbers as JSON."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ivr.disk.writer import atomic_directory, atomic_file, write_json, write_text
from ivr.report.page.parts import Document, Table
from ivr.report.page.templates import render
from ivr.tokenizer.select.output.cells import write_cell

INDEX, PICTURES, NUMBERS, FIGURES = "index.html", "pictures", "numbers", "figures.json"


def places(folder: Path) -> list[Path]:
    """What `write_page` writes below `folder`."""
    return [folder / name for name in (INDEX, PICTURES, NUMBERS)]


def write_page(folder: Path, document: Document) -> list[Path]:
    """Write index.html, pictures/ and numbers/ below `folder`, each whole or not at all; returns the three."""
    index, pictures, numbers = places(folder)
    with atomic_directory(pictures) as staging:
        for picture in document.pictures():
            write_text(staging / f"{picture.name}.svg", picture.svg)
            with atomic_file(staging / f"{picture.name}.png", "wb") as stream:
                stream.write(picture.png)
    with atomic_directory(numbers) as staging:
        for table in document.tables():
            write_table(staging / f"{table.name}.csv", table)
        write_json(staging / FIGURES, figures(document))
    write_text(index, render(document))
    return [index, pictures, numbers]


def figures(document: Document) -> dict[str, Any]:
    """`{"title": ..., "tables": {name: [{column: value}]}}`, with what else the document wants to be read."""
    tables: Mapping[str, Any] = {table.name: table.records() for table in document.tables() if not table.csv_only}
    return {"title": document.title, **document.facts, "tables": tables}


def write_table(path: Path, table: Table) -> None:
    """As CSV that a spreadsheet leaves as it is (ivr.tokenizer.select.output.cells says how)."""
    with atomic_file(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([column.key for column in table.columns])
        for record in table.records():
            writer.writerow([_cell(value) for value in record.values()])


def _cell(value: Any) -> Any:
    return write_cell(value) if isinstance(value, str) else "" if value is None else value
