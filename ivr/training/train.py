"""Stage `train`: fine-tune the aligned model on the cleaned corpora. Wiring only; the work is in the modules beside.

`ivr train` is one process; `accelerate launch --num_processes N -m ivr train ...` (or torchrun) is N. Every rank runs
this module; rank 0 alone opens the stage, and tells the others what to do.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.artifacts import ArtifactPaths, sha256_file, sha256_json
from ivr.console import LOG
from ivr.errors import ConfigError, IvrError, StaleInputError
from ivr.stage import Input, Manifest, Stage, open_stage

if TYPE_CHECKING:
    from ivr.training.loop import Run
    from ivr.training.processes import Team

DESCRIPTION = """\
Fine-tune the aligned model on the cleaned corpora: packed blocks, AdamW, warm-up and cosine, held-out bits per byte.
An interrupted run goes on from its newest whole checkpoint when the same command is given again."""
EPILOG = """\
examples:
  ivr train --max-steps 500 --lr 1e-4
  accelerate launch --num_processes 2 -m ivr train --deepspeed slurm/deepspeed/zero2.json
"""


def _not_identity(default: Any) -> Any:
    return field(default=default, metadata={"identity": False})


@dataclass(frozen=True)
class Config:
    artifacts_dir: Path = Path("artifacts")
    force: bool = False
    model_name: Path | None = None
    cleaned_corpora_dir: Path | None = None
    max_steps: int = 300
    epochs: float | None = None
    block_size: int = 0
    batch_size: int = 4
    gradient_accumulation: int = 1
    lr: float = 5e-4
    warmup_steps: int = 20
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    seed: int = 0
    threads: int = 2
    deepspeed: Path | None = None
    eval_every: int = 100
    eval_bytes: int = 50_000
    save_every: int = _not_identity(100)
    keep_checkpoints: int = _not_identity(2)
    resume: bool = _not_identity(True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stage's options."""
    inputs = parser.add_argument_group("inputs")
    inputs.add_argument(
        "--model-name",
        type=Path,
        default=Config.model_name,
        metavar="DIR",
        help="local model directory with its tokenizer (default: ARTIFACTS_DIR/models/aligned)",
    )
    inputs.add_argument(
        "--cleaned-corpora-dir",
        type=Path,
        default=Config.cleaned_corpora_dir,
        metavar="DIR",
        help="text to train on (default: ARTIFACTS_DIR/corpora/cleaned)",
    )
    length = parser.add_argument_group("how long")
    either = length.add_mutually_exclusive_group()
    _number(either, "--max-steps", int, "optimizer steps")
    either.add_argument(
        "--epochs",
        type=float,
        default=Config.epochs,
        metavar="X",
        help="instead of --max-steps: passes over the text, in whole steps (default: none)",
    )
    _number(length, "--block-size", int, "tokens a block; 0: the model's context")
    _number(length, "--batch-size", int, "blocks a process reads at once")
    _number(length, "--gradient-accumulation", int, "such batches a step")
    work = parser.add_argument_group("optimizer")
    _number(work, "--lr", float, "peak learning rate")
    _number(work, "--warmup-steps", int, "steps of linear warm-up; a cosine to a tenth of the peak follows")
    _number(work, "--weight-decay", float, "of matrices; biases and LayerNorm are not decayed")
    _number(work, "--max-grad-norm", float, "clip gradients to this norm")
    _number(work, "--seed", int, "of the order of blocks and of dropout")
    machine = parser.add_argument_group("machine")
    _number(machine, "--threads", int, "CPU threads of a process; another number rounds differently")
    machine.add_argument(
        "--deepspeed",
        type=Path,
        default=Config.deepspeed,
        metavar="FILE",
        help="DeepSpeed configuration, e.g. slurm/deepspeed/zero2.json (default: none, plain PyTorch)",
    )
    watch = parser.add_argument_group("held-out text and checkpoints")
    _number(watch, "--eval-every", int, "steps between two measurements of held-out bits per byte")
    _number(watch, "--eval-bytes", int, "held-out bytes measured; 0: never measure")
    _number(watch, "--save-every", int, "steps between two checkpoints")
    _number(watch, "--keep-checkpoints", int, "newest checkpoints kept")
    watch.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=Config.resume,
        help="go on from the newest whole checkpoint of the same options and inputs (default: --resume)",
    )


def _number(group: Any, name: str, kind: type, what: str) -> None:
    default = getattr(Config, name.removeprefix("--").replace("-", "_"))
    group.add_argument(
        name, type=kind, default=default, metavar="N" if kind is int else "X", help=f"{what} (default: %(default)s)"
    )


def run(config: Config) -> Manifest:
    """Train; returns the manifest, on every rank."""
    check_options(config)
    from ivr.training.processes import leave_process_group, world_size

    try:
        if world_size() == 1:
            return _lead(config, None)  # starts accelerate only if there is work
        team = _assemble(config)
        manifest = _lead(config, team) if team.is_main else _follow(config, team)
        team.wait()
        return manifest
    finally:
        leave_process_group()


def check_options(config: Config) -> None:
    """Raises ConfigError for a value that cannot work."""
    least = {
        "max_steps": 1,
        "batch_size": 1,
        "gradient_accumulation": 1,
        "threads": 1,
        "eval_every": 1,
        "save_every": 1,
        "keep_checkpoints": 1,
        "block_size": 0,
        "warmup_steps": 0,
        "weight_decay": 0,
        "eval_bytes": 0,
        "seed": 0,
    }
    for name, smallest in least.items():
        if not getattr(config, name) >= smallest:
            raise ConfigError(f"--{name.replace('_', '-')} {getattr(config, name)}: must be at least {smallest}")
    for name in ("lr", "max_grad_norm", "epochs"):
        value = getattr(config, name)
        if value is not None and not 0 < value < float("inf"):
            raise ConfigError(f"--{name.replace('_', '-')} {value}: must be a number above 0")


