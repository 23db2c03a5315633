"""Stage `control`: the base model, trained as the aligned one was, with as much text or as much computation.

Each arm is a training of its own (`ivr.training.train`) below control/, with everything that one has: checkpoints,
held-out figures, going on after an interruption. What is here decides how long, and keeps the record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.artifacts import CONTROL_ARMS, ArtifactPaths
from ivr.base.model_files import CARD
from ivr.console import LOG
from ivr.corpus.documents import cleaned_input
from ivr.errors import ConfigError, StaleInputError
from ivr.options.declared import WORKERS, StageConfig, option
from ivr.stage import Input, Manifest, open_stage

if TYPE_CHECKING:
    from ivr.training.options import Config as TrainConfig

DESCRIPTION = """\
Train the base model, its vocabulary unchanged, as `ivr train` trained the aligned one: the same text, batches, rate and
seed, for as many bytes of text (control/bytes) and for as many FLOPs (control/flops), those of the new rows included.
All weights are trained throughout, and no superword is cut.
`ivr evaluate` then measures both. What these models gain, training gives without new tokens."""
EPILOG = """\
examples:
  ivr control
  ivr control --lr 1e-4
  make pipeline CONTROL=yes
"""
FIGURES = ("steps", "tokens", "bytes", "passes_over_text", "heldout_bits_per_byte_first", "heldout_bits_per_byte_last")


@dataclass(frozen=True)
class Config(StageConfig):
    """Options of `ivr control`."""

    lr: float | None = option(
        None, "peak learning rate (default: that of `ivr train`)", group="training", bounds="(0, 100]"
    )
    processes: int | None = option(
        None,
        "processes to start on this machine; a step reads the same blocks (default: as many as `ivr train` had)",
        group="machine",
        bounds=WORKERS,
    )


def run(config: Config) -> Manifest:
    """Train the arms and record them."""
    from ivr.training import train
    from ivr.training.launch.place import take_place

    paths = ArtifactPaths(config.artifacts_dir)
    if take_place() > 1:
        raise ConfigError("`ivr control` starts its processes itself: run it as one, with --processes")
    made = _trained(paths)
    with open_stage("control", config, _inputs(config, paths, made)) as stage:
        if stage.current:
            return stage.manifest
        stage.replaces(*(output for arm in CONTROL_ARMS for output in _outputs(paths, arm)))
        stage.results["spent"] = spent = _spent(paths, made)
        for arm in CONTROL_ARMS:
            arm_config = _arm(config, paths, made, arm, spent)
            LOG.info("control: the base model, with as many %s as the trained one", "FLOPs" if arm == "flops" else arm)
            found = train.run(replace(arm_config, force=config.force)).results
            stage.results[arm] = {name: found.get(name) for name in FIGURES}
            stage.results[arm]["flops"] = found["tokens"] * spent["per_token"]
        _say(stage.results)
        cards = [paths.control(arm).final_model / CARD for arm in CONTROL_ARMS]
        return stage.finish([output for arm in CONTROL_ARMS for output in _outputs(paths, arm)], editable=cards)


def _trained(paths: ArtifactPaths) -> Manifest:
    """The record of the training that is compared with. Raises StaleInputError, ConfigError."""
    made = Manifest.read(paths.manifest("train"))
    if made is None:
        raise StaleInputError("`ivr control` is compared with a trained model; run `ivr train` first")
    if made.config.get("model_name"):
        raise ConfigError(
            f"`ivr train` began with --model-name {made.config['model_name']}; a control begins with the base model of "
            "this run, and is compared with a training of its aligned one"
        )
    if made.config.get("rows_only"):
        raise ConfigError("`ivr train` trained new rows alone (--rows-only), of which the base model has none")
    return made


def _inputs(config: Config, paths: ArtifactPaths, made: Manifest) -> list[Input]:
    """What decides the arms' results; the trained model stands for the options it was trained with."""
    arm = _arm(config, paths, made, CONTROL_ARMS[0], {"total": 1.0, "per_token": 1.0})
    inputs = [
        Input(paths.base_model, made_by="init", without=(CARD,)),
        Input(paths.final_model, made_by="train", without=(CARD,)),
    ]
    if (heldout := arm.heldout_corpora_dir) is not None:
        inputs.append(cleaned_input(heldout, made_by="init" if heldout == paths.heldout_corpora else ""))
    own = arm.cleaned_corpora_dir == paths.cleaned_corpora
    inputs.append(cleaned_input(arm.cleaned_corpora_dir or paths.cleaned_corpora, made_by="init" if own else ""))
    if arm.replay_share and arm.replay_corpus is not None:
        replayed = "init" if arm.replay_corpus == paths.general_cleaned else ""
        inputs.append(cleaned_input(arm.replay_corpus, replayed))
    return inputs + ([Input(arm.deepspeed)] if arm.deepspeed else [])


def _arm(config: Config, paths: ArtifactPaths, made: Manifest, arm: str, spent: Mapping[str, float]) -> "TrainConfig":
    from ivr.training.control.arms import accumulation, control_config

    had = int(made.results.get("processes") or 1)
    processes = config.processes or had
    tokens = max(1, round(spent["total"] / spent["per_token"]))
    budget = {"max_tokens": tokens} if arm == "flops" else {"max_bytes": int(made.results["bytes"])}
    found = control_config(paths, arm, made.config, budget, processes)
    at_once = accumulation(had * int(made.config.get("gradient_accumulation") or 1), processes)
    return replace(found, gradient_accumulation=at_once, lr=config.lr or found.lr)


def _spent(paths: ArtifactPaths, made: Manifest) -> dict[str, float]:
    """FLOPs of the trained model: a token's, all of training, of `ivr align` before it, and their sum."""
    from ivr.evaluation.compute import attention_width, flops_per_token, num_multiplied
    from ivr.evaluation.models import context_of, load_model
    from ivr.training.control.arms import initialising_flops

    model = load_model(paths.base_model)
    matrices = num_multiplied(model)
    block_size = int(made.config.get("block_size") or context_of(model))
    per_token = float(flops_per_token(matrices, attention_width(model.config), block_size))
    align = Manifest.read(paths.manifest("align"))
    begun = initialising_flops((align.results.get("distilled_from") or {}) if align else {}, matrices)
    # while rows alone are trained no other weight has a gradient: 4 N in place of 6
    alone = (made.results.get("rows_alone_steps") or 0) / made.results["steps"]
    trained = int(made.results["tokens"]) * (per_token - alone * 2.0 * matrices)
    return {"per_token": per_token, "training": trained, "initialising": begun, "total": trained + begun}


def _outputs(paths: ArtifactPaths, arm: str) -> list[Path]:
    below = paths.control(arm)
    return [below.final_model, below.training / "metrics.jsonl", below.manifest("train")]


def _say(results: dict[str, Any]) -> None:
    for arm in CONTROL_ARMS:
        found = results[arm]
        LOG.info(
            "control: with as many %s: %s bytes, %s tokens, %.3g FLOPs (the trained model: %.3g)",
            "FLOPs" if arm == "flops" else arm,
            f"{found['bytes']:,}",
            f"{found['tokens']:,}",
            found["flops"],
            results["spent"]["total"],
        )
