"""What went wrong between this machine and a Hub, as one sentence with the next command."""

import errno
import os
from collections.abc import Iterable
from typing import Any

from ivr.errors import FULL, NO_PERMISSION, ConfigError, CorruptInputError, IvrError, MachineError, TryAgainError
from ivr.machine.failures import MENDS

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
# answers that time may change
PASSING = frozenset({408, 425, 429})
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


class Refused(Exception):
    """What huggingface_hub raised, kept apart from errors of ours."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def endpoint() -> str:
    """Where models come from."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def own_token() -> str | None:
    """The person's token, where one is set or stored and can be read."""
    from huggingface_hub import get_token

    try:
        return get_token()
    except OSError:
        return None  # huggingface_hub says it again when it needs it


def token_source() -> str:
    """Where the token that is sent comes from; empty where none is. Never the token."""
    from huggingface_hub import constants

    if not own_token():
        return ""
    return next((name for name in TOKENS if os.environ.get(name)), constants.HF_TOKEN_PATH)


def explain(error: Exception, repo_id: str, revision: str | None, refused_token: str = "") -> IvrError:
    """The sentence for whatever huggingface_hub raised. refused_token: where the token was that was not accepted."""
    from huggingface_hub import errors

    where, what = endpoint(), f"{repo_id}{f' at {revision}' if revision else ''}"
    causes = list(_causes(error))

    def is_a(*kinds: type[Exception]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if isinstance(error, errors.HFValidationError):
        return ConfigError(
            f"--model-name {repo_id}: neither a directory here nor a Hub id; give `sample`, a directory, or owner/name"
        )
    if refused_token and (is_a(errors.GatedRepoError, errors.RepositoryNotFoundError) or status_of(error) == 401):
        return ConfigError(
            f"{where} does not accept the token in {refused_token} (HTTP 401: it is wrong or has expired), and has no "
            f"{repo_id} for everyone; make a new token and set HF_TOKEN, or check --model-name"
        )
    if is_a(errors.GatedRepoError):
        return ConfigError(
            f"{repo_id} is gated: accept its terms on {where}/{repo_id}, set HF_TOKEN, and run the command again"
        )
    if is_a(errors.RevisionNotFoundError):
        return ConfigError(f"{repo_id} has no revision {revision!r}; check --revision, or leave it out for main")
    if is_a(errors.RepositoryNotFoundError):
        return ConfigError(
            f"{where} has no model {repo_id}, or it is private; check --model-name, or set HF_TOKEN to a token "
            "that may read it"
        )
    if is_a(errors.DisabledRepoError):
        return ConfigError(f"{where} has disabled {repo_id}; choose another model")
    if trouble := cache_trouble(error):
        return MachineError(f"{what}: {trouble}; then run the command again", trouble.exit_code)
    if is_a(errors.OfflineModeIsEnabled) or os.environ.get("HF_HUB_OFFLINE"):
        return ConfigError(
            f"{what} is not whole in the cache and HF_HUB_OFFLINE is set; unset it and run the command again, "
            "or give --model-name a local directory"
        )
    if "Consistency check failed" in str(error):
        return CorruptInputError(
            f"{what} came cut short from {where} ({first_line(error)}); run the command again, whole files are kept"
        )
    return _network(error, causes, where, what)


def _network(error: Exception, causes: list[BaseException], where: str, what: str) -> IvrError:
    status = status_of(error)
    if status in (401, 403):
        return ConfigError(f"{where} refuses {what} (HTTP {status}); set HF_TOKEN to a token that may read it")
    proxy = next((name for name in PROXIES if os.environ.get(name)), "")
    of_proxy = f" in {proxy}" if proxy else ""
    through = f", the proxy{of_proxy}" if proxy else ""
    said = " ".join(str(cause) for cause in causes)
    if status == 407 or "407 Proxy" in said:
        return ConfigError(
            f"the proxy{f' in {proxy}' if proxy else ''} wants a name and a password for {where} (HTTP 407)"
        )
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return ConfigError(
            f"the certificate of {where} cannot be verified; where a proxy signs for it, set SSL_CERT_FILE to its "
            "certificate, then run the command again"
        )
    reason = f"HTTP {status}" if status else first_line(causes[-1])
    if status and 400 <= status < 500 and status not in PASSING:
        return ConfigError(f"{where} refuses {what} ({reason}); check --model-name and HF_ENDPOINT{through}")
    return TryAgainError(
        f"{what} could not be fetched from {where} ({reason}); check the network{through} and HF_ENDPOINT, then run "
        "the command again (whole files are kept), or give --model-name a local directory"
    )


def cache_trouble(error: BaseException) -> MachineError | None:
    """What is wrong with the cache on this machine, and the mend; None where the fault lies elsewhere.

    A socket's errors name no file; those of a full disk often do not either.
    """
    from huggingface_hub import constants

    cache = constants.HF_HUB_CACHE
    for cause in _causes(error):
        if not isinstance(cause, OSError) or cause.errno is None:
            continue
        if cause.errno in NO_ROOM:
            return MachineError(
                f"no space left, or a quota is used up, below {cache} ({os.strerror(cause.errno)}); make room there or "
                "set HF_HOME (or HF_HUB_CACHE) to a directory that has some",
                FULL,
            )
        if cause.errno == errno.EROFS or (cause.filename is not None and not isinstance(cause, FileNotFoundError)):
            return MachineError(
                f"the cache {cache} cannot be written ({os.strerror(cause.errno)}: {cause.filename or cache}); set "
                "HF_HOME (or HF_HUB_CACHE) to a directory that can",
                MENDS.get(cause.errno, (NO_PERMISSION, ""))[0],
            )
    return None


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error."""
    for cause in _causes(error):
        response: Any = getattr(cause, "response", None)
        if response is not None:
            return int(response.status_code)
    return None


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".")


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
