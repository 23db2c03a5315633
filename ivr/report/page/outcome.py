"""What became of the model, as sections: losses and their differences, what it writes, its rows, its training.

Figures of `evaluate`, `align` and `train`. A figure that a run does not have (an earlier version wrote the manifest, or
an option left it out) is not shown; nothing is computed anew.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ivr.report.figures import heldout_points, loss_points, speed_points
from ivr.report.page.parts import (
    Bar,
    Bars,
    Block,
    Cell,
    Column,
    Figure,
    Missing,
    Picture,
    Pictures,
    Section,
    Shown,
    Table,
    scaled,
)
from ivr.report.page.plots import heldout_curve, intervals, loss_curve, speed_curve
from ivr.report.summary import CONTROLS, TEXTS, Run, percent

OWN = {"base": "before", "aligned": "after alignment", "trained": "after training"}
MODEL_NAMES = {**OWN, **CONTROLS}
Metrics = Sequence[Mapping[str, Any]]


TEXT = Column("text", "text")
INTERVAL = (Column("low", "95 % from", True), Column("high", "to", True))


def model_name(model: str) -> str:
    """Of the run's own models what they are, of others (a baseline, say) the name they were given."""
    return MODEL_NAMES.get(model, model)


def text_name(text: str) -> str:
    return f"{TEXTS[text].capitalize()} text" if text in TEXTS else text


def pair_name(pair: str) -> str:
    """
    >>> pair_name("trained - base")
    'after training − before'
    """
    return " \u2212 ".join(model_name(model) for model in pair.split(" - "))


def outcome_sections(run: Run) -> list[Section]:
    """All of them, in the order of the page."""
    note = (
        "How many bits a model needs for one byte of held-out text, on average: lower is better. The documents are "
        "the same for every model."
    )
    return [
        Section("bits-per-byte", "Bits per byte", _losses(run), note),
        *_differences(run),
        *_tokens_per_byte(run),
        *_prompt_ends(run),
        *_sampling(run),
    ]


def training_section(run: Run, metrics: Metrics) -> Section:
    """Loss, held-out loss and throughput over steps, and how it was run."""
    steps, losses = loss_points(metrics)
    if not steps:
        return Section("training", "Training", [Missing("train")])
    drawn = [loss_curve(steps, losses)]
    heldout_steps, values = heldout_points(metrics)
    if len(heldout_steps) > 1:
        drawn.append(heldout_curve({"held out": (heldout_steps, values)}))
    timed, speeds = speed_points(metrics)
    if timed:
        drawn.append(speed_curve(timed, speeds))
    return Section("training", "Training", [Pictures(drawn), *_how_it_ran(run, metrics)])


def strategies_section(run: Run) -> Section:
    """The initialiser that was used or, after --compare-strategies, all of them."""
    heading = "New rows before any training"
    used = run.result("align", "strategy")
    if used is None:
        return Section("initialisers", heading, [Missing("align")])
    manifest = run.manifests["align"]
    found: Mapping[str, Mapping[str, Any]] = manifest.results.get("strategies") or {used: manifest.results}
    order = sorted(found, key=lambda name: (found[name].get("bits_per_byte", float("inf")), name))
    rows: list[list[Cell]] = []
    for name in order:
        one = found[name]
        flagged = len(one["flagged"]) if "flagged" in one else None
        norms = [Figure(one.get(key), ".3f") for key in ("new_norm_mean", "kept_norm_mean", "new_cosine_to_mean")]
        shares = [share(one.get(key)) for key in ("new_rows_mass", "new_rows_share")]
        loss = Figure(one.get("bits_per_byte"), ".4f")
        rows.append([f"{name} (used)" if name == used else name, loss, *norms, *shares, Figure(flagged)])
    columns = [
        Column("strategy", "strategy"),
        Column("bits_per_byte", "bits per byte", True),
        Column("norm", "norm of new rows", True),
        Column("norm_of_kept_rows", "norm of kept rows", True),
        Column("cosine_to_mean", "cosine to the mean of these", True),
        Column("probability", "probability of new tokens", True),
        Column("share_of_text", "their share of the text", True),
        Column("rows_above_1_percent", "rows that take above 1 %", True),
    ]
    bars = [
        Bar(name, loss, f"{loss:.4f}", "trained" if name == used else "")
        for name in order
        for loss in [found[name].get("bits_per_byte")]
        if loss is not None
    ]
    blocks: list[Block] = [Bars("Bits per byte of held-out domain text", bars)] if len(bars) > 1 else []
    note = (
        "As `ivr align` made them, on held-out domain text. New tokens together should be given about as much "
        "probability as they are of the text; a single row that takes above 1 % on average takes it from others."
    )
    return Section("initialisers", heading, [*blocks, Table("initialisers", "Initialisers", columns, rows)], note)


