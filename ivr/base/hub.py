"""The base model from a Hugging Face Hub, or from whatever HF_ENDPOINT points to.

huggingface_hub does the work and keeps whole files in its own cache, so that a second attempt fetches only what is
missing. Only the files that are taken are fetched. Each way it can fail is one sentence (ivr/base/hub_errors.py).
"""

import glob
import logging
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ivr.base.hub_errors import (
    Refused,
    cache_trouble,
    endpoint,
    explain,
    first_line,
    own_token,
    status_of,
    token_source,
)
from ivr.base.model_files import CARD, CHAT_TEMPLATE, NEEDED, PICKLED, SAFETENSORS, check_names, choose_files
from ivr.base.weights.stored_tensors import shard_names
from ivr.console import LOG
from ivr.errors import ConfigError, IvrError

# what is asked of a cache that another program filled and that does not say what the repository holds
UNLISTED = (
    *(*NEEDED, CHAT_TEMPLATE, CARD, "additional_chat_templates/*.jinja", "LICENSE*"),
    *(SAFETENSORS, f"{SAFETENSORS}.index.json", "model-*.safetensors", PICKLED, f"{PICKLED}.index.json"),
    "pytorch_model-*.bin",
)
TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Fetched:
    """A model in the Hub's cache on this machine."""

    folder: Path
    commit: str


@dataclass(frozen=True)
class _Request:
    """One attempt. token: as huggingface_hub takes it, None for the person's own and False for none."""

    repo_id: str
    revision: str | None
    again: bool = False
    token: bool | None = None
    cached_only: bool = False


def fetch_model(repo_id: str, revision: str | None, again: bool = False) -> Fetched:
    """Download (or find in the cache) the files a model is made of. `again`: do not trust the cached files.

    A token that the Hub does not accept, which would make public models unreadable, is left out at a second attempt. A
    cache that cannot be written may hold the model all the same.
    """
    from huggingface_hub.utils import disable_progress_bars

    if not LOG.isEnabledFor(logging.INFO):
        disable_progress_bars()
    LOG.info("fetch %s%s from %s", repo_id, f" at {revision}" if revision else "", endpoint())
    _check_token()
    request = _Request(repo_id, revision, again)
    try:
        return _attempt(request)
    except Refused as refused:
        source = token_source()
        if source and status_of(refused.cause) == 401:
            LOG.warning("%s does not accept the token in %s; asking without it", endpoint(), source)
            try:
                return _attempt(_Request(repo_id, revision, again, token=False))
            except Refused as without:
                raise explain(without.cause, repo_id, revision, refused_token=source) from without
        trouble = cache_trouble(refused.cause)
        if trouble is not None:
            try:
                found = _attempt(_Request(repo_id, revision, cached_only=True))
            except (Refused, IvrError):
                raise explain(refused.cause, repo_id, revision) from refused
            LOG.warning("%s; the model in it is used as it is, at %s", trouble, found.commit)
            return found
        raise explain(refused.cause, repo_id, revision) from refused


def _attempt(request: _Request) -> Fetched:
    """Raises Refused around whatever huggingface_hub raises."""
    from huggingface_hub import snapshot_download

    unreachable = None
    try:
        patterns, unreachable = _patterns(request)
        cached_only = request.cached_only or unreachable is not None
        folder = snapshot_download(
            request.repo_id,
            revision=request.revision,
            allow_patterns=patterns,
            local_files_only=cached_only,
            force_download=request.again and not cached_only,
            token=request.token,
        )
    except IvrError:
        raise
    except Exception as error:
        raise Refused(unreachable or error) from error
    if unreachable is not None:
        LOG.warning("%s does not answer (%s); the copy in the cache is used", endpoint(), first_line(unreachable))
    path = Path(folder)
    if not any((path / name).is_file() for name in NEEDED):
        raise ConfigError(f"{request.repo_id} has none of the files of a model; check --model-name and --revision")
    return Fetched(path, path.name)


def _patterns(request: _Request) -> tuple[list[str], Exception | None]:
    """Patterns of the files to fetch, and why the Hub did not answer: then they are of what the cache holds."""
    from huggingface_hub import HfApi, constants, errors, get_cached_repo_tree

    unreachable = None
    if not constants.is_offline_mode() and not request.cached_only:
        try:
            # one request, not repeated: a refused connection shows at once
            revision = request.revision or constants.DEFAULT_REVISION
            siblings = HfApi(token=request.token).model_info(request.repo_id, revision=revision).siblings or []
            return files_to_fetch([file.rfilename for file in siblings], request), None
        except (errors.HfHubHTTPError, errors.HFValidationError, IvrError):
            raise
        except Exception as error:  # no connection, whatever the HTTP library of the day calls it
            unreachable = error
    try:
        tree = get_cached_repo_tree(request.repo_id, revision=request.revision)
        return files_to_fetch([file.path for file in tree], request, cached_only=True), unreachable
    except errors.CachedRepoTreeNotFoundError:
        return list(UNLISTED), unreachable


def files_to_fetch(names: Collection[str], request: _Request, cached_only: bool = False) -> list[str]:
    """Of a repository's files those that are taken, as patterns; the shards are those that the index names.

    Raises ConfigError where they hold a model in a form that cannot be taken.
    """
    from huggingface_hub import hf_hub_download

    choice = check_names(names, request.repo_id)
    wanted = choose_files(names)
    if choice is not None:
        wanted.append(choice.name)
        if choice.is_index:
            index = hf_hub_download(
                request.repo_id,
                choice.name,
                revision=request.revision,
                local_files_only=cached_only,
                force_download=request.again and not cached_only,
                token=request.token,
            )
            wanted += sorted(set(shard_names(Path(index), f"{request.repo_id}/{choice.name}").values()))
    return [glob.escape(name) for name in wanted]


def _check_token() -> None:
    """A token that no header can carry would look like a network that does not answer. Raises ConfigError."""
    token = own_token()
    if token and not TOKEN.fullmatch(token):
        raise ConfigError(f"the token in {token_source()} has characters that no token has; set it again, or unset it")
