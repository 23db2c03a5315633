"""Building the parts of one run on one rank: model, optimizer, data, held-out measure; and saying what runs."""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ivr.artifacts import ArtifactPaths
from ivr.console import LOG
from ivr.corpus.document_end import end_of_text_id, start_of_text_id
from ivr.corpus.packing import encode_documents, open_stream
from ivr.encoding.text.tokenizer_file import load_for_text
from ivr.errors import ConfigError
from ivr.evaluation.bits_per_byte import score_documents
from ivr.evaluation.compute import attention_width, flops_per_token, num_multiplied
from ivr.evaluation.heldout import choose_documents
from ivr.evaluation.models import context_of, load_model, recompute_activations
from ivr.training.checkpoints import Card
from ivr.training.divergence import save_evidence
from ivr.training.feed import Feed, make_feed
from ivr.training.launch.processes import Team, check_prepared, prepare
from ivr.training.loop import Plan, Run
from ivr.training.metrics import JsonLines
from ivr.training.optimisation import Schedule, make_optimizer
from ivr.training.options import Config
from ivr.training.phases import RowMask, freeze_all_but_embeddings
from ivr.training.throughput import peak_flops


@dataclass(frozen=True)
class Job:
    """What rank 0 found out, for every rank. identity: of the run; keys of the tokenised corpora; ids of new rows."""

    identity: str
    card: Card
    domain_key: str
    replay_key: str | None
    new_ids: tuple[int, ...]


def build(config: Config, paths: ArtifactPaths, team: Team, model_dir: Path, job: Job) -> Run:
    """Load, check and prepare everything. Raises ConfigError where the options do not fit the model or the text."""
    tokenizer = load_for_text(model_dir)
    start_id, end_id = start_of_text_id(tokenizer, model_dir), end_of_text_id(tokenizer, model_dir)
    data = paths.training / "data"
    replay = open_stream(data / job.replay_key, tokenizer) if job.replay_key else None
    feed = make_feed(open_stream(data / job.domain_key, tokenizer), replay, config.replay_share)
    torch.manual_seed(config.seed)
    model = load_model(model_dir)
    context = context_of(model)
    plan = make_plan(config, feed, context, team.size)
    row_mask = _choose_what_learns(config, model, job.new_ids)
    num_parameters, num_trained = _count(model, trained=False), _count(model, trained=True)
    if team.is_main:
        _check_disk(paths, num_parameters, num_trained, config.keep_checkpoints)
    flops = flops_per_token(num_multiplied(model), attention_width(model.config), plan.block_size)
    if config.gradient_checkpointing:
        recompute_activations(model)
    optimizer = make_optimizer(model, plan.schedule)
    if config.torch_compile and not team.zero_stage:
        _compile(model, team)
    model, optimizer = prepare(team, model, optimizer, config.deepspeed)
    check_prepared(team, model)
    if config.torch_compile and team.zero_stage:
        _compile(model, team)
    _say_what_runs(config, team, plan, feed, num_parameters, num_trained, len(job.new_ids))
    device = team.accelerator.device

    def keep_evidence(facts: dict[str, Any], blocks_by_step: dict[int, np.ndarray]) -> Path:
        folder = paths.training / "diverged" / f"step-{facts['step']:08d}"
        return save_evidence(folder, facts, blocks_by_step, tokenizer, end_id)

    return Run(
        team=team,
        plan=plan,
        feed=feed,
        model=model,
        optimizer=optimizer,
        row_mask=row_mask,
        metrics=JsonLines(paths.training / "metrics.jsonl"),
        evaluate=_heldout_measure(config, paths, team, model, tokenizer, start_id, context),
        keep_evidence=keep_evidence,
        checkpoint_folder=paths.training / "checkpoints" / job.identity,
        keep_checkpoints=config.keep_checkpoints,
        card=job.card,
        flops=flops,
        peak=peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None,
    )


def make_plan(config: Config, feed: Feed, context: int, world_size: int) -> Plan:
    """The run's arithmetic; `--block-size 0` is the context, every budget becomes a number of steps."""
    block_size = config.block_size or context
    if block_size > context:
        raise ConfigError(f"--block-size {block_size}: the model's context is {context}")
    for what, stream in (("training", feed.domain), ("replayed", feed.replay)):
        if stream is not None and stream.num_blocks(block_size) == 0:
            raise ConfigError(
                f"the {what} text gives {len(stream):,} tokens, fewer than a block of {block_size}; "
                "use a smaller --block-size or more text"
            )
    blocks_per_step = config.batch_size * config.gradient_accumulation * world_size
    max_steps = _steps(config, feed, block_size, blocks_per_step)
    rows_steps = max_steps if config.rows_only else 0
    if config.phases == "rows-then-all":
        rows_steps = min(max(1, round(config.rows_share * max_steps)), max_steps - 1)
        if rows_steps < 1:
            raise ConfigError(f"--phases rows-then-all needs at least 2 steps, this run has {max_steps}")
    schedule = Schedule(
        max_steps=max_steps,
        warmup_steps=config.warmup_steps,
        lr=config.lr,
        weight_decay=config.weight_decay,
        rows_steps=rows_steps,
        rows_lr=config.rows_lr or config.lr,
        embeddings_lr=config.embeddings_lr,
    )
    return Plan(
        schedule=schedule,
        block_size=block_size,
        batch_size=config.batch_size,
        accumulation=config.gradient_accumulation,
        world_size=world_size,
        max_grad_norm=config.max_grad_norm,
        seed=config.seed,
        eval_every=config.eval_every,
        save_every=config.save_every,
        max_loss_rise=config.max_loss_rise,
    )