def share(value: float | None, digits: int = 2) -> Shown:
    """A share of 1 in percent."""
    return Shown(value, "" if value is None else percent(100 * value, digits))


def _losses(run: Run) -> list[Block]:
    found: Mapping[str, Mapping[str, float | None]] = run.result("evaluate", "bits_per_byte") or {}
    if not found:
        return [Missing("evaluate")]
    blocks: list[Block] = []
    rows: list[list[Cell]] = []
    for text, figures in found.items():
        models = [*OWN, *(model for model in figures if model not in OWN)]
        bars = []
        for model in models:
            value = figures.get(model)
            shown = "missing" if value is None else f"{value:.4f}"
            bars.append(Bar(model_name(model), value, shown, model if model in OWN else ""))
            rows.append([text, model, Figure(value, ".4f")])
        blocks.append(Bars(text_name(text), bars))
    columns = [Column("text", "text"), Column("model", "model"), Column("bits_per_byte", "bits per byte", True)]
    return [*blocks, Table("bits_per_byte", "Bits per byte", columns, rows, in_files_only=True)]


def _differences(run: Run) -> list[Section]:
    """Paired differences of models with intervals; on general text they are what was forgotten."""
    found: Mapping[str, Mapping[str, Mapping[str, Any]]] = run.result("evaluate", "differences") or {}
    drawn: list[Picture] = []
    rows: list[list[Cell]] = []
    for number, (text, pairs) in enumerate(found.items(), start=1):
        if pairs:
            label = f"{text_name(text)}: differences in bits per byte"
            points = [(pair_name(pair), one["difference"], one["low"], one["high"]) for pair, one in pairs.items()]
            drawn.append(intervals(f"differences-{number}", label, points, text_name(text)))
        for pair, one in pairs.items():
            ends = [Figure(one[end], "+z.4f") for end in ("low", "high")]
            rows.append([text_name(text), pair_name(pair), Figure(one["difference"], "+z.4f"), *ends])
            rows[-1].append(Figure(one["documents"]))
    if not rows:
        return []
    columns = [
        TEXT,
        Column("difference", "difference"),
        Column("bits_per_byte", "bits per byte", True),
        *INTERVAL,
        Column("documents", "documents", True),
    ]
    note = (
        "One model less another on the same documents; the interval is that of a paired bootstrap over documents. On "
        "general text, what is above 0 was forgotten."
    )
    table = Table("differences", "Differences in bits per byte", columns, rows)
    return [Section("differences", "Is it a difference?", [Pictures(drawn), table], note)]


def _tokens_per_byte(run: Run) -> list[Section]:
    """How many tokens a byte of each text takes, with the tokenizer of each model."""
    found: Mapping[str, Mapping[str, float]] = run.result("evaluate", "tokens_per_byte") or {}
    flops: Mapping[str, Mapping[str, float]] = run.result("evaluate", "flops_per_byte") or {}
    rows: list[list[Cell]] = []
    for text, figures in found.items():
        base = figures.get("base")
        for model, value in figures.items():
            saved = 1 - value / base if base else None
            rows.append([text_name(text), model_name(model), Figure(value, ".4f"), share(saved, 1)])
            rows[-1] += [Figure(1 / value if value else None, ".2f"), scaled(flops.get(text, {}).get(model))]
    if not rows:
        return []
    columns = [
        TEXT,
        Column("model", "with the tokenizer of the model"),
        Column("tokens_per_byte", "tokens per byte", True),
        Column("saved", "fewer than before", True),
        Column("bytes_per_token", "bytes per token", True),
        Column("flops_per_byte", "FLOPs per byte", True),
    ]
    note = (
        "Of the held-out documents that the models were measured on. Fewer tokens are less to compute and to pay for. "
        "FLOPs are those of reading, without attention: 2 for each parameter that a token is multiplied with."
    )
    return [Section("tokens", "Tokens per byte", [Table("tokens_per_byte", "Tokens per byte", columns, rows)], note)]


