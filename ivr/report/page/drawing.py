"""One figure drawn three times with the same bytes each time: for the page, as an SVG file, as a PNG file.

matplotlib draws the SVG with stand-in colours. In the page they become names of its stylesheet, so that one picture
serves light and dark; in the files, the colours of the light page.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from ivr.report.page.parts import Picture
from ivr.report.page.templates import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES, HEIGHT_INCHES = 5.4, 3.3
DOTS_PER_INCH = 200


@dataclass(frozen=True)
class Palette:
    """ink: text and axes; grid; first to third: what is drawn."""

    ink: str
    grid: str
    first: str
    second: str
    third: str


STAND_IN = Palette("#010203", "#010204", "#010205", "#010206", "#010207")
ON_PAGE = Palette("var(--ink-soft)", "var(--line)", "var(--accent)", "var(--second)", "var(--good)")
ON_PAPER = Palette("#4f565e", "#e2e4e0", "#1f6f8b", "#c04f2d", "#2a7146")
Draw = Callable[["Axes", Palette], None]


def draw(name: str, label: str, drawn: Draw, caption: str = "", height: float = HEIGHT_INCHES) -> Picture:
    """The picture that `drawn(axes, palette)` draws. name: of its files; label: what it shows, for who cannot see it.

    `height` is in inches.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with matplotlib.rc_context(_style(STAND_IN)):
        # letters are a little wider in the PNG than in the SVG, for which the places are chosen
        figure = Figure(figsize=(WIDTH_INCHES, height), layout=ConstrainedLayoutEngine(w_pad=0.1))
        FigureCanvasAgg(figure)
        drawn(figure.add_subplot(), STAND_IN)
        text = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(text, format="svg", metadata=nothing)
        figure.set_layout_engine("none")  # where everything stands is known by now
        _recolor(figure)
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=DOTS_PER_INCH, facecolor="white", metadata={"Software": None})
    svg = text.getvalue()
    paper = svg
    for stand_in, color in _pairs(ON_PAPER):
        paper = paper.replace(stand_in, color)
    return Picture(name, label, _inline(svg, name, label), paper, png.getvalue(), caption)


def _recolor(figure: "Figure") -> None:
    """Give everything drawn in a stand-in colour the one that it has on paper."""
    from matplotlib import colors

    paper = dict(_pairs(ON_PAPER))
    for artist in figure.findobj():
        for what in ("color", "edgecolor", "facecolor", "markerfacecolor", "markeredgecolor"):
            get, put = getattr(artist, f"get_{what}", None), getattr(artist, f"set_{what}", None)
            if get is None or put is None or not colors.is_color_like(color := get()):
                continue
            if (shown := paper.get(colors.to_hex(color))) is not None:
                put(colors.to_rgba(shown, colors.to_rgba(color)[3]))


def _style(palette: Palette) -> dict[str, Any]:
    return {
        "svg.hashsalt": "gpt2-ivr",  # else ids are random
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": palette.ink,
        "axes.labelcolor": palette.ink,
        "axes.edgecolor": palette.grid,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": palette.grid,
        "grid.linewidth": 0.6,
        "xtick.color": palette.ink,
        "ytick.color": palette.ink,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "legend.frameon": False,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
    }


def _pairs(palette: Palette) -> list[tuple[str, str]]:
    return [(getattr(STAND_IN, name), getattr(palette, name)) for name in ("ink", "grid", "first", "second", "third")]


def _inline(svg: str, name: str, label: str) -> Markup:
    """matplotlib's file as an element of a page: no prolog, no fixed size, the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box is not None
    opening = f'<svg {view_box.group()} role="img" aria-label="{escape(visible(label))}">'
    svg = re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    for stand_in, color in _pairs(ON_PAGE):
        svg = svg.replace(stand_in, color)
    # ids must be unique in the page that holds several pictures
    svg = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    # a style block would reach the rest of the page
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.DOTALL)
    return Markup(svg)  # noqa: S704 - matplotlib escapes what it writes
