"""Figures of bench_select as Markdown tables and as a picture."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from results import Record, command_line

COLUMNS = {
    "superwords": "ours, superwords", "loose": "without limits", "pairs": "(e) pairs across words",
    "adaptivocab": "(f) AdaptiVocab", "ours": "ours", "words": "(a) words", "continued": "(b) continued BPE",
    "adapt": "(c) AdaptBPE",
}  # fmt: skip
SUPERWORDS = {
    "superwords": "`--max-words 4`", "pairs": "pair merging", "adaptivocab": "AdaptiVocab's n-grams",
    "loose": "without limits", "pairs-loose": "pair merging without limits", "ours": "inside words",
}  # fmt: skip
RIVALS = ("words", "continued", "adapt")


class Figures:
    """Cells by corpus, method and number of swaps."""

    def __init__(self, figures: Iterable[dict[str, Any]]) -> None:
        self._cells = {(cell["corpus"], cell["method"], cell["swaps"]): cell for cell in figures}
        self.corpora = list(dict.fromkeys(corpus for corpus, _, _ in self._cells))

    def swaps(self, corpus: str) -> list[int]:
        return sorted({swaps for name, _, swaps in self._cells if name == corpus and swaps})

    def get(self, corpus: str, method: str, swaps: int, what: str) -> Any:
        """A figure, or None."""
        return self._cells.get((corpus, method, swaps), {}).get(what)

    def saving(self, corpus: str, method: str, swaps: int, what: str = "heldout_tokens") -> float | None:
        """Percent of the base tokenizer's tokens."""
        base, after = self.get(corpus, "base", 0, what), self.get(corpus, method, swaps, what)
        return 100 * (1 - after / base) if base and after is not None else None

    def limit(self, corpus: str) -> float | None:
        """The saving with one token a pretoken."""
        base = self.get(corpus, "base", 0, "heldout_tokens")
        return 100 * (1 - self.get(corpus, "base", 0, "heldout_pretokens") / base) if base else None


def print_tables(cells: list[dict[str, Any]]) -> None:
    """Three tables: savings, tokens and seconds, general text."""
    figures = Figures(cells)
    heads = [*COLUMNS.values(), "ours / best of (a)-(c)", "(d) from scratch", "ours, share of (d)", "limit"]
    print("Held-out tokens saved, percent\n")
    _head(["corpus", "K", *heads])
    for corpus in figures.corpora:
        for swaps in figures.swaps(corpus):
            savings = {method: figures.saving(corpus, method, swaps) for method in COLUMNS}
            rivals = [saved for method in RIVALS if (saved := savings[method]) is not None]
            ours, scratch = savings["ours"], figures.saving(corpus, "scratch", 0)
            to_best = ours / max(rivals) if ours is not None and rivals else None
            share = 100 * ours / scratch if ours is not None and scratch else None
            shown = [_number(savings[method], 2) for method in COLUMNS]
            shown += [_number(to_best, 3), _number(scratch, 2), _number(share, 1), _number(figures.limit(corpus), 2)]
            print("|", " | ".join([corpus, f"{swaps:,}", *shown]), "|")
    print("\nHeld-out tokens (seconds)\n")
    _head(["corpus", "K", "base", *COLUMNS.values(), "(d) from scratch"])
    for corpus in figures.corpora:
        for swaps in figures.swaps(corpus):
            shown = [
                _tokens(figures, corpus, method, 0 if method in ("base", "scratch") else swaps)
                for method in ("base", *COLUMNS, "scratch")
            ]
            print("|", " | ".join([corpus, f"{swaps:,}", *shown]), "|")
    print("\nGeneral text held out: percent more tokens; in brackets the saving on the domain where it was protected\n")
    _head(["corpus", "K", "ours, protected", *COLUMNS.values(), "(d) from scratch"])
    for corpus in figures.corpora:
        for swaps in figures.swaps(corpus):
            general = {
                method: figures.saving(corpus, method, 0 if method == "scratch" else swaps, "general_tokens")
                for method in ("protected", *COLUMNS, "scratch")
            }
            shown = [_number(None if saving is None else -saving, 2) for saving in general.values()]
            shown[0] += f" ({_number(figures.saving(corpus, 'protected', swaps), 2)})"
            print("|", " | ".join([corpus, f"{swaps:,}", *shown]), "|")


def superwords_record(cells: list[dict[str, Any]]) -> Record:
    """The table of superwords: percent of held-out tokens saved."""
    figures = Figures(cells)
    rows: list[list[str | int | float | None]] = []
    for corpus in figures.corpora:
        for swaps in figures.swaps(corpus):
            savings = [figures.saving(corpus, method, swaps) for method in SUPERWORDS]
            rows.append([corpus, swaps, *(None if saving is None else round(saving, 2) for saving in savings)])
    return Record(command_line(), ["held-out tokens saved, %", "swaps", *SUPERWORDS.values()], rows)


def _head(titles: list[str]) -> None:
    print("|", " | ".join(titles), "|")
    print("|---|" + "---:|" * (len(titles) - 1))


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _tokens(figures: Figures, corpus: str, method: str, swaps: int) -> str:
    tokens = figures.get(corpus, method, swaps, "heldout_tokens")
    return "" if tokens is None else f"{tokens:,} ({figures.get(corpus, method, swaps, 'seconds'):.0f})"


def plot(cells: list[dict[str, Any]], path: Path) -> None:
    """Savings against K, one panel a corpus."""
    import matplotlib

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot

    figures = Figures(cells)
    _, panels = pyplot.subplots(1, len(figures.corpora), figsize=(4 * len(figures.corpora), 3.4), squeeze=False)
    for panel, corpus in zip(panels[0], figures.corpora, strict=True):
        for method, title in {**COLUMNS, "protected": "ours, general text protected"}.items():
            points = [(swaps, figures.saving(corpus, method, swaps)) for swaps in figures.swaps(corpus)]
            points = [point for point in points if point[1] is not None]
            panel.plot(*zip(*points, strict=True), marker="o", label=title) if points else None
        for level, title in (
            (figures.saving(corpus, "scratch", 0), "(d) from scratch"),
            (figures.limit(corpus), "one token a pretoken"),
        ):
            if level is not None:
                panel.axhline(level, color="grey", linestyle="--" if title[0] == "(" else ":", label=title)
        panel.set(title=corpus, xlabel="swaps", ylim=(0, None))
    panels[0][0].set_ylabel("held-out tokens saved, %")
    panels[0][-1].legend(fontsize="x-small")
    pyplot.tight_layout()
    pyplot.savefig(path)
