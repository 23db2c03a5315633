"""The training loop: one optimizer step at a time, each a function of (weights, optimizer state, step number).

Dropout is seeded per step and rank, batches follow from the step number, the learning rate too: a run that resumes
from a checkpoint repeats the straight run's arithmetic bit for bit.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ivr.console import LOG, Progress
from ivr.errors import ConfigError, TryAgainError
from ivr.training import checkpoints
from ivr.training.divergence import WINDOW, LossWatch
from ivr.training.feed import Feed
from ivr.training.launch.processes import Team
from ivr.training.launch.signals import STOP_SIGNALS, StopRequest, note
from ivr.training.metrics import JsonLines
from ivr.training.optimisation import Schedule
from ivr.training.phases import RowMask, forget_optimizer_state
from ivr.training.throughput import speed


@dataclass(frozen=True)
class Plan:
    """What decides the arithmetic of a run. Sizes count blocks of one process; a step reads blocks_per_step."""

    schedule: Schedule
    block_size: int
    batch_size: int
    accumulation: int
    world_size: int
    max_grad_norm: float
    seed: int
    eval_every: int
    save_every: int
    max_loss_rise: float

    @property
    def max_steps(self) -> int:
        return self.schedule.max_steps

    @property
    def blocks_per_step(self) -> int:
        return self.batch_size * self.accumulation * self.world_size


@dataclass
class Run:
    """The parts of one training run. `evaluate` returns held-out bits per byte; `keep_evidence(facts, blocks by
    step)` writes down what led to a divergence and returns where; flops: of one token; peak: of one device."""

    team: Team
    plan: Plan
    feed: Feed
    model: Any
    optimizer: Any
    row_mask: RowMask | None
    metrics: JsonLines
    evaluate: Callable[[], float | None]
    keep_evidence: Callable[[dict[str, Any], dict[int, np.ndarray]], Path]
    checkpoint_folder: Path
    keep_checkpoints: int
    card: checkpoints.Card
    flops: float
    peak: float | None

    def save(self, step: int) -> Path:
        """Write a checkpoint; returns its directory."""
        trained = checkpoints.Trained(self.card, self.team, self.model, self.optimizer, self.metrics.path)
        return checkpoints.save(self.checkpoint_folder, step, trained, self.keep_checkpoints)


def fit(run: Run, first_step: int, stop: StopRequest) -> None:
    """Take the steps first_step .. max_steps - 1, logging, evaluating and saving on the way.

    Raises ConfigError on a loss that is no number or diverges, TryAgainError or KeyboardInterrupt after a stop
    signal, when the checkpoint of the last whole step is in place.
    """
    plan, team = run.plan, run.team
    watch = LossWatch(_losses(run), plan.max_loss_rise)
    saved_at = first_step
    with Progress("train", total=plan.max_steps, unit="step") as bar:
        bar.update(first_step)
        if first_step == 0:
            _log_heldout(run, 0)
        for step in range(first_step, plan.max_steps):
            started = time.monotonic()
            blocks_NT = blocks_of_step(run.feed, plan, step)
            loss, grad_norm = _take_step(run, step, blocks_NT)
            done = step + 1
            # one exchange for the loss and for whether any rank was asked to stop
            total_loss, *stops = team.total([loss, *[float(stop.signal == number) for number in STOP_SIGNALS]])
            loss = total_loss / team.size
            if not (math.isfinite(loss) and math.isfinite(grad_norm)):
                _give_up(run, done, loss, grad_norm, f"the loss is {loss}", saved_at, [step])
            if team.is_main:
                _log_step(run, done, loss, grad_norm, blocks_NT, time.monotonic() - started)
                bar.update(1, note=f"loss {loss:.4f}")
            if watch.diverges(loss):
                suspects = list(range(max(0, done - WINDOW), done))
                what = f"the loss diverges: {loss:.4f}, the mean of {WINDOW} steps rose by {plan.max_loss_rise} nats"
                _give_up(run, done, loss, grad_norm, what, saved_at, suspects)
            last = done == plan.max_steps
            if last or done % plan.eval_every == 0:
                _log_heldout(run, done)
            stopped = next((number for number, asked in zip(STOP_SIGNALS, stops, strict=True) if asked), 0)
            if last or stopped or done % plan.save_every == 0:
                run.save(done)
                saved_at = done
            if stopped and not last:
                _stop(stopped, done)


def _losses(run: Run) -> list[float]:
    """Of the steps that a resumed run has behind it; the same on every rank."""
    rows = run.metrics.rows() if run.team.is_main else []
    return list(run.team.share([row["loss"] for row in rows if "loss" in row]))


def _stop(number: int, step: int) -> None:
    name = signal.Signals(number).name
    LOG.info("train: %s; saved step %d", name, step)
    note(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise TryAgainError(f"stopped by {name} after step {step}, which is saved; the same command goes on from there")


def _give_up(run: Run, done: int, loss: float, grad_norm: float, what: str, saved_at: int, suspects: list[int]) -> None:
    """Every rank stops; rank 0 keeps what was read."""
    last_good = f"step {saved_at}, in {run.checkpoint_folder}" if saved_at else "none"
    kept = "training/diverged"
    if run.team.is_main:
        facts = {
            "step": done,
            "loss": repr(loss),  # JSON has no NaN
            "gradient_norm": repr(grad_norm),
            "lr": run.plan.schedule.rate(done - 1),
            "last_good_checkpoint": last_good,
            "first_position": suspects[0] * run.plan.blocks_per_step,
        }
        blocks = {step + 1: blocks_of_step(run.feed, run.plan, step) for step in suspects}
        kept = str(run.keep_evidence(facts, blocks))
    run.team.wait()
    raise ConfigError(
        f"{what} at step {done} (learning rate {run.plan.schedule.rate(done - 1):.3g}, gradient norm {grad_norm:.3g}); "
        f"the last good checkpoint is {last_good}; what was read is in {kept}. "
        "Try a smaller --lr or a longer --warmup-steps"
    )


def blocks_of_step(feed: Feed, plan: Plan, step: int) -> np.ndarray:
    """All ranks' blocks of one step, (blocks_per_step, block_size + 1)."""
    count = plan.blocks_per_step
    return feed.blocks(step * count, count, plan.block_size, plan.seed)


