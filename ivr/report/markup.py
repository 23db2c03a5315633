"""Pieces of HTML that every part of the page is made of."""

import html
from collections.abc import Sequence


def escape(value: object) -> str:
    """Text for HTML; what no screen shows (control characters, lone line ends) becomes visible."""
    text = "".join(
        character if character.isprintable() else f"\\x{ord(character):02x}" if ord(character) < 256 else "\ufffd"
        for character in str(value)
    )
    return html.escape(text)


def section(heading: str, content: str, note: str = "") -> str:
    note = f'<p class="note">{note}</p>' if note else ""
    return f"<section><h2>{heading}</h2>{note}\n{content}\n</section>"


def missing(stage: str) -> str:
    return f'<p class="missing">Missing: <code>ivr {stage}</code> has not run.</p>'


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], figures: Sequence[bool], kind: str = "") -> str:
    """Cells are HTML already; `figures` says which columns are right-aligned."""
    marks = [' class="right"' if figure else "" for figure in figures]
    head = "".join(f"<th{mark}>{heading}</th>" for heading, mark in zip(headings, marks, strict=True))
    lines = "\n".join(
        "<tr>" + "".join(f"<td{mark}>{cell}</td>" for cell, mark in zip(row, marks, strict=True)) + "</tr>"
        for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>\n" if any(headings) else ""
    return f'<div class="scroll {kind}"><table>{head}<tbody>\n{lines}\n</tbody></table></div>'


def bars(rows: Sequence[tuple[str, float | None, str, str]]) -> str:
    """Horizontal bars, the largest as wide as there is room. A row: name, value, the value as shown, CSS class."""
    largest = max((row[1] for row in rows if row[1] is not None), default=0.0)
    lines = []
    for name, value, shown, kind in rows:
        width = 0.0 if value is None or largest <= 0 else 100 * value / largest
        lines.append(
            f'<span class="name">{escape(name)}</span><span class="track"><span class="bar {kind}" '
            f'style="width:{width:.2f}%"></span></span><span class="figure">{escape(shown)}</span>'
        )
    return '<div class="bars">\n' + "\n".join(lines) + "\n</div>"


def pictures(drawn: Sequence[str]) -> str:
    """SVG pictures, side by side where there is room."""
    return '<div class="pictures">\n' + "\n".join(f"<figure>{one}</figure>" for one in drawn) + "\n</div>"
