"""The experiment's cells as one JSON, Markdown tables, two plots, and the bars: met, not met, or not measured."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from experiment_cells import (
    ARMS,
    DEFAULT,
    DEFAULT_CORPUS,
    DEFAULT_REPLAY,
    NONE,
    NONE_FLOPS,
    NONE_REPLAY,
    REPLAY_RATIO,
    WITHOUT,
    Laboratory,
    training_flops,
)
from experiment_data import DOMAINS

from ivr.disk.writer import atomic_file, write_json, write_text
from ivr.evaluation.bits_per_byte import Scores
from ivr.evaluation.intervals import Difference, paired_difference

Key = tuple[str, int, str, int]
Cells = Mapping[Key, Mapping[str, Any]]
ABOUT = {
    NONE: "no reassignment, same bytes",
    NONE_FLOPS: "no reassignment, same FLOPs",
    NONE_REPLAY: f"no reassignment, {REPLAY_RATIO:.0%} general text mixed in",
    DEFAULT: "distill, from the budget's text",
    DEFAULT_CORPUS: "distill, from the whole corpus",
    DEFAULT_REPLAY: f"distill, {REPLAY_RATIO:.0%} general text mixed in",
}
FIGURES = ("steps", "tokens", "bytes", "initialising_flops", "trained_lr", "tokens_per_second_median", "cpu_seconds")


def write(lab: Laboratory, found: Sequence[Mapping[str, Any]], times: Mapping[str, Any]) -> None:
    """Write experiment.json, .md, .png and forgetting.png below the working directory; print the tables."""
    cells = {(row["domain"], row["swaps"], row["arm"], row["budget"]): row for row in found if not row["lr"]}
    bars = judge(lab, cells)
    rows = [
        {key: row[key] for key in ("domain", "swaps", "arm", "budget", "lr")}
        | {key: row[key] for key in FIGURES if key in row}
        | {f"{kind}_bits_per_byte": round(scores_of(row, kind).bits_per_byte, 4) for kind in row["scores"]}
        for row in found
    ]
    used = round(sum(row["cpu_seconds"] for row in found), 1)
    forgotten = forgetting(lab, cells)
    write_json(
        lab.root / "experiment.json",
        {"cells": rows, "bars": bars, "forgetting": forgotten, "cells_cpu_seconds": used, "preparation": dict(times)},
    )
    parts = [table(lab, cells), "General text:", "", *_forgetting_lines(cells, forgotten), "", *_tuned(found), ""]
    parts += [f"* {bar['bar']}: {bar['verdict']}" for bar in bars]
    parts += ["", f"{len(found)} cells took {used:.0f} seconds of processor; before them {dict(times)}", ""]
    write_text(lab.root / "experiment.md", "\n".join(parts))
    print("\n".join(parts))
    plot(lab, cells)
    plot_forgetting(lab, forgotten)


def scores_of(cell: Mapping[str, Any], kind: str = "domain") -> Scores:
    scores = cell["scores"][kind]
    return Scores(np.array(scores["bits"]), np.array(scores["tokens"]), np.array(scores["bytes"]))


def _find(cells: Cells, domain: str, swaps: int, arm: str, budget: int) -> Mapping[str, Any] | None:
    return cells.get((domain, 0 if arm in (NONE, NONE_REPLAY) else swaps, arm, budget))


def _shown(cells: Cells, domain: str, swaps: int, arm: str, budget: int) -> Mapping[str, Any] | None:
    """As `_find`; untrained, `distill` has read the whole corpus."""
    if not budget and arm in (DEFAULT, DEFAULT_CORPUS):
        return _find(cells, domain, swaps, DEFAULT, 0) if arm == DEFAULT_CORPUS else None
    return _find(cells, domain, swaps, arm, budget)


def _kilobytes(budget: int) -> str:
    return f"{budget / 1000:g} kB"


def table(lab: Laboratory, cells: Cells) -> str:
    """One row an arm; bits per byte of held-out text untrained and after each budget, for each domain and K."""
    columns = [(d, k, b) for d in DOMAINS for k in lab.size.swaps for b in (0, *lab.size.budgets)]
    head = [f"{d} {k}: {_kilobytes(b)}" for d, k, b in columns]
    lines = ["| arm | " + " | ".join(head) + " |", "|---|" + "---:|" * len(columns)]
    for arm in ARMS:
        shown = []
        for d, k, b in columns:
            cell = _shown(cells, d, k, arm, b)
            shown.append(f"{scores_of(cell).bits_per_byte:.3f}" if cell else "")
        lines.append(f"| {ABOUT.get(arm, arm)} | " + " | ".join(shown) + " |")
    return "\n".join([*lines, ""])


def _tuned(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The learning rates that were tried, and the bits per byte of the tuning text."""
    tried: dict[str, list[str]] = {}
    for row in found:
        if row["lr"]:
            which = "without" if row["arm"] in WITHOUT else "with"
            name = f"{row['domain']}, {_kilobytes(row['budget'])}, {which} reassignment"
            tried.setdefault(name, []).append(f"{row['lr']:g}: {scores_of(row, 'tuning').bits_per_byte:.3f}")
    return [f"Learning rates tried, {name}: {', '.join(values)}" for name, values in tried.items()]


