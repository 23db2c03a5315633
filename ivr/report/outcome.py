"""What became of the model, as parts of the page: losses and their differences, what it writes, its rows, its training.

Figures of `evaluate`, `align` and `train`. A figure that a run does not have (an earlier version wrote the manifest, or
an option left it out) is not shown; nothing is computed anew.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ivr.report.figures import heldout_points, loss_points, speed_points
from ivr.report.markup import bars, escape, missing, pictures, section, table
from ivr.report.plots import heldout_curve, intervals, loss_curve, speed_curve
from ivr.report.summary import TEXTS, Run, percent

MODEL_NAMES = {"base": "before", "aligned": "after alignment", "trained": "after training"}
Metrics = Sequence[Mapping[str, Any]]


def model_name(model: str) -> str:
    """Of the run's own models what they are, of others the name they were given."""
    return MODEL_NAMES.get(model, model)


def _bar_class(model: str) -> str:
    return model if model in MODEL_NAMES else ""


def text_name(text: str) -> str:
    return f"{TEXTS[text].capitalize()} text" if text in TEXTS else text


def bits_per_byte(run: Run) -> str:
    """Every model on every text, as bars."""
    found: Mapping[str, Mapping[str, float]] = run.result("evaluate", "bits_per_byte") or {}
    if not found:
        return missing("evaluate")
    groups = []
    for text, figures in found.items():
        models = [*MODEL_NAMES, *(model for model in figures if model not in MODEL_NAMES)]
        rows = [
            (model_name(model), value, "missing" if value is None else f"{value:.4f}", _bar_class(model))
            for model in models
            for value in [figures.get(model)]
        ]
        groups.append(f"<h3>{escape(text_name(text))}</h3>\n{bars(rows)}")
    return "\n".join(groups)


def differences(run: Run) -> list[str]:
    """Paired differences of models with intervals; on general text they are what was forgotten."""
    found: Mapping[str, Mapping[str, Mapping[str, Any]]] = run.result("evaluate", "differences") or {}
    drawn, rows = [], []
    for text, pairs in found.items():
        named = [(_pair_name(pair), one) for pair, one in pairs.items()]
        if named:
            label = f"{text_name(text)}: differences in bits per byte"
            points = [(name, one["difference"], one["low"], one["high"]) for name, one in named]
            drawn.append(f"<figcaption>{escape(text_name(text))}</figcaption>{intervals(label, points)}")
        for name, one in named:
            ends = "" if None in (one["low"], one["high"]) else f"{one['low']:+.4f} to {one['high']:+.4f}"
            rows.append([escape(text_name(text)), escape(name), f"{one['difference']:+.4f}", ends])
            rows[-1].append(f"{one['documents']:,}")
    if not rows:
        return []
    heads = ["text", "difference", "bits per byte", "95 % interval", "documents"]
    note = (
        "One model less another on the same documents; the interval is that of a paired bootstrap over documents. On "
        "general text, what is above 0 was forgotten."
    )
    return [
        section("Is it a difference?", pictures(drawn) + table(heads, rows, [False, False, True, True, True]), note)
    ]


def _pair_name(pair: str) -> str:
    return " \u2212 ".join(model_name(model) for model in pair.split(" - "))


def sampling(run: Run) -> list[str]:
    """What the models write by themselves: new tokens, bytes a token."""
    written: Mapping[str, Mapping[str, Any]] = run.result("evaluate", "sampling") or {}
    if not written:
        return []
    rows = []
    for model, one in written.items():
        new = [one.get(f"new_token_share_{where}") for where in ("sampled", "in_text")]
        shares = ["" if share is None else percent(100 * share, 2) for share in new]
        different = one.get("different_new_tokens_sampled")
        used = "" if different is None else f"{different:,} of {one.get('new_tokens', 0):,}"
        rows.append([escape(model_name(model)), *shares, used, f"{one['bytes_per_token']:.2f}"])
    heads = ["model", "new tokens, of those written", "of held-out text", "different ones written", "bytes a token"]
    drawn = [
        (model_name(model), one["bytes_per_token"], f"{one['bytes_per_token']:.2f}", _bar_class(model))
        for model, one in written.items()
    ]
    shown = table(heads, rows, [False, *[True] * 4]) + f"<h3>Bytes a token</h3>\n{bars(drawn)}"
    note = (
        "Drawn from each model's own distribution: new tokens should come about as often as they stand in the text. "
        "Models of one size take the same time a token, so one that writes more bytes a token writes faster by as much."
    )
    return [section("What the models write", shown, note)]


