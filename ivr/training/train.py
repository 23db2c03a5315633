"""Stage `train`: fine-tune the aligned model on the cleaned corpora. Wiring only; the work is in the modules beside.

`ivr train` is one process; `ivr train --processes N`, `accelerate launch --num_processes N -m ivr train ...`, torchrun
or a batch system make it N. Every rank runs this module; rank 0 alone opens the stage, and tells the others what to do.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.artifacts import ArtifactPaths
from ivr.base.model_directory import check_loads
from ivr.base.model_files import CARD
from ivr.console import LOG
from ivr.corpus.documents import cleaned_input
from ivr.disk.digest import sha256_json
from ivr.errors import ConfigError, IvrError
from ivr.stage import Input, Manifest, Stage, is_identity, open_stage
from ivr.training.options import Config as Config  # the stage's interface
from ivr.versions import stage_version

if TYPE_CHECKING:
    from ivr.tokenizer.remap.dropout import SuperwordDropout
    from ivr.training.checkpoints import Card, Checkpoint
    from ivr.training.launch.processes import Team
    from ivr.training.launch.signals import StopRequest
    from ivr.training.setup import Job

DESCRIPTION = """\
Fine-tune the aligned model on the cleaned corpora: packed blocks, AdamW, warm-up and cosine, held-out bits per byte.
An interrupted run goes on from its newest whole checkpoint when the same command is given again."""
EPILOG = """\
examples:
  ivr train --max-steps 500 --lr 1e-4
  ivr train --phases rows-then-all --replay-corpus artifacts/corpora/general/cleaned
  ivr train --processes 2 --deepspeed slurm/deepspeed/zero2.json
"""


def run(config: Config) -> Manifest:
    """Train; returns the manifest, on every rank."""
    from ivr.training.launch import ending
    from ivr.training.launch.deepspeed_file import asked_precision, read_deepspeed_file
    from ivr.training.launch.place import take_place
    from ivr.training.launch.processes import leave_process_group
    from ivr.training.launch.signals import StopRequest

    if config.deepspeed is not None:
        asked_precision(config.deepspeed, read_deepspeed_file(config.deepspeed), config.precision)
    ending.arm()
    started = take_place()
    if started == 1 and config.processes > 1:
        from ivr.training.launch.launcher import launch

        launch(config)
        return _manifest(config)
    if config.processes not in (1, started):
        raise ConfigError(f"--processes {config.processes}: the launcher has started {started}")
    try:
        with StopRequest() as stop:
            if started == 1:
                return _lead(config, None, stop)  # starts accelerate only if there is work
            team = _assemble(config)
            manifest = _lead(config, team, stop) if team.is_main else _follow(config, team, stop)
            team.wait()
            return manifest
    finally:
        leave_process_group()


@dataclass(frozen=True)
class _Order:
    """What rank 0 tells the others: the job, or why there is none."""

    job: "Job | None" = None
    error: BaseException | None = None


def _lead(config: Config, team: "Team | None", stop: "StopRequest") -> Manifest:
    """Rank 0: open the stage, see whether there is work, do it with the others, write the manifest."""
    paths = ArtifactPaths(config.artifacts_dir)
    told = False
    try:
        if config.model_name is not None and config.model_name.is_dir():
            check_loads(config.model_name)  # any directory: aligned/ is ours
        with open_stage("train", config, _inputs(config, paths)) as stage:
            if stage.current:
                return stage.manifest
            stage.replaces(paths.final_model, paths.training / "metrics.jsonl")
            team = team or _assemble(config)
            job = _prepare(config, paths, team, stage, stop)
            told = True
            team.share(_Order(job))
            _train(config, paths, team, job, stop, stage)
            outputs = [paths.final_model, paths.training / "metrics.jsonl"]
            manifest = stage.finish(outputs, editable=[paths.final_model / CARD])
            from ivr.training import checkpoints

            checkpoints.finish(paths.training / "checkpoints")
            return manifest
    except (IvrError, KeyboardInterrupt) as error:
        if team is not None and not told:
            told = True
            team.share(_Order(error=error))
        raise
    finally:
        if team is not None and not told:
            team.share(_Order())  # current, or an exception that no follower can know of


def _follow(config: Config, team: "Team", stop: "StopRequest") -> Manifest:
    """Ranks above 0: do what rank 0 says."""
    LOG.setLevel("WARNING")
    paths = ArtifactPaths(config.artifacts_dir)
    order = team.share()
    if order.error is not None:
        raise order.error
    if order.job is not None:
        _train(config, paths, team, order.job, stop, None)
    return _manifest(config)


def _manifest(config: Config) -> Manifest:
    manifest = Manifest.read(ArtifactPaths(config.artifacts_dir).manifest("train"))
    return manifest or Manifest("train", "", {}, "", [], [])


def _assemble(config: Config) -> "Team":
    from ivr.training.launch.processes import assemble

    return assemble(config)


def _directories(config: Config, paths: ArtifactPaths) -> tuple[Path, Path, Path | None]:
    """Model, training text, replayed text."""
    replay = (config.replay_corpus or paths.general_cleaned) if config.replay_share else None
    return config.model_name or paths.aligned_model, config.cleaned_corpora_dir or paths.cleaned_corpora, replay


def _inputs(config: Config, paths: ArtifactPaths) -> list[Input]:
    model_dir, corpus_dir, replay_dir = _directories(config, paths)
    inputs = [
        Input(model_dir, made_by="" if config.model_name else "align"),
        cleaned_input(corpus_dir, made_by="" if config.cleaned_corpora_dir else "init"),
    ]
    if config.heldout_corpora_dir:
        inputs.append(cleaned_input(config.heldout_corpora_dir, made_by=""))
    else:
        inputs.append(Input(paths.heldout_corpora, made_by="init", optional=True))
    if replay_dir is not None:
        inputs.append(cleaned_input(replay_dir, made_by="" if config.replay_corpus else "init"))
    if config.reads_rules:
        rules = config.remap_rules_path or paths.remap_rules
        inputs.append(Input(rules, made_by="" if config.remap_rules_path else "remap"))
    if config.superword_dropout:
        inputs.append(Input(paths.original_tokenizer / "tokenizer.json", made_by="init"))
    return inputs + ([Input(config.deepspeed)] if config.deepspeed else [])


def _prepare(config: Config, paths: ArtifactPaths, team: "Team", stage: Stage, stop: "StopRequest") -> "Job":
    """Rank 0: everything that needs no model. Refuses to go on from another run's checkpoints."""
    from ivr.training import checkpoints
    from ivr.training.feed import tokenise_corpora
    from ivr.training.setup import Job

    model_dir, corpus_dir, replay_dir = _directories(config, paths)
    card = _card(config, paths, stage)
    identity = sha256_json(card)[:16]
    card |= {"processes": team.size, "kind of run": team.what_runs, "precision": team.precision}
    card["device"] = team.accelerator.device.type
    begin = config.resume and not config.force
    checkpoints.begin(paths.training / "checkpoints", identity, card, resume=begin)
    corpora = [folder for folder in (corpus_dir, replay_dir) if folder]
    dropout = _dropout(config, paths, model_dir)
    keys = tokenise_corpora(paths.training / "data", model_dir, corpora, dropout, stop.check)
    new_ids: tuple[int, ...] = ()
    if config.trains_rows:
        from ivr.tokenizer.remap.rules import read_rules

        new_ids = tuple(sorted(swap.id for swap in read_rules(config.remap_rules_path or paths.remap_rules).swaps))
    stop.check()
    return Job(identity, card, keys[0], keys[1] if replay_dir else None, new_ids)


