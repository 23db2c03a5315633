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
from ivr.training.metrics import JsonLines
from ivr.training.optimisation import learning_rate
from ivr.training.packing import TokenStream, block_order
from ivr.training.processes import Team
from ivr.training.signals import StopRequest


@dataclass(frozen=True)
class Plan:
    """What decides the arithmetic of a run. Sizes count blocks of one process; a step reads blocks_per_step."""

    max_steps: int
    block_size: int
    batch_size: int
    accumulation: int
    world_size: int
    lr: float
    warmup_steps: int
    max_grad_norm: float
    seed: int
    eval_every: int
    save_every: int

    @property
    def blocks_per_step(self) -> int:
        return self.batch_size * self.accumulation * self.world_size


@dataclass
class Run:
    """The parts of one training run; `evaluate` returns held-out bits per byte."""

    team: Team
    plan: Plan
    stream: TokenStream
    model: Any
    optimizer: Any
    metrics: JsonLines
    timing: JsonLines
    evaluate: Callable[[], float | None]
    checkpoint_folder: Path
    keep_checkpoints: int

    def save(self, step: int) -> Path:
        return checkpoints.save(
            self.checkpoint_folder,
            step,
            self.team,
            self.model,
            self.optimizer,
            self.metrics.path,
            self.keep_checkpoints,
        )


def fit(run: Run, first_step: int) -> None:
    """Take the steps first_step .. max_steps - 1, logging, evaluating and saving on the way.

    Raises ConfigError on a loss that is no number, TryAgainError or KeyboardInterrupt after a stop signal, when the
    checkpoint of the last whole step is in place.
    """
    plan, team = run.plan, run.team
    with StopRequest() as stop, Progress("train", total=plan.max_steps, unit="step") as bar:
        bar.update(first_step)
        if first_step == 0:
            _log_heldout(run, 0)
        saved_at = first_step
        for step in range(first_step, plan.max_steps):
            started = time.monotonic()
            lr = learning_rate(step, plan.max_steps, plan.warmup_steps, plan.lr)
            blocks_NT = blocks_of_step(run.stream, plan, step)
            loss, grad_norm = _take_step(run, step, lr, blocks_NT)
            done = step + 1
            # one exchange for the loss and for whether any rank was asked to stop
            total_loss, *stops = team.total([loss, *[float(stop.signal == number) for number in _STOPS]])
            loss = total_loss / team.size
            if not math.isfinite(loss):
                raise ConfigError(
                    f"the loss is {loss} at step {done} (learning rate {lr:.3g}, gradient norm {grad_norm:.3g}); "
                    f"the last saved step is {saved_at or 'none'}. Try a smaller --lr or a longer --warmup-steps"
                )
            if team.is_main:
                _log_step(run, done, loss, lr, grad_norm, blocks_NT, time.monotonic() - started)
                bar.update(1, note=f"loss {loss:.4f}")
            last = done == plan.max_steps
            if last or done % plan.eval_every == 0:
                _log_heldout(run, done)
            stopped = next((number for number, asked in zip(_STOPS, stops, strict=True) if asked), 0)
            if last or stopped or done % plan.save_every == 0:
                run.save(done)
                saved_at = done
            if stopped and not last:
                _stop(stopped, done)


_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


def _stop(number: int, step: int) -> None:
    name = signal.Signals(number).name
    LOG.info("train: %s; saved step %d", name, step)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise TryAgainError(f"stopped by {name} after step {step}, which is saved; the same command goes on from there")


def blocks_of_step(stream: TokenStream, plan: Plan, step: int) -> np.ndarray:
    """All ranks' blocks of one step, (blocks_per_step, block_size + 1)."""
    count = plan.blocks_per_step
    indices = block_order(stream.num_blocks(plan.block_size), step * count, count, plan.seed)
    return stream.blocks(indices, plan.block_size)


def batches_of_rank(blocks_NT: np.ndarray, plan: Plan, rank: int) -> Iterator[torch.Tensor]:
    """The micro-batches (batch_size, block_size + 1) of one rank."""
    for micro in range(plan.accumulation):
        start = (micro * plan.world_size + rank) * plan.batch_size
        yield torch.from_numpy(blocks_NT[start : start + plan.batch_size])


def _take_step(run: Run, step: int, lr: float, blocks_NT: np.ndarray) -> tuple[float, float]:
    """(mean loss in nats a token on this rank, norm of the gradient over all ranks)."""
    plan, team, accelerator = run.plan, run.team, run.team.accelerator
    run.model.train()
    for group in run.optimizer.param_groups:
        group["lr"] = lr
    torch.manual_seed(_seed_of(plan.seed, step, team.rank))
    total = torch.zeros((), device=accelerator.device)
    grad_norm: Any = 0.0
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
    return total.item() / plan.accumulation, float(grad_norm if grad_norm is not None else math.nan)


def _seed_of(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def _log_step(
    run: Run, done: int, loss: float, lr: float, grad_norm: float, blocks: np.ndarray, seconds: float
) -> None:
    tokens = int(blocks[:, 1:].size)
    num_bytes = int(run.stream.bytes_per_token_V[blocks[:, 1:]].sum())
    run.metrics.append(
        {"step": done, "loss": loss, "lr": lr, "gradient_norm": grad_norm, "tokens": tokens, "bytes": num_bytes}
    )
    run.timing.append(
        {
            "step": done,
            "seconds": round(seconds, 4),
            "tokens_per_second": round(tokens / seconds, 1),
            "bytes_per_second": round(num_bytes / seconds, 1),
        }
    )


def _log_heldout(run: Run, step: int) -> None:
    bits_per_byte = run.evaluate()
    if run.team.is_main and bits_per_byte is not None:
        run.metrics.append({"step": step, "heldout_bits_per_byte": bits_per_byte})
        LOG.info("train: step %d, held-out bits per byte %.4f", step, bits_per_byte)
