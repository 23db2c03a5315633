"""The figures of a finished run, from its own logs."""

from typing import Any

from ivr.training.loop import Run
from ivr.training.setup import passes_over_text

LAST_STEPS = 10  # the loss of one step is noisy


def summarise(run: Run) -> dict[str, Any]:
    """Figures for the manifest."""
    rows = run.metrics.rows()
    steps = [row for row in rows if "loss" in row]
    heldout = [row["heldout_bits_per_byte"] for row in rows if "heldout_bits_per_byte" in row]
    speeds = sorted(row["tokens_per_second"] for row in steps)
    last = [row["loss"] for row in steps[-LAST_STEPS:]]
    return {
        "steps": len(steps),
        "tokens": sum(row["tokens"] for row in steps),
        "bytes": sum(row["bytes"] for row in steps),
        "passes_over_text": round(passes_over_text(run.plan, run.feed), 4),
        "replayed_share": float(run.feed.ratio),
        "rows_alone_steps": run.plan.schedule.rows_steps,
        "loss_first": steps[0]["loss"],
        "loss_last": sum(last) / len(last),
        "heldout_bits_per_byte_first": heldout[0] if heldout else None,
        "heldout_bits_per_byte_last": heldout[-1] if heldout else None,
        "tokens_per_second_median": speeds[len(speeds) // 2],
        "processes": run.team.size,
        "device": run.team.accelerator.device.type,
        "distributed_type": run.team.kind,
        "zero_stage": run.team.zero_stage,
        "precision": run.team.precision,
    }