def _steps(config: Config, feed: Feed, block_size: int, blocks_per_step: int) -> int:
    if config.epochs is not None:
        domain_blocks_per_step = blocks_per_step * (1 - float(feed.ratio))
        return max(1, round(config.epochs * feed.domain.num_blocks(block_size) / domain_blocks_per_step))
    if config.max_tokens is not None:
        return math.ceil(config.max_tokens / (blocks_per_step * block_size))
    if config.max_bytes is not None:
        return max(1, round(config.max_bytes / (blocks_per_step * feed.bytes_per_block(block_size))))
    return config.max_steps


def _choose_what_learns(config: Config, model: Any, new_ids: tuple[int, ...]) -> RowMask | None:
    if not config.trains_rows:
        return None
    if not new_ids:
        raise ConfigError("the remap rules name no swap, so there are no new rows to train alone")
    rows = int(model.config.vocab_size)
    if not all(0 <= token_id < rows for token_id in new_ids):
        raise ConfigError(f"the remap rules name id {max(new_ids)}, and the model has {rows} rows")
    if config.rows_only:
        freeze_all_but_embeddings(model)
    return RowMask(model, new_ids)


def _count(model: Any, trained: bool) -> int:
    # ds_numel: under ZeRO-3 a parameter itself is empty
    chosen = (parameter for parameter in model.parameters() if parameter.requires_grad or not trained)
    return sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in chosen)


def _check_disk(paths: ArtifactPaths, num_parameters: int, num_trained: int, keep: int) -> None:
    """Checkpoints (weights and two averages, one more than are kept while one is written) and the final model."""
    needed = 4 * ((keep + 1) * (num_parameters + 2 * num_trained) + num_parameters)
    free = shutil.disk_usage(paths.training).free
    if free < needed:
        raise ConfigError(
            f"{paths.training}: {free / 1e9:.1f} GB are free, checkpoints and the model need {needed / 1e9:.1f} GB; "
            "make room, or lower --keep-checkpoints"
        )


def _compile(model: Any, team: Team) -> None:
    """In place, so that weights keep their names."""
    if team.accelerator.device.type == "cpu" and shutil.which("g++") is None:
        raise ConfigError("--torch-compile on a CPU needs a C++ compiler, and there is no g++ on the PATH")
    model.compile()


def _heldout_measure(
    config: Config, paths: ArtifactPaths, team: Team, model: Any, tokenizer: Any, start_id: int, context: int
) -> Callable[[], float | None]:
    """A function that gives held-out bits per byte now. All ranks score all documents: ZeRO-3 needs them together."""
    heldout = config.heldout_corpora_dir or paths.heldout_corpora
    if config.eval_bytes == 0 or not heldout.is_dir():
        LOG.info("train: no held-out bits per byte (%s)", "--eval-bytes 0" if not config.eval_bytes else "no text")
        return lambda: None
    texts = choose_documents(heldout, config.eval_bytes, config.eval_bytes)
    documents = list(encode_documents(tokenizer, texts))
    if not documents:
        return lambda: None

    def measure() -> float | None:
        return score_documents(model, documents, start_id, context, context // 2, team.accelerator.device).bits_per_byte

    return measure


def _say_what_runs(
    config: Config, team: Team, plan: Plan, feed: Feed, num_parameters: int, num_trained: int, num_rows: int
) -> None:
    schedule, domain = plan.schedule, feed.domain
    extras = [
        f"{num_trained:,} of them trained" if num_trained < num_parameters else "",
        "gradient checkpointing" if config.gradient_checkpointing else "",
        "torch.compile" if config.torch_compile else "",
    ]
    LOG.info(
        "train: %d process(es) on %s, %s, %s, %s parameters%s",
        team.size,
        team.accelerator.device,
        team.what_runs,
        "float32" if team.precision == "float32" else f"float32 weights, {team.precision} products",
        f"{num_parameters:,}",
        "".join(f", {extra}" for extra in extras if extra),
    )
    LOG.info(
        "train: %s documents, %s tokens, %s blocks of %d (%d tokens at the end fill no block and are left out)",
        f"{domain.num_documents:,}",
        f"{len(domain):,}",
        f"{domain.num_blocks(plan.block_size):,}",
        plan.block_size,
        domain.left_over(plan.block_size),
    )
    if feed.replay is not None:
        LOG.info("train: %s of the blocks are general text, of %s tokens", feed.ratio, f"{len(feed.replay):,}")
    LOG.info(
        "train: %d steps of %d blocks = %.2f passes over the text",
        plan.max_steps,
        plan.blocks_per_step,
        passes_over_text(plan, feed),
    )
    if schedule.rows_steps:
        rest = plan.max_steps - schedule.rows_steps
        LOG.info("train: %d steps for %s new rows, then %d for all weights", schedule.rows_steps, f"{num_rows:,}", rest)


def passes_over_text(plan: Plan, feed: Feed) -> float:
    """How often the domain's text is read."""
    blocks = plan.max_steps * plan.blocks_per_step
    return (blocks - feed.replayed(blocks)) / feed.domain.num_blocks(plan.block_size)
