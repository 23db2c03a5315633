"""The base model from a Hugging Face Hub, or from whatever HF_ENDPOINT points to.

huggingface_hub does the work and keeps whole files in its own cache, so that a second attempt fetches only what is
missing. Each way it can fail is turned into one sentence with the next command.
"""

import errno
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.base.model_directory import CONFIG_FILES, PICKLED, SAFETENSORS, SAFETENSORS_INDEX
from ivr.base.tokenizer import TOKENIZER_FILES
from ivr.console import LOG
from ivr.errors import ConfigError, CorruptInputError, IvrError, TryAgainError

SHARDS = "model-*.safetensors"
NEEDED = (*CONFIG_FILES, *TOKENIZER_FILES)


@dataclass(frozen=True)
class Fetched:
    """A model in the Hub's cache on this machine."""

    folder: Path
    commit: str


def fetch_model(repo_id: str, revision: str | None, again: bool = False) -> Fetched:
    """Download (or find in the cache) the files a GPT-2 is made of. `again`: do not trust the cached files."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    if not LOG.isEnabledFor(logging.INFO):
        disable_progress_bars()
    LOG.info("fetch %s%s from %s", repo_id, f" at {revision}" if revision else "", endpoint())
    unreachable = None
    try:
        weights, unreachable = weight_files(repo_id, revision)
        folder = snapshot_download(
            repo_id,
            revision=revision,
            allow_patterns=[*NEEDED, *weights],
            local_files_only=unreachable is not None,
            force_download=again and unreachable is None,
        )
    except Exception as error:
        raise explain(unreachable or error, repo_id, revision) from error
    if unreachable is not None:
        LOG.warning("%s does not answer (%s); the copy in the cache is used", endpoint(), _first_line(unreachable))
    path = Path(folder)
    if not any((path / name).is_file() for name in NEEDED):
        raise ConfigError(f"{repo_id} has none of the files of a GPT-2 model; check --model-name and --revision")
    return Fetched(path, path.name)


def weight_files(repo_id: str, revision: str | None) -> tuple[list[str], Exception | None]:
    """Patterns of the weights to fetch, and why the Hub did not answer: then they are of what the cache holds."""
    from huggingface_hub import HfApi, constants, errors, get_cached_repo_tree

    unreachable = None
    if not constants.is_offline_mode():
        try:
            # one request, not repeated: a refused connection shows at once
            siblings = HfApi().model_info(repo_id, revision=revision or constants.DEFAULT_REVISION).siblings or []
            return choose_weights(file.rfilename for file in siblings), None
        except (errors.HfHubHTTPError, errors.HFValidationError):
            raise
        except Exception as error:  # no connection, whatever the HTTP library of the day calls it
            unreachable = error
    try:
        return choose_weights(file.path for file in get_cached_repo_tree(repo_id, revision=revision)), unreachable
    except errors.CachedRepoTreeNotFoundError:
        # not in the cache, or put there by another program: whatever there is
        return [SAFETENSORS, SAFETENSORS_INDEX, SHARDS, PICKLED], unreachable


def choose_weights(names: Iterable[str]) -> list[str]:
    """Of a repository's files: one safetensors file, else its shards with their index, else pytorch_model.bin.

    >>> choose_weights(["model.safetensors", "pytorch_model.bin", "onnx/model.onnx"])
    ['model.safetensors']
    """
    names = set(names)
    if SAFETENSORS in names:
        return [SAFETENSORS]
    if SAFETENSORS_INDEX in names:
        return [SAFETENSORS_INDEX, SHARDS]
    return [PICKLED] if PICKLED in names else []


def endpoint() -> str:
    """Where models come from."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def explain(error: Exception, repo_id: str, revision: str | None) -> IvrError:
    """The one sentence, with the next command, for whatever huggingface_hub raised."""
    from huggingface_hub import errors

    where, what = endpoint(), f"{repo_id}{f' at {revision}' if revision else ''}"
    causes = list(_causes(error))
    if isinstance(error, errors.HFValidationError):
        return ConfigError(
            f"--model-name {repo_id}: neither a directory here nor a Hub id; give `sample`, a directory, or owner/name"
        )
    if any(isinstance(cause, errors.GatedRepoError) for cause in causes):
        return ConfigError(
            f"{repo_id} is gated: accept its terms on {where}/{repo_id}, set HF_TOKEN, and run the command again"
        )
    if any(isinstance(cause, errors.RevisionNotFoundError) for cause in causes):
        return ConfigError(f"{repo_id} has no revision {revision!r}; check --revision, or leave it out for main")
    if any(isinstance(cause, errors.RepositoryNotFoundError) for cause in causes):
        return ConfigError(
            f"{where} has no model {repo_id}, or it is private; check --model-name, or set HF_TOKEN to a token "
            "that may read it"
        )
    if any(isinstance(cause, errors.OfflineModeIsEnabled) for cause in causes) or os.environ.get("HF_HUB_OFFLINE"):
        return ConfigError(
            f"{what} is not whole in the cache and HF_HUB_OFFLINE is set; unset it and run the command again, "
            "or give --model-name a local directory"
        )
    if any(isinstance(cause, OSError) and cause.errno == errno.ENOSPC for cause in causes):
        return ConfigError(f"no space left while fetching {what}: make room below HF_HOME (or move it) and run again")
    if "Consistency check failed" in str(error):
        return CorruptInputError(
            f"{what} came cut short from {where} ({_first_line(error)}); run the command again, whole files are kept"
        )
    status = _status(causes)
    if status in (401, 403):
        return ConfigError(f"{where} refuses {what} (HTTP {status}); set HF_TOKEN to a token that may read it")
    reason = f"HTTP {status}" if status else _first_line(causes[-1])
    return TryAgainError(
        f"{what} could not be fetched from {where} ({reason}); check the network and HF_ENDPOINT, then run the command "
        "again (whole files are kept), or give --model-name a local directory"
    )


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _status(causes: Iterable[BaseException]) -> int | None:
    for cause in causes:
        response: Any = getattr(cause, "response", None)
        if response is not None:
            return int(response.status_code)
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".")