def _prompt_ends(run: Run) -> list[Section]:
    """What a model loses where a prompt ends inside a token."""
    found: Mapping[str, Mapping[str, Mapping[str, Any]]] = run.result("evaluate", "prompt_ends") or {}
    rows: list[list[Cell]] = []
    for text, models in found.items():
        for model, one in models.items():
            inside = one["inside"] or {}
            scores = [Figure(inside.get(key), ".4f") for key in ("as_prompt", "as_whole_text")]
            changes = [Figure(one["all"][key], "+z.4f") for key in ("difference", "low", "high")]
            counts = [Figure(one[key]) for key in ("cuts", "cuts_inside_a_token")]
            rows.append([text_name(text), model_name(model), *counts, *scores, *changes])
    if not rows:
        return []
    nowhere = not any(one["inside"] for models in found.values() for one in models.values())
    columns = [
        TEXT,
        Column("model", "model"),
        Column("prompts", "prompts", True),
        Column("inside_a_token", "end inside a token", True),
        Column("as_prompt", "bits per byte behind these", True, files_only=nowhere),
        Column("as_whole_text", "the same, encoded whole", True, files_only=nowhere),
        Column("difference", "difference over all prompts", True),
        *INTERVAL,
    ]
    note = (
        "Held-out text is cut behind a word, as a prompt is, and what follows is scored twice, in bits per byte: both "
        "parts encoded by themselves, and the whole text encoded at once. The two differ where a token of the whole "
        "text spans the cut, as a superword can; above 0, the model loses by it."
    )
    table = Table("prompt_ends", "Where prompts end", columns, rows)
    return [Section("prompt-ends", "Where a prompt ends", [table], note)]


def _sampling(run: Run) -> list[Section]:
    """What the models write by themselves: new tokens, bytes a token."""
    written: Mapping[str, Mapping[str, Any]] = run.result("evaluate", "sampling") or {}
    if not written:
        return []
    rows: list[list[Cell]] = []
    for model, one in written.items():
        shares = [share(one.get(f"new_token_share_{where}")) for where in ("sampled", "in_text")]
        different = one.get("different_new_tokens_sampled")
        used = "" if different is None else f"{different:,} of {one.get('new_tokens', 0):,}"
        rows.append([model_name(model), *shares, Shown(different, used), Figure(one["bytes_per_token"], ".2f")])
    columns = [
        Column("model", "model"),
        Column("new_token_share_sampled", "new tokens, of those written", True),
        Column("new_token_share_in_text", "of held-out text", True),
        Column("different_new_tokens", "different ones written", True),
        Column("bytes_per_token", "bytes a token", True),
    ]
    note = (
        "Drawn from each model's own distribution: new tokens should come about as often as they stand in the text. "
        "Models of one size take the same time a token, so one that writes more bytes a token writes faster by as much."
    )
    table = Table("sampling", "What the models write", columns, rows)
    return [Section("sampling", "What the models write", [table], note)]


def _how_it_ran(run: Run, metrics: Metrics) -> list[Block]:
    rows: list[list[Cell]] = []
    for key, label in (("steps", "steps"), ("tokens", "tokens"), ("bytes", "bytes of text")):
        if (value := run.result("train", key)) is not None:
            rows.append([label, Figure(value)])
    if (passes := run.result("train", "passes_over_text")) is not None:
        rows.append(["passes over the text", Figure(passes, ".2f")])
    if replayed := run.result("train", "replayed_share"):
        rows.append(["general text mixed in", share(replayed, 1)])
    if (speed := run.result("train", "tokens_per_second_median")) is not None:
        rows.append(["tokens a second, median", Figure(speed, ",.0f")])
    used = sorted(row["mfu"] for row in metrics if row.get("mfu") is not None)
    if used:
        rows.append(["model FLOPs utilisation, median", share(used[len(used) // 2], 1)])
    if (kind := run.result("train", "distributed_type")) is not None:
        stage = run.result("train", "zero_stage")
        how = f"ZeRO-{stage}" if stage else "plain PyTorch" if kind == "NO" else str(kind)
        processes, device = run.result("train", "processes"), run.result("train", "device")
        words = [f"{processes} on {device}", how, str(run.result("train", "precision") or "")]
        rows.append(["processes", ", ".join(word for word in words if word)])
    columns = [Column("what", "what"), Column("value", "value", True)]
    return [Table("training", "How the training ran", columns, rows, slim=True)] if rows else []
