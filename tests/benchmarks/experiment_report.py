"""The experiment's cells as one JSON, a Markdown table, a plot, and the bars: met, not met, or not measured."""

from collections.abc import Callable
from typing import Any

import numpy as np
from experiment_cells import ARMS, DEFAULT, NONE, NONE_FLOPS, Laboratory
from experiment_data import DOMAINS

from ivr.artifacts import atomic_file, write_json, write_text
from ivr.training.bits_per_byte import Scores
from ivr.training.intervals import paired_difference

Cells = dict[tuple[str, int, str, int], dict[str, Any]]


def write(lab: Laboratory, found: list[dict[str, Any]]) -> None:
    """Write experiment.json, experiment.md and experiment.png below the working directory; print the table."""
    cells = {(row["domain"], row["swaps"], row["arm"], row["budget"]): row for row in found}
    bars = judge(lab, cells)
    rows = [
        {key: row[key] for key in ("domain", "swaps", "arm", "budget", "steps", "tokens", "cpu_seconds")}
        | {f"{kind}_bits_per_byte": round(scores_of(row, kind).bits_per_byte, 4) for kind in row["scores"]}
        for row in found
    ]
    write_json(lab.root / "experiment.json", {"cells": rows, "bars": bars, "cpu_seconds": _total(rows)})
    text = table(lab, cells) + "\n" + "\n".join(f"* {bar['bar']}: {bar['verdict']}" for bar in bars) + "\n"
    write_text(lab.root / "experiment.md", text)
    print(text)
    plot(lab, cells)


def _total(rows: list[dict[str, Any]]) -> float:
    return round(sum(row["cpu_seconds"] for row in rows), 1)


def scores_of(cell: dict[str, Any], kind: str = "domain") -> Scores:
    scores = cell["scores"][kind]
    return Scores(np.array(scores["bits"]), np.array(scores["tokens"]), np.array(scores["bytes"]))


def _find(cells: Cells, domain: str, swaps: int, arm: str, budget: int) -> dict[str, Any] | None:
    return cells.get((domain, 0 if arm == NONE else swaps, arm, budget))


def table(lab: Laboratory, cells: Cells) -> str:
    """One row an arm; bits per byte of held-out text untrained and after each budget, for each domain and K."""
    columns = [(d, k, b) for d in DOMAINS for k in lab.size.swaps for b in (0, *lab.size.budgets)]
    head = [f"{d} {k}: {b // 1000} kB" if b else f"{d} {k}: 0" for d, k, b in columns]
    lines = ["| arm | " + " | ".join(head) + " |", "|---|" + "---:|" * len(columns)]
    for arm in ARMS:
        shown = []
        for d, k, b in columns:
            cell = _find(cells, d, k, arm, b)
            shown.append(f"{scores_of(cell).bits_per_byte:.3f}" if cell else "-")
        lines.append(f"| {arm} | " + " | ".join(shown) + " |")
    return "\n".join([*lines, "", *_forgetting(lab, cells)])


def _forgetting(lab: Laboratory, cells: Cells) -> list[str]:
    """General text: the base's loss, and what each arm adds to it."""
    base = next((row for key, row in cells.items() if key[2] == NONE and "general" in row["scores"]), None)
    if base is None:
        return []
    first = scores_of(base, "general")
    lines = [f"General text, bits per byte (base {first.bits_per_byte:.3f}); more than the base, 95 % interval:", ""]
    for (d, k, arm, budget), row in cells.items():
        if "general" in row["scores"] and row is not base and (budget or arm != NONE):
            found = paired_difference(scores_of(row, "general"), first)
            lines.append(f"* {d} {k}, {arm}, {budget // 1000} kB: {found.difference:+.3f} {_interval(found)}")
    return [*lines, ""]


def _interval(found: Any) -> str:
    return f"({found.low:+.3f} to {found.high:+.3f})" if found.low is not None else ""


def judge(lab: Laboratory, cells: Cells) -> list[dict[str, Any]]:
    """Every bar for every domain and K: the difference (below 0: the default is better) with its interval."""
    found = []

    def bar(what: str, first: Any, second: Any, holds: Callable[[Any], bool]) -> None:
        if first is None or second is None:
            found.append({"bar": what, "verdict": "not measured"})
            return
        one = paired_difference(scores_of(first), scores_of(second))
        verdict = f"{'met' if holds(one) else 'NOT met'}: {one.difference:+.4f} bits per byte {_interval(one)}"
        found.append({"bar": what, "verdict": verdict, "met": holds(one), **one.results()})

    for domain in DOMAINS:
        for swaps in lab.size.swaps:
            here = f"{domain}, {swaps} swaps"
            start = _find(cells, domain, swaps, DEFAULT, 0)
            for arm in ("mean", "random", "zeros", "keep"):
                other = _find(cells, domain, swaps, arm, 0)
                bar(f"{here}: {DEFAULT} below {arm}, untrained", start, other, lambda one: one.difference < 0)
            other = _find(cells, domain, swaps, "pieces", 0)
            bar(
                f"{here}: {DEFAULT} no worse than pieces before training", start, other, lambda one: one.difference <= 0
            )
            for budget in lab.size.budgets:
                after, none = (_find(cells, domain, swaps, arm, budget) for arm in (DEFAULT, NONE))
                what = f"{here}, after {budget // 1000} kB: {DEFAULT} against no reassignment, same bytes"
                bar(what, after, none, (lambda one: one.high < 0) if domain == "korean" else (lambda one: one.low <= 0))
                what = what.replace("same bytes", "same tokens")
                bar(what, after, _find(cells, domain, swaps, NONE_FLOPS, budget), lambda one: one.low <= 0)
    return found


def plot(lab: Laboratory, cells: Cells) -> None:
    """Bits per byte against the bytes trained on; one panel a domain and K."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    budgets = (0, *lab.size.budgets)
    figure, panels = pyplot.subplots(
        len(DOMAINS), len(lab.size.swaps), figsize=(11, 8), squeeze=False, layout="constrained"
    )
    for row, domain in zip(panels, DOMAINS, strict=True):
        for panel, swaps in zip(row, lab.size.swaps, strict=True):
            for number, arm in enumerate(ARMS):
                points = [(b, _find(cells, domain, swaps, arm, b)) for b in budgets]
                xy = [(b / 1000, scores_of(cell).bits_per_byte) for b, cell in points if cell is not None]
                if xy:
                    style = "--" if arm in (NONE, NONE_FLOPS) else "-"
                    panel.plot(*zip(*xy, strict=True), style, marker="o", label=arm, color=f"C{number % 10}")
            panel.set(title=f"{domain}, {swaps} swaps", xlabel="kB trained on", ylabel="bits per byte", yscale="log")
    panels[0][0].legend(fontsize=7)
    with atomic_file(lab.root / "experiment.png", "wb") as stream:
        figure.savefig(stream, format="png", dpi=110)
    pyplot.close(figure)