def forgetting(lab: Laboratory, cells: Cells) -> list[dict[str, Any]]:
    """General text: how much more each arm takes than the base model, with its interval."""
    base = _base(cells)
    if base is None:
        return []
    rows = []
    for (domain, swaps, arm, budget), cell in cells.items():
        if "general" in cell["scores"] and (budget or arm != NONE):
            one = paired_difference(scores_of(cell, "general"), scores_of(base, "general"))
            rows.append({"domain": domain, "swaps": swaps, "arm": arm, "budget": budget, **one.results()})
    return rows


def _base(cells: Cells) -> Mapping[str, Any] | None:
    return next((cell for (_, _, arm, budget), cell in cells.items() if arm == NONE and not budget), None)


def _forgetting_lines(cells: Cells, forgotten: Sequence[Mapping[str, Any]]) -> list[str]:
    base = _base(cells)
    if base is None:
        return []
    first = scores_of(base, "general").bits_per_byte
    lines = [f"base model {first:.3f} bits per byte; more than it, with the 95 % interval:", ""]
    for row in forgotten:
        interval = _interval(row["low"], row["high"])
        what = f"{row['domain']} {row['swaps'] or ''}".strip()
        lines.append(f"* {what}, {row['arm']}, {_kilobytes(row['budget'])}: {row['difference']:+.3f} {interval}")
    return lines


def _interval(low: float | None, high: float | None) -> str:
    return f"({low:+.3f} to {high:+.3f})" if low is not None and high is not None else ""


def judge(lab: Laboratory, cells: Cells) -> list[dict[str, Any]]:
    """Every bar for every domain and K: the difference (below 0: the default is better) with its interval."""
    found: list[dict[str, Any]] = []

    def bar(what: str, first: Any, second: Any, holds: Callable[[Difference], bool]) -> None:
        if first is None or second is None:
            found.append({"bar": what, "verdict": "not measured"})
            return
        one = paired_difference(scores_of(first), scores_of(second))
        said = f"{one.difference:+.4f} bits per byte {_interval(one.low, one.high)}"
        met = bool(holds(one))
        found.append({"bar": what, "verdict": f"{'met' if met else 'NOT met'}: {said}", "met": met, **one.results()})

    def better(one: Difference) -> bool:
        return one.high is not None and one.high < 0

    def not_worse(one: Difference) -> bool:
        return one.low is not None and one.low <= 0

    for domain in DOMAINS:
        for swaps in lab.size.swaps:
            here = f"{domain}, {swaps} swaps"
            start = _find(cells, domain, swaps, DEFAULT, 0)
            for arm in ("mean", "random", "zeros", "keep"):
                other = _find(cells, domain, swaps, arm, 0)
                bar(f"{here}, untrained: {DEFAULT} below {arm}", start, other, lambda one: one.difference < 0)
            other = _find(cells, domain, swaps, "pieces", 0)
            bar(f"{here}, untrained: {DEFAULT} no worse than pieces", start, other, lambda one: one.difference <= 0)
            for budget in lab.size.budgets:
                none = _find(cells, domain, swaps, NONE, budget)
                none_flops = _find(cells, domain, swaps, NONE_FLOPS, budget)
                for arm in (DEFAULT, DEFAULT_CORPUS):
                    after = _find(cells, domain, swaps, arm, budget)
                    what = f"{here}, {_kilobytes(budget)}: {ABOUT[arm]}, against none, same bytes"
                    bar(what, after, none, better if domain == "korean" else not_worse)
                    if arm == DEFAULT:
                        bar(what.replace("same bytes", "same FLOPs"), after, none_flops, not_worse)
    return found


