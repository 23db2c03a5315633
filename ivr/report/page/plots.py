"""The report's pictures, each from plain numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ivr.console import printable
from ivr.report.page.drawing import Palette, draw
from ivr.report.page.parts import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 40
Curve = tuple[Sequence[int], Sequence[float]]


def loss_curve(steps: Sequence[int], losses: Sequence[float]) -> Picture:
    """Training loss over steps: every step faint, a running mean on top."""

    def drawn(axes: "Axes", palette: Palette) -> None:
        _plot_noisy(axes, steps, losses, palette.first, "loss (nats per token)")

    return draw("training-loss", "Training loss over steps", drawn)


def heldout_curve(curves: Mapping[str, Curve]) -> Picture:
    """Held-out bits per byte during training, one line a text."""

    def drawn(axes: "Axes", palette: Palette) -> None:
        for color, (name, (steps, values)) in zip((palette.first, palette.second), curves.items(), strict=False):
            axes.plot(steps, values, color=color, linewidth=1.8, marker="o", markersize=3.5, label=name)
        axes.set_xlabel("step")
        axes.set_ylabel("bits per byte, held out")
        if len(curves) > 1:
            axes.legend()

    return draw("training-heldout", "Held-out bits per byte during training", drawn)


def speed_curve(steps: Sequence[int], bytes_per_second: Sequence[float]) -> Picture:
    """Throughput of training: every step faint, a running mean on top."""

    def drawn(axes: "Axes", palette: Palette) -> None:
        _plot_noisy(axes, steps, bytes_per_second, palette.second, "bytes a second")
        axes.set_ylim(bottom=0)

    return draw("training-speed", "Bytes of text a second during training", drawn)


def intervals(
    name: str, label: str, rows: Sequence[tuple[str, float, float | None, float | None]], caption: str = ""
) -> Picture:
    """Differences with their intervals, one below another, and the line where there is none.

    A row: name, difference, the interval's ends (None where there are too few documents for one).
    """

    def drawn(axes: "Axes", palette: Palette) -> None:
        for place, (_, difference, low, high) in enumerate(rows):
            ends = [difference if low is None else low, difference if high is None else high]
            color = palette.first if ends[1] < 0 else palette.second if ends[0] > 0 else palette.ink
            axes.plot(ends, [place, place], color=color, linewidth=2.2, solid_capstyle="round")
            axes.plot([difference], [place], "o", color=color, markersize=6)
        axes.axvline(0, color=palette.ink, linewidth=0.8)
        # names are text: no formulas between dollar signs
        axes.set_yticks(range(len(rows)), [printable(row[0]) for row in rows], parse_math=False)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        # below the whole picture: beside long names the axis is narrower than this
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.supxlabel("difference in bits per byte; left of 0 is better", fontsize="medium")
        axes.margins(x=0.08)

    return draw(name, label, drawn, caption, height=0.9 + 0.42 * max(2, len(rows)))


def rank_frequency(counts: Sequence[int], dropped: Sequence[int], added: Sequence[int]) -> Picture:
    """Token count over rank, both logarithmic (Zipf's plot), with what the swaps took out and put in.

    Args:
        counts: of the original tokenizer's tokens, largest first, zeros left out.
        dropped: the 1-based ranks in it of ids that were reassigned.
        added: counts of the new tokens; each is marked at the rank that it would have among `counts`.
    """

    def drawn(axes: "Axes", palette: Palette) -> None:
        ranks = thinned(len(counts))
        axes.loglog(ranks, [counts[rank - 1] for rank in ranks], color=palette.first, linewidth=1.8, label="token")
        # along the lower and the upper border: on the curve they would hide it and each other
        along: dict[str, Any] = {
            "transform": axes.get_xaxis_transform(),
            "markersize": 9,
            "alpha": 0.45,
            "linestyle": "none",
        }
        if dropped:
            places = apart(dropped, len(counts))
            heights = [0.035] * len(places)
            axes.plot(places, heights, marker="|", color=palette.second, label="dropped ids (below)", **along)
        if shown := [count for count in added if count > 0]:
            places = apart([rank_of(counts, count) for count in shown], len(counts))
            heights = [0.965] * len(places)
            axes.plot(places, heights, marker="|", color=palette.third, label="new tokens (above)", **along)
        if dropped or shown:
            axes.legend(loc="center left")
        axes.set_xlabel("rank of the token in the corpus")
        axes.set_ylabel("occurrences")

    label = f"Token frequency over rank: {len(dropped)} dropped ids and {len(added)} new tokens marked"
    return draw("rank-frequency", label, drawn)


def norms(groups: Mapping[str, Sequence[float]]) -> Picture:
    """Distributions of row lengths, as outlines over common bins: kept rows, new rows before and after training."""

    def drawn(axes: "Axes", palette: Palette) -> None:
        whole = [value for values in groups.values() for value in values]
        low, high = min(whole), max(whole)
        high = high if high > low else low + 1.0
        edges = [low + (high - low) * place / BINS for place in range(BINS + 1)]
        for color, (name, values) in zip((palette.ink, palette.second, palette.first), groups.items(), strict=False):
            weights = [100 / len(values)] * len(values)
            axes.hist(values, bins=edges, weights=weights, histtype="step", color=color, linewidth=1.6, label=name)
        axes.legend()
        axes.set_xlabel("Euclidean norm of the row")
        axes.set_ylabel("% of the rows")

    return draw("row-norms", f"Norms of embedding rows: {', '.join(groups)}", drawn)


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


def apart(ranks: Sequence[int], length: int, points: int = 400) -> list[int]:
    """Those of the ranks that do not fall on one another on a logarithmic axis from 1 to `length`.

    Thousands of marks, most of them one upon another, would make a file of half a megabyte.

    >>> apart([1, 2, 30_000, 30_001, 40_000], 50_000)
    [1, 2, 30000, 40000]
    """
    width = math.log(max(length, 2)) / points
    return list({int(math.log(rank) / width): rank for rank in sorted(ranks, reverse=True)}.values())[::-1]


def outline(values: Sequence[float], points: int = 1000) -> list[int]:
    """The places of a line's lowest and highest value in each of `points` / 2 parts: to a reader the line itself.

    >>> outline([1.0, 3.0, 2.0, 0.0], points=2), outline([1.0, 3.0, 2.0, 0.0])
    ([1, 3], [0, 1, 2, 3])
    """
    if len(values) <= points:
        return list(range(len(values)))
    width = math.ceil(2 * len(values) / points)
    parts = [range(start, min(start + width, len(values))) for start in range(0, len(values), width)]
    return sorted({choose(part, key=values.__getitem__) for part in parts for choose in (min, max)})


def rank_of(counts: Sequence[int], count: int) -> int:
    """The 1-based rank that a count would have among `counts`, which are sorted, largest first.

    >>> rank_of([9, 5, 5, 1], 5), rank_of([9, 5, 5, 1], 10)
    (4, 1)
    """
    low, high = 0, len(counts)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if counts[middle] >= count else (low, middle)
    return low + 1


def _plot_noisy(axes: "Axes", steps: Sequence[int], values: Sequence[float], color: str, label: str) -> None:
    """Every step faint, a running mean on top."""
    means = running_mean(values, max(1, len(values) // 25))
    for line, width, alpha in ((values, 0.8, 0.35), (means, 1.8, 1.0)):
        places = outline(line)
        drawn = [steps[place] for place in places], [line[place] for place in places]
        axes.plot(*drawn, color=color, linewidth=width, alpha=alpha)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.margins(x=0.01)
