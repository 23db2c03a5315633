"""Building the parts of one run on one rank: model, optimizer, data, held-out measure; and saying what runs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ivr.artifacts import ArtifactPaths
from ivr.console import LOG
from ivr.errors import ConfigError
from ivr.training.bits_per_byte import score_documents
from ivr.training.heldout import choose_documents
from ivr.training.loop import Plan, Run
from ivr.training.metrics import JsonLines
from ivr.training.models import load_model
from ivr.training.optimisation import make_optimizer
from ivr.training.packing import TokenStream, encode_documents, end_of_text_id, load_tokenizer, open_stream
from ivr.training.processes import Team

if TYPE_CHECKING:
    from ivr.training.train import Config


def build(config: "Config", paths: ArtifactPaths, team: Team, model_dir: Path, stream_key: str, identity: str) -> Run:
    """Load, check and prepare everything. Raises ConfigError where the options do not fit the model or the text."""
    tokenizer = load_tokenizer(model_dir)
    stream = open_stream(paths.training / "data" / stream_key, tokenizer)
    torch.manual_seed(config.seed)
    model = load_model(model_dir)
    context = int(model.config.n_positions)
    plan = make_plan(config, stream, context, team.size)
    num_parameters = sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in model.parameters())
    optimizer = make_optimizer(model, config.lr, config.weight_decay)
    model, optimizer = team.accelerator.prepare(model, optimizer)
    _say_what_runs(team, plan, stream, num_parameters)
    return Run(
        team=team,
        plan=plan,
        stream=stream,
        model=model,
        optimizer=optimizer,
        metrics=JsonLines(paths.training / "metrics.jsonl"),
        timing=JsonLines(paths.training / "timing.jsonl"),
        evaluate=_heldout_measure(config, paths, team, model, tokenizer, model_dir, context),
        checkpoint_folder=paths.training / "checkpoints" / identity,
        keep_checkpoints=config.keep_checkpoints,
    )


def make_plan(config: "Config", stream: TokenStream, context: int, world_size: int) -> Plan:
    """The run's arithmetic; `--block-size 0` is the context, `--epochs` becomes a number of steps."""
    block_size = config.block_size or context
    if block_size > context:
        raise ConfigError(f"--block-size {block_size}: the model's context is {context}")
    blocks = stream.num_blocks(block_size)
    if blocks == 0:
        raise ConfigError(
            f"the training text gives {len(stream.tokens):,} tokens, fewer than a block of {block_size}; "
            "use a smaller --block-size or more text"
        )
    blocks_per_step = config.batch_size * config.gradient_accumulation * world_size
    max_steps = config.max_steps
    if config.epochs is not None:
        max_steps = max(1, round(config.epochs * blocks / blocks_per_step))
    return Plan(
        max_steps=max_steps,
        block_size=block_size,
        batch_size=config.batch_size,
        accumulation=config.gradient_accumulation,
        world_size=world_size,
        lr=config.lr,
        warmup_steps=config.warmup_steps,
        max_grad_norm=config.max_grad_norm,
        seed=config.seed,
        eval_every=config.eval_every,
        save_every=config.save_every,
    )


def _heldout_measure(
    config: "Config", paths: ArtifactPaths, team: Team, model: Any, tokenizer: Any, model_dir: Path, context: int
) -> Callable[[], float | None]:
    """A function that gives held-out bits per byte now. All ranks score all documents: ZeRO-3 needs them together."""
    if config.eval_bytes == 0 or not paths.heldout_corpora.is_dir():
        LOG.info("train: no held-out bits per byte (%s)", "--eval-bytes 0" if not config.eval_bytes else "no text")
        return lambda: None
    texts = choose_documents(paths.heldout_corpora, config.eval_bytes, config.eval_bytes)
    documents = list(encode_documents(tokenizer, texts))
    end_id = end_of_text_id(tokenizer, model_dir)
    if not documents:
        return lambda: None

    def measure() -> float | None:
        return score_documents(model, documents, end_id, context, context // 2, team.accelerator.device).bits_per_byte

    return measure


def _say_what_runs(team: Team, plan: Plan, stream: TokenStream, num_parameters: int) -> None:
    accelerator = team.accelerator
    LOG.info(
        "train: %d process(es) on %s, %s%s, %s, %s parameters",
        team.size,
        accelerator.device,
        team.kind,
        f" ZeRO-{team.zero_stage}" if team.zero_stage else "",
        "float32"
        if accelerator.mixed_precision == "no"
        else f"float32 weights, {accelerator.mixed_precision} products",
        f"{num_parameters:,}",
    )
    LOG.info(
        "train: %s documents, %s tokens, %s blocks of %d (%d tokens at the end fill no block and are left out)",
        f"{stream.num_documents:,}",
        f"{len(stream.tokens):,}",
        f"{stream.num_blocks(plan.block_size):,}",
        plan.block_size,
        stream.left_over(plan.block_size),
    )
    LOG.info(
        "train: %d steps of %d blocks = %.2f passes over the text",
        plan.max_steps,
        plan.blocks_per_step,
        plan.max_steps * plan.blocks_per_step / stream.num_blocks(plan.block_size),
    )