STYLES: dict[str, dict[str, Any]] = {
    NONE: {"color": "black", "linestyle": "--", "linewidth": 2},
    NONE_FLOPS: {"color": "dimgray", "linestyle": ":", "linewidth": 2},
    DEFAULT: {"color": "crimson", "linestyle": "--", "linewidth": 1.5},
    DEFAULT_CORPUS: {"color": "crimson", "linewidth": 2.5},
}


def plot(lab: Laboratory, cells: Cells) -> None:
    """Bits per byte against the bytes trained on; one panel a domain and K."""
    budgets = (0, *lab.size.budgets)
    places = range(len(budgets))
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8.5), layout="constrained")
    panels = figure.subplots(len(DOMAINS), len(lab.size.swaps), squeeze=False)
    arms = [arm for arm in ARMS if arm not in (NONE_REPLAY, DEFAULT_REPLAY)]
    handles: dict[str, Any] = {}
    for row, domain in zip(panels, DOMAINS, strict=True):
        for panel, swaps in zip(row, lab.size.swaps, strict=True):
            for number, arm in enumerate(arms):
                found = [
                    (place, _shown(cells, domain, swaps, arm, b)) for place, b in zip(places, budgets, strict=True)
                ]
                xy = [(place, scores_of(cell).bits_per_byte) for place, cell in found if cell is not None]
                if xy:
                    style = STYLES.get(arm, {"color": f"C{number % 10}", "linewidth": 1})
                    (handles[arm],) = panel.plot(
                        *map(np.array, zip(*xy, strict=True)), marker="o", markersize=4, **style
                    )
            panel.set(title=f"{domain}, {swaps} swaps", xlabel="text trained on", ylabel="bits per byte, held out")
            low, high = panel.get_ylim()
            if high > 3 * low > 0:
                panel.set_yscale("log")
                panel.set_yticks([2, 3, 4, 5, 6, 8, 10, 15, 20], [str(n) for n in (2, 3, 4, 5, 6, 8, 10, 15, 20)])
                panel.set_ylim(0.93 * min(line.get_ydata().min() for line in panel.get_lines()), high)
                panel.minorticks_off()
            panel.set_xticks(list(places), [_kilobytes(budget) for budget in budgets])
            panel.grid(alpha=0.3)
    names = [ABOUT.get(arm, arm) for arm in handles]
    figure.legend(list(handles.values()), names, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    with atomic_file(lab.root / "experiment.png", "wb") as stream:
        figure.savefig(stream, format="png", dpi=110)


def plot_forgetting(lab: Laboratory, forgotten: Sequence[Mapping[str, Any]]) -> None:
    """What each arm adds to the bits per byte of general text, after the largest budget."""
    from matplotlib.figure import Figure

    rows = [row for row in forgotten if row["budget"] == lab.size.budgets[-1]]
    figure = Figure(figsize=(11, 1 + 0.22 * max(8, len(rows))), layout="constrained")
    panels = figure.subplots(1, len(DOMAINS), squeeze=False)[0]
    for panel, domain in zip(panels, DOMAINS, strict=True):
        here = [row for row in rows if row["domain"] == domain]
        for place, row in enumerate(here):
            spread = [[row["difference"] - (row["low"] or 0)], [(row["high"] or 0) - row["difference"]]]
            color = "crimson" if row["arm"].startswith(DEFAULT) else "black" if row["arm"] in WITHOUT else "C0"
            panel.errorbar(row["difference"], place, xerr=spread, fmt="o", color=color, capsize=3)
        labels = [f"{ABOUT.get(row['arm'], row['arm'])} {row['swaps'] or ''}" for row in here]
        panel.set_yticks(range(len(here)), labels, fontsize=8)
        panel.axvline(0, color="gray", linewidth=0.8)
        panel.set(title=f"after {_kilobytes(lab.size.budgets[-1])} of {domain}", ylim=(len(here) - 0.5, -0.5))
        panel.set_xlabel("bits per byte of English books forgotten")
        panel.grid(axis="x", alpha=0.3)
    with atomic_file(lab.root / "forgetting.png", "wb") as stream:
        figure.savefig(stream, format="png", dpi=110)


def speeds(lab: Laboratory, found: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Median tokens a second of the trained cells, and the FLOPs a second that is."""
    tokens = sorted(row["tokens_per_second_median"] for row in found if row.get("tokens_per_second_median"))
    median = tokens[len(tokens) // 2] if tokens else 0.0
    return {"tokens_per_second": median, "flops_per_second": round(median * training_flops(lab.size))}