def _card(config: Config, paths: ArtifactPaths, stage: Stage) -> "Card":
    """Everything on this machine that decides the run's arithmetic, each under the name a person knows it by."""
    model_dir, corpus_dir, replay_dir = _directories(config, paths)
    hashes = {str((paths.root / row.path).absolute()): row.sha256 for row in stage.inputs}

    def digest(path: Path) -> str:
        below = sorted((name, value) for name, value in hashes.items() if Path(name).is_relative_to(path.absolute()))
        return sha256_json([value for _, value in below])[:16]

    card: Card = {
        "model": digest(model_dir),
        "tokenizer": digest(model_dir / "tokenizer.json"),
        "training text": digest(corpus_dir),
        "held-out text": digest(config.heldout_corpora_dir or paths.heldout_corpora),
    }
    if replay_dir is not None:
        card["replayed text"] = digest(replay_dir)
    if config.deepspeed is not None:
        card["DeepSpeed configuration"] = digest(config.deepspeed)
    if config.reads_rules:
        card["remap rules"] = digest(config.remap_rules_path or paths.remap_rules)
    # what lies at a path stands above; processes and precision are added as they really are
    left_out = {"force", "processes", "precision", "device"}
    for item in fields(config):
        if "Path" not in str(item.type) and item.name not in left_out and is_identity(config, item):
            card[f"--{item.name.replace('_', '-')}"] = getattr(config, item.name)
    if stage_version("train") > 1:  # the first version's cards do not name it
        card["version of `ivr train`"] = stage_version("train")
    return card


def _dropout(config: Config, paths: ArtifactPaths, model_dir: Path) -> "SuperwordDropout | None":
    if not config.superword_dropout:
        return None
    from ivr.tokenizer.remap.dropout import read_dropout

    rules = config.remap_rules_path or paths.remap_rules
    return read_dropout(rules, model_dir, paths.original_tokenizer, config.superword_dropout, config.seed)


def _train(
    config: Config, paths: ArtifactPaths, team: "Team", job: "Job", stop: "StopRequest", stage: Stage | None
) -> None:
    """Every rank: build, resume, fit; rank 0 (the one with a stage) writes the final model and the results."""
    from ivr.card.facts import card_facts
    from ivr.training import checkpoints
    from ivr.training.final import write_final
    from ivr.training.loop import fit
    from ivr.training.results import summarise
    from ivr.training.setup import build

    model_dir, _, _ = _directories(config, paths)
    found = _find_checkpoint(config, paths.training / "checkpoints" / job.identity, team)
    if found is not None:
        checkpoints.check_fits(found.path, found.card, job.card)
    running = build(config, paths, team, model_dir, job)
    if found is not None:
        checkpoints.load(found, team, running.model, running.optimizer)
    if team.is_main:
        running.metrics.restart(found.path / checkpoints.METRICS if found else None)
        if found is not None:
            LOG.info("train: going on after step %d, from %s", found.step, found.path)
    fit(running, found.step if found else 0, stop)
    state = team.accelerator.get_state_dict(running.model)  # a collective under ZeRO-3
    if stage is not None:
        state = {name: tensor.detach().cpu() for name, tensor in state.items()}
        stage.results |= summarise(running)
        own = config.model_name is None and config.cleaned_corpora_dir is None
        facts = card_facts(paths, stage.results, own)
        stage.results["tokenizer_class"] = write_final(paths.final_model, model_dir, state, facts)
    team.wait()


def _find_checkpoint(config: Config, folder: Path, team: "Team") -> "Checkpoint | None":
    """The checkpoint to go on from, agreed on by all ranks; none with --no-resume or --force."""
    from ivr.training import checkpoints

    found: Any = None
    if team.is_main:
        if config.force or not config.resume:
            checkpoints.remove_all(folder)
        found = checkpoints.newest_whole(folder)
    shared: Checkpoint | None = team.share(found)
    return shared