@dataclass(frozen=True)
class _Job:
    """What rank 0 tells the others: the key of the run, or why there is none."""

    identity: str = ""
    stream_key: str = ""
    error: IvrError | None = None


def _lead(config: Config, team: "Team | None") -> Manifest:
    """Rank 0: open the stage, see whether there is work, do it with the others, write the manifest."""
    paths = ArtifactPaths(config.artifacts_dir)
    model_dir, corpus_dir = _directories(config, paths)
    inputs = [
        Input(model_dir, made_by="" if config.model_name else "align"),
        Input(corpus_dir, made_by="" if config.cleaned_corpora_dir else "init"),
        Input(paths.heldout_corpora, made_by="init", optional=True),
    ]
    inputs += [Input(config.deepspeed)] if config.deepspeed else []
    told = False
    try:
        with open_stage("train", config, inputs) as stage:
            if stage.current:
                return stage.manifest
            team = team or _assemble(config)
            key = _tokenise(stage, config, paths, model_dir, corpus_dir)
            job = _Job(identity=sha256_json([stage.identity, stage.inputs])[:16], stream_key=key)
            told = True
            team.share(job)
            _train(config, paths, team, job, stage)
            return stage.finish([paths.final_model, paths.training / "metrics.jsonl"])
    except IvrError as error:
        if team is not None and not told:
            told = True
            team.share(_Job(error=error))
        raise
    finally:
        if team is not None and not told:
            team.share(_Job())  # current, or an exception that no follower can know of


def _follow(config: Config, team: "Team") -> Manifest:
    """Ranks above 0: do what rank 0 says."""
    LOG.setLevel("WARNING")
    paths = ArtifactPaths(config.artifacts_dir)
    job = team.share()
    if job.error is not None:
        raise job.error
    if job.identity:
        _train(config, paths, team, job, None)
    manifest = Manifest.read(paths.manifest("train"))
    return manifest or Manifest("train", "", {}, "", [], [])


def _assemble(config: Config) -> "Team":
    from ivr.training.processes import assemble

    return assemble(
        config.deepspeed, config.batch_size, config.gradient_accumulation, config.max_grad_norm, config.threads
    )


def _directories(config: Config, paths: ArtifactPaths) -> tuple[Path, Path]:
    return config.model_name or paths.aligned_model, config.cleaned_corpora_dir or paths.cleaned_corpora


def _tokenise(stage: Stage, config: Config, paths: ArtifactPaths, model_dir: Path, corpus_dir: Path) -> str:
    """Make sure the corpus lies tokenised in training/data/<key>; returns the key."""
    import shutil

    from ivr.corpus.documents import corpus_files, read_documents
    from ivr.training import packing

    corpus = [[file.name, sha256_file(file)] for file in corpus_files(corpus_dir)]
    if not corpus:
        raise StaleInputError(f"{corpus_dir} holds no .txt file to train on; run `ivr init` first")
    key = packing.stream_key(sha256_file(model_dir / "tokenizer.json"), corpus)
    folder = paths.training / "data"
    if not packing.is_whole(folder / key):
        tokenizer = packing.load_tokenizer(model_dir)
        end_id = packing.end_of_text_id(tokenizer, model_dir)
        packing.tokenise(folder / key, tokenizer, end_id, read_documents(corpus_dir))
    for other in folder.iterdir():
        if other.name != key:
            shutil.rmtree(other)  # of an earlier tokenizer or corpus
    return key


def _train(config: Config, paths: ArtifactPaths, team: "Team", job: _Job, stage: Stage | None) -> None:
    """Every rank: build, resume, fit; rank 0 (the one with a stage) writes the final model and the results."""
    from ivr.training import checkpoints
    from ivr.training.final import write_final
    from ivr.training.loop import fit
    from ivr.training.results import card_rows, summarise
    from ivr.training.setup import build

    model_dir, _ = _directories(config, paths)
    running = build(config, paths, team, model_dir, job.stream_key, job.identity)
    found = _find_checkpoint(config, running, team)
    if found is not None:
        checkpoints.check_fits(found, team)
        checkpoints.load(found, team, running.model, running.optimizer)
    if team.is_main:
        running.metrics.restart(found.path / checkpoints.METRICS if found else None)
        if found is None:
            running.timing.restart()
        else:
            LOG.info("train: going on after step %d, from %s", found.step, found.path)
    fit(running, found.step if found else 0)
    state = team.accelerator.get_state_dict(running.model)  # a collective under ZeRO-3
    if stage is not None:
        state = {name: tensor.detach().cpu() for name, tensor in state.items()}
        stage.results |= summarise(running)
        write_final(paths.final_model, model_dir, state, card_rows(stage.results))
    team.wait()


def _find_checkpoint(config: Config, running: "Run", team: "Team") -> Any:
    """The checkpoint to go on from, agreed on by all ranks; none with --no-resume or --force."""
    import shutil

    from ivr.training import checkpoints

    found = None
    if team.is_main:
        if config.force or not config.resume:
            shutil.rmtree(running.checkpoint_folder, ignore_errors=True)
        found = checkpoints.newest_whole(running.checkpoint_folder)
    return team.share(found)