def batches_of_rank(blocks_NT: np.ndarray, plan: Plan, rank: int) -> Iterator[torch.Tensor]:
    """The micro-batches (batch_size, block_size + 1) of one rank."""
    for micro in range(plan.accumulation):
        start = (micro * plan.world_size + rank) * plan.batch_size
        yield torch.from_numpy(blocks_NT[start : start + plan.batch_size])


def _take_step(run: Run, step: int, blocks_NT: np.ndarray) -> tuple[float, float]:
    """(mean loss in nats a token on this rank, norm of the gradient over all ranks)."""
    plan, team, accelerator = run.plan, run.team, run.team.accelerator
    run.model.train()
    if run.row_mask is not None:
        run.row_mask.active = plan.schedule.rows_alone(step)
        if step == plan.schedule.rows_steps:
            forget_optimizer_state(run.optimizer)
    plan.schedule.apply(run.optimizer.param_groups, step)
    torch.manual_seed(_seed_of(plan.seed, step, team.rank))
    total = torch.zeros((), device=accelerator.device)
    grad_norm: Any = None
    for batch_BT in batches_of_rank(blocks_NT, plan, team.rank):
        batch_BT = batch_BT.to(accelerator.device, non_blocking=True)
        with accelerator.accumulate(run.model):
            logits_BTV = run.model(input_ids=batch_BT[:, :-1], use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1).float(), batch_BT[:, 1:].flatten())
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                # under DeepSpeed the engine has clipped and stepped inside backward; this asks it for the norm
                grad_norm = accelerator.clip_grad_norm_(run.model.parameters(), plan.max_grad_norm)
            run.optimizer.step()
            run.optimizer.zero_grad()
        total += loss.detach()
    return total.item() / plan.accumulation, float(grad_norm) if grad_norm is not None else 0.0


def _seed_of(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def _log_step(run: Run, done: int, loss: float, grad_norm: float, blocks: np.ndarray, seconds: float) -> None:
    tokens = int(blocks[:, 1:].size)
    num_bytes = int(run.feed.bytes_per_token_V[blocks[:, 1:]].sum())
    run.metrics.append(
        {
            "step": done,
            "loss": loss,
            "lr": run.plan.schedule.rate(done - 1),
            "gradient_norm": grad_norm,
            "tokens": tokens,
            "bytes": num_bytes,
            "position": done * run.plan.blocks_per_step,
            **speed(tokens, num_bytes, seconds, run.flops, run.team.size, run.peak),
        }
    )


def _log_heldout(run: Run, step: int) -> None:
    bits_per_byte = run.evaluate()
    if run.team.is_main and bits_per_byte is not None:
        run.metrics.append({"step": step, "heldout_bits_per_byte": bits_per_byte})
        LOG.info("train: step %d, held-out bits per byte %.4f", step, bits_per_byte)
