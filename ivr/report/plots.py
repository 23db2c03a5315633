"""The report's pictures as SVG text: the same bytes for the same data, in the page's own colours.

matplotlib draws with stand-in colours, which are then replaced by CSS names, so that one picture serves a light and
a dark page.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ivr.console import printable
from ivr.report.markup import escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_INCHES, HEIGHT_INCHES = 5.4, 3.3
INK, GRID, FIRST, SECOND = "#010203", "#010204", "#010205", "#010206"
CSS = {INK: "var(--ink-soft)", GRID: "var(--line)", FIRST: "var(--accent)", SECOND: "var(--second)"}
STYLE = {
    "svg.hashsalt": "gpt2-ivr",  # else ids are random
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


class Picture:
    """One figure with one set of axes; `svg` holds its text after the `with` block."""

    def __init__(self, label: str, height: float = HEIGHT_INCHES) -> None:
        self.label = label
        self.height = height
        self.svg = ""

    def __enter__(self) -> "Axes":
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        self._context = matplotlib.rc_context(STYLE)
        self._context.__enter__()
        self._figure = Figure(figsize=(WIDTH_INCHES, self.height), layout="constrained")
        FigureCanvasSVG(self._figure)
        return self._figure.add_subplot()

    def __exit__(self, *exc: object) -> None:
        stream = io.StringIO()
        if exc[0] is None:
            nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
            self._figure.savefig(stream, format="svg", metadata=nothing)
            self.svg = _inline(stream.getvalue(), self.label)
        self._context.__exit__(None, None, None)


def _plot_noisy(axes: "Axes", steps: Sequence[int], values: Sequence[float], color: str, label: str) -> None:
    """Every step faint, a running mean on top."""
    axes.plot(steps, values, color=color, linewidth=0.8, alpha=0.35)
    axes.plot(steps, running_mean(values, max(1, len(values) // 25)), color=color, linewidth=1.8)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.margins(x=0.01)


def loss_curve(steps: Sequence[int], losses: Sequence[float]) -> str:
    """Training loss over steps: every step faint, a running mean on top."""
    picture = Picture("Training loss over steps")
    with picture as axes:
        _plot_noisy(axes, steps, losses, FIRST, "loss (nats per token)")
    return picture.svg


def heldout_curve(curves: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> str:
    """Held-out bits per byte during training, one line a text."""
    picture = Picture("Held-out bits per byte during training")
    with picture as axes:
        for color, (name, (steps, values)) in zip((FIRST, SECOND), curves.items(), strict=False):
            axes.plot(steps, values, color=color, linewidth=1.8, marker="o", markersize=3.5, label=name)
        axes.set_xlabel("step")
        axes.set_ylabel("bits per byte, held out")
        if len(curves) > 1:
            axes.legend()
    return picture.svg


def speed_curve(steps: Sequence[int], bytes_per_second: Sequence[float]) -> str:
    """Throughput of training: every step faint, a running mean on top."""
    picture = Picture("Bytes of text a second during training")
    with picture as axes:
        _plot_noisy(axes, steps, bytes_per_second, SECOND, "bytes a second")
        axes.set_ylim(bottom=0)
    return picture.svg


def intervals(label: str, rows: Sequence[tuple[str, float, float | None, float | None]]) -> str:
    """Differences with their intervals, one below another, and the line where there is none.

    A row: name, difference, the interval's ends (None where there are too few documents for one).
    """
    picture = Picture(label, height=0.9 + 0.42 * max(2, len(rows)))
    with picture as axes:
        for place, (_, difference, low, high) in enumerate(rows):
            ends = [difference if low is None else low, difference if high is None else high]
            color = FIRST if ends[1] < 0 else SECOND if ends[0] > 0 else INK
            axes.plot(ends, [place, place], color=color, linewidth=2.2, solid_capstyle="round")
            axes.plot([difference], [place], "o", color=color, markersize=6)
        axes.axvline(0, color=INK, linewidth=0.8)
        # names are text: no formulas between dollar signs
        axes.set_yticks(range(len(rows)), [printable(row[0]) for row in rows], parse_math=False)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("difference in bits per byte; left of 0 is better")
        axes.margins(x=0.08)
    return picture.svg


def zipf(counts: Sequence[int], swapped_ranks: Sequence[int]) -> str:
    """Token count over rank, both logarithmic; the ids that were reassigned are marked.

    `counts` is sorted, largest first, zeros left out; `swapped_ranks` are 1-based ranks in it.
    """
    picture = Picture("Token frequency over rank")
    with picture as axes:
        ranks = thinned(len(counts))
        axes.loglog(ranks, [counts[rank - 1] for rank in ranks], color=FIRST, linewidth=1.8, label="base token")
        if swapped_ranks:
            heights = [counts[rank - 1] for rank in swapped_ranks]
            axes.loglog(swapped_ranks, heights, "|", color=SECOND, markersize=7, alpha=0.6, label="reassigned id")
            axes.legend(loc="lower left")
        axes.set_xlabel("rank of the token in the corpus")
        axes.set_ylabel("occurrences")
    return picture.svg


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Mean of each value and up to `width - 1` before it.

    >>> running_mean([1.0, 3.0, 5.0], 2)
    [1.0, 2.0, 4.0]
    """
    means, total = [], 0.0
    for index, value in enumerate(values):
        total += value - (values[index - width] if index >= width else 0.0)
        means.append(total / min(index + 1, width))
    return means


def thinned(length: int, points: int = 400) -> list[int]:
    """At most about `points` of the ranks 1..length, evenly spaced on a logarithmic axis, both ends kept.

    >>> thinned(4)
    [1, 2, 3, 4]
    """
    if length < 1:
        return []
    return sorted({round(length ** (index / (points - 1))) for index in range(points)})


def _inline(svg: str, label: str) -> str:
    """matplotlib's file as an element of a page: no prolog, no fixed size, CSS colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box is not None
    opening = f'<svg {view_box.group()} role="img" aria-label="{escape(label)}">'
    svg = re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    for color, name in CSS.items():
        svg = svg.replace(color, name)
    # ids must be unique in the page that holds several pictures
    prefix = re.sub(r"\W+", "-", label.lower())
    svg = re.sub(r'id="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{prefix}-", svg)
    # a style block would reach the rest of the page
    return re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.DOTALL)
