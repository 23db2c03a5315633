"""A table as Markdown and as LaTeX."""

from ivr.card.model_card import cell as markdown_cell
from ivr.report.page.parts import Cell, Table, Tokens
from ivr.report.page.templates import visible

LATEX = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\u2212": "$-$",
}


def markdown(table: Table) -> str:
    """A pipe table, figures aligned right."""
    columns = [table.columns[place] for place in table.places]
    lines = [[column.heading for column in columns], ["---:" if column.figure else "---" for column in columns]]
    lines[0] = [markdown_cell(heading) for heading in lines[0]]
    lines += [[markdown_cell(text_of(row[place])) for place in table.places] for row in table.rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(table: Table, common: str) -> str:
    r"""A `tabular` with the rules of the package booktabs; what LaTeX would obey is escaped.

    common: a sentence that goes into a comment above it.
    """
    columns = [table.columns[place] for place in table.places]
    lines = ["% needs \\usepackage{booktabs}", f"% {escaped(table.caption)}", f"% {escaped(common)}"]
    lines.append(f"\\begin{{tabular}}{{{''.join('r' if column.figure else 'l' for column in columns)}}}")
    lines += ["\\toprule", f"{' & '.join(escaped(column.heading) for column in columns)} \\\\", "\\midrule"]
    lines += [f"{' & '.join(escaped(text_of(row[place])) for place in table.places)} \\\\" for row in table.rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def text_of(cell: Cell) -> str:
    """What a reader sees of a cell."""
    if isinstance(cell, str):
        return cell
    return " ".join(token.shown for token in cell.tokens) if isinstance(cell, Tokens) else cell.shown


def escaped(text: str) -> str:
    r"""
    >>> escaped("50 % of a_b")
    '50 \\% of a\\_b'
    """
    return "".join(LATEX.get(letter, letter) for letter in str(visible(text)))