def new_rows(run: Run) -> str:
    """The initialiser that was used or, after --compare-strategies, all of them."""
    used = run.result("align", "strategy")
    if used is None:
        return missing("align")
    manifest = run.manifests["align"]
    found: Mapping[str, Mapping[str, Any]] = manifest.results.get("strategies") or {used: manifest.results}
    order = sorted(found, key=lambda name: (found[name].get("bits_per_byte", float("inf")), name))
    rows = []
    for name in order:
        one = found[name]
        shares = [one.get(key) for key in ("new_rows_mass", "new_rows_share")]
        shown = ["" if share is None else percent(100 * share, 2) for share in shares]
        sizes = [one.get(key) for key in ("new_norm_mean", "kept_norm_mean", "new_cosine_to_mean")]
        norms = ["" if value is None else f"{value:.3f}" for value in sizes]
        flagged = f"{len(one['flagged']):,}" if "flagged" in one else ""
        rows.append([f"{escape(name)}{' (used)' if name == used else ''}", *norms, *shown, flagged])
    heads = ["strategy", "norm", "norm of kept rows", "cosine to their mean", "probability taken", "share of the text"]
    text = table([*heads, "rows above 1 %"], rows, [False, *[True] * 6])
    losses = [(name, found[name].get("bits_per_byte")) for name in order]
    drawn = [
        (name, loss, f"{loss:.4f}", "trained" if name == used else "") for name, loss in losses if loss is not None
    ]
    return (f"<h3>Bits per byte of held-out domain text</h3>\n{bars(drawn)}" if drawn else "") + text


def training(run: Run, metrics: Metrics) -> str:
    """Loss, held-out loss and throughput over steps, and how it was run."""
    steps, losses = loss_points(metrics)
    if not steps:
        return missing("train")
    drawn = [loss_curve(steps, losses)]
    heldout_steps, values = heldout_points(metrics)
    if len(heldout_steps) > 1:
        drawn.append(heldout_curve({"held out": (heldout_steps, values)}))
    timed, speeds = speed_points(metrics)
    if timed:
        drawn.append(speed_curve(timed, speeds))
    return pictures(drawn) + _how_it_ran(run, metrics)


def _how_it_ran(run: Run, metrics: Metrics) -> str:
    rows = []
    for key, label in (("steps", "steps"), ("tokens", "tokens"), ("bytes", "bytes of text")):
        if (value := run.result("train", key)) is not None:
            rows.append([label, f"{value:,}"])
    if (passes := run.result("train", "passes_over_text")) is not None:
        rows.append(["passes over the text", f"{passes:.2f}"])
    if share := run.result("train", "replayed_share"):
        rows.append(["general text mixed in", percent(100 * share, 1)])
    if (speed := run.result("train", "tokens_per_second_median")) is not None:
        rows.append(["tokens a second, median", f"{speed:,.0f}"])
    used = sorted(row["mfu"] for row in metrics if row.get("mfu") is not None)
    if used:
        rows.append(["model FLOPs utilisation, median", percent(100 * used[len(used) // 2], 1)])
    if (kind := run.result("train", "distributed_type")) is not None:
        stage = run.result("train", "zero_stage")
        how = f"ZeRO-{stage}" if stage else "plain PyTorch" if kind == "NO" else kind
        processes, device = run.result("train", "processes"), run.result("train", "device")
        words = [f"{processes} on {device}", how, str(run.result("train", "precision") or "")]
        rows.append(["processes", escape(", ".join(word for word in words if word))])
    return table(["", ""], rows, [False, True], "slim") if rows else ""
