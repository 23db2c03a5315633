"""Which models are measured: the run's own, and any others that are named; and whether they belong together."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ivr.artifacts import CONTROL_ARMS, ArtifactPaths
from ivr.console import LOG
from ivr.errors import ConfigError, StaleInputError
from ivr.manifest import Manifest

NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Subject:
    """One model to measure, with the tokenizer it reads text by. made_by: the run's stage, empty for another model."""

    name: str
    model_dir: Path
    tokenizer_dir: Path
    made_by: str = ""


def run_subjects(paths: ArtifactPaths) -> list[Subject]:
    """The run's models, the earlier of two that are compared first: differences are of a later one less it."""
    return [
        Subject("base", paths.base_model, paths.original_tokenizer, "init"),
        Subject("aligned", paths.aligned_model, paths.aligned_model, "align"),
        *(
            Subject(f"control-{arm}", paths.control(arm).final_model, paths.control(arm).final_model, "control")
            for arm in CONTROL_ARMS
        ),
        Subject("trained", paths.final_model, paths.final_model, "train"),
    ]


def choose_subjects(paths: ArtifactPaths, named: Sequence[str], leave_out: Sequence[str]) -> list[Subject]:
    """The run's models as far as they were made, but for those to leave out, then the named ones ("NAME=DIR")."""
    own = run_subjects(paths)
    unknown = [name for name in leave_out if name not in {subject.name for subject in own}]
    if unknown:
        raise ConfigError(f"--leave-out {unknown[0]}: the run's models are {', '.join(item.name for item in own)}")
    found = [item for item in own if item.name not in leave_out and _was_made(paths, item) and _fits(paths, item)]
    for name, path in named_paths("--model", named, taken=[item.name for item in own]):
        found.append(Subject(name, path, path))
    return found


def named_paths(option: str, named: Sequence[str], taken: Sequence[str]) -> list[tuple[str, Path]]:
    """("NAME=PATH", ...) as pairs. Raises ConfigError."""
    found: list[tuple[str, Path]] = []
    for text in named:
        name, equals, path = text.partition("=")
        if not equals or not path or not NAME.fullmatch(name):
            raise ConfigError(f"{option} {text}: must be NAME=PATH, the name of letters, digits, '.', '_' and '-'")
        if name in taken or name in dict(found):
            raise ConfigError(f"{option} {text}: the name {name!r} is taken")
        found.append((name, Path(path)))
    return found


def _was_made(paths: ArtifactPaths, subject: Subject) -> bool:
    if subject.made_by == "init":
        return True
    if subject.made_by == "control":  # which a run need not have, nor all arms of it
        made = Manifest.read(paths.manifest("control"))
        return made is not None and subject.name.removeprefix("control-") in made.results
    if paths.manifest(subject.made_by).exists():
        return True
    LOG.info("evaluate: the %s model is left out, `ivr %s` was not run", subject.name, subject.made_by)
    return False


def _fits(paths: ArtifactPaths, subject: Subject) -> bool:
    """Whether a model belongs to this run as it is now; of a control that does not, it is said and no more."""
    try:
        _check_sources(paths, subject)
    except StaleInputError as error:
        if subject.made_by != "control":
            raise
        LOG.warning("evaluate: the %s model is left out: %s", subject.name, error)
        return False
    return True


def _check_sources(paths: ArtifactPaths, subject: Subject) -> None:
    """Refuse a model whose sources an earlier stage has since written anew: it belongs to another run."""
    manifest = Manifest.read(paths.manifest(subject.made_by))
    used = {row.path: row.sha256 for row in manifest.inputs} if manifest else {}
    for stage in ("init", "remap", "align", "train"):
        earlier = Manifest.read(paths.manifest(stage))
        for row in earlier.outputs if earlier else []:
            before = used.get(row.path, row.sha256)
            if before != row.sha256 and not row.editable:
                raise StaleInputError(
                    f"the {subject.name} model was made from {row.path} with sha256 {before[:16]}, "
                    f"and `ivr {stage}` has since written {row.sha256[:16]}; run `ivr {subject.made_by}` again, "
                    f"or `ivr evaluate --leave-out {subject.name}`"
                )
