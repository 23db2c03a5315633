"""What training gives without new tokens, as a section: the figures of `ivr control` beside the trained model's."""

from collections.abc import Mapping
from typing import Any

from ivr.report.page.outcome import model_name
from ivr.report.page.parts import Cell, Column, Figure, Section, Table, scaled
from ivr.report.summary import CONTROLS, TEXTS, Run


def control_section(run: Run) -> list[Section]:
    """What was spent on each trained model and what it came to, so that a reader can price it otherwise."""
    spent: Mapping[str, Any] = run.result("control", "spent") or {}
    # a control of an earlier training is not measured: `evaluate` leaves it out, and says so
    if not spent or not any(run.bits_per_byte(text, model) is not None for text in TEXTS for model in CONTROLS):
        return []
    rows: list[list[Cell]] = []
    for model in ("trained", *CONTROLS):
        arm = model.removeprefix("control-")
        found = run.result("control", arm) if model in CONTROLS else {"flops": spent["total"]}
        if found is None:
            continue
        counts = [found.get(key, run.result("train", key)) for key in ("bytes", "tokens")]
        losses = [Figure(run.bits_per_byte(text, model), ".4f") for text in TEXTS]
        rows.append([model_name(model), *map(Figure, counts), scaled(found["flops"]), *losses])
    columns = [
        Column("model", "model"),
        Column("bytes", "bytes of text read", True),
        Column("tokens", "tokens", True),
        Column("flops", "FLOPs", True),
        *(Column(f"{text}_bits_per_byte", f"bits per byte, {text}", True) for text in TEXTS),
    ]
    note = (
        "The base model, trained as this one was with its vocabulary unchanged: on as many bytes, and with as many "
        f"FLOPs. Of the FLOPs of this model {100 * spent['initialising'] / spent['total']:.1f} % made its new rows."
    )
    return [Section("control", "Without new tokens", [Table("control", "Without new tokens", columns, rows)], note)]
