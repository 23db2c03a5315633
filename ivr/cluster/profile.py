"""A profile: the facts of one site's Slurm, from a TOML file. Nothing about a run stands in it.

Every key is checked; an unknown one is refused with the list of all that there are.
"""

import difflib
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ivr.console import is_secret_name, redact
from ivr.errors import ConfigError

RUNTIMES = ("none", "apptainer", "pyxis")
GPUS_BY = ("gpus-per-node", "gres", "nothing")
# what this package sets itself, or what would break how it watches a job
NOT_YOURS = frozenset(
    {
        *("array", "chdir", "comment", "cpus-per-task", "dependency", "error", "input", "job-name", "mem", "nodes"),
        *("kill-on-invalid-dep", "no-requeue", "ntasks", "ntasks-per-node", "open-mode", "output", "requeue", "signal"),
        *("account", "gpus-per-node", "partition", "qos", "time", "wrap"),
    }
)


@dataclass(frozen=True)
class Profile:
    """See slurm/README.md for what each key means; `name` is the file's."""

    name: str = ""
    partition: str = ""
    account: str = ""
    qos: str = ""
    nodes: int = 1
    gpus_per_node: int = 0
    gpus_by: str = "gpus-per-node"  # how sbatch is asked for them; "nothing": the partition gives them unasked
    gpu_type: str = ""
    processes_per_node: int = 0  # 0: one a GPU, or one where there is none
    cpus_per_process: int = 1
    memory: str = ""  # of a node
    time: str = "1:00:00"
    warning_seconds: int = 120
    max_requeues: int = 100
    runtime: str = "none"
    image: str = ""
    python: str = ""  # empty: this interpreter, or `python` of the image
    mounts: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    sbatch: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def minutes(self) -> int:
        return minutes(self.time)

    @property
    def processes(self) -> int:
        """Training processes on one node."""
        return self.processes_per_node or max(self.gpus_per_node, 1)

    def gpu_option(self, count: int) -> tuple[str, str]:
        """The option of sbatch for so many GPUs of a node, and its value; two empty words where none is needed.

        >>> Profile(gpus_by="gres", gpu_type="a100").gpu_option(4)
        ('gres', 'gpu:a100:4')
        """
        if not count or self.gpus_by == "nothing":
            return "", ""
        what = f"{self.gpu_type}:{count}" if self.gpu_type else str(count)
        return ("gres", f"gpu:{what}") if self.gpus_by == "gres" else ("gpus-per-node", what)


NO_SECRETS = (
    "holds a secret, and a profile's text stands in scripts and logs that others may read; set it in your shell, from "
    "where it reaches the job, or in a file (`hf auth login`)"
)


def read_profile(path: Path) -> Profile:
    """Read and check a profile. Raises ConfigError naming the file, the key and what is possible."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        beside = sorted(Path("slurm/profiles").glob("*.toml"))
        known = "".join(f"\n  {each}" for each in beside)
        raise ConfigError(f"--profile {path}: no such file" + (f"; here there are{known}" if known else "")) from None
    except IsADirectoryError:
        raise ConfigError(f"--profile {path} is a directory; name the file in it") from None
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, or a number of thousands of digits
        raise ConfigError(f"--profile {path} is not TOML: {error}") from None
    try:
        return _checked(content, path.stem)
    except ConfigError as error:
        raise ConfigError(f"--profile {path}: {error}") from None


def _checked(content: dict[str, Any], name: str) -> Profile:
    legal = [item.name for item in fields(Profile) if item.name != "name"]
    for key in content:
        if key not in legal:
            near = difflib.get_close_matches(key, legal, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ConfigError(f"unknown key {key!r}{hint}; legal ones are {', '.join(legal)}")
    values = {key: _CHECKS[key](key, value) for key, value in content.items()}
    profile = Profile(name=name, **values)
    if profile.runtime == "none" and (profile.image or profile.mounts):
        raise ConfigError("image and mounts need runtime = 'apptainer' or 'pyxis'")
    if profile.runtime != "none" and not profile.image:
        raise ConfigError(f"runtime = {profile.runtime!r} needs an image")
    if profile.gpu_type and not profile.gpus_per_node:
        raise ConfigError(f"gpu_type = {profile.gpu_type!r} needs gpus_per_node")
    asked = next((item for item in profile.sbatch if re.match(r"--gres=(.*,)?gpu\b", item)), None)
    if asked and profile.gpus_per_node and profile.gpus_by != "nothing":
        raise ConfigError(f"sbatch: {asked!r} asks for GPUs once more: gpus_by = 'gres' with gpus_per_node does it")
    if profile.warning_seconds >= 60 * profile.minutes:
        raise ConfigError(f"warning_seconds = {profile.warning_seconds} is not less than the time {profile.time!r}")
    return profile


def minutes(time: str) -> int:
    """Slurm's forms of a time limit, in whole minutes: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S. Raises ConfigError."""
    days, dash, rest = time.rpartition("-")
    parts = rest.split(":")
    if not re.fullmatch(r"(\d{1,9}-)?\d{1,9}(:\d{1,9}){0,2}", time):
        raise ConfigError(f"time = {time!r}: write minutes, H:MM:SS or D-HH:MM:SS, e.g. '12:00:00'")
    numbers = [int(part) for part in parts]
    if dash:
        hours, mins, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, mins, seconds = numbers
    else:
        hours, (mins, seconds) = 0, [*numbers, 0][:2]
    total = int(days or 0) * 1440 + hours * 60 + mins + (seconds + 59) // 60
    if total < 1:
        raise ConfigError(f"time = {time!r}: at least a minute")
    return total


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or any(ord(letter) < 32 for letter in value):
        raise ConfigError(f"{key} = {value!r}: must be a string on one line")
    if redact(value) != value:
        raise ConfigError(f"{key}: {NO_SECRETS}")
    return value


def _number(least: int) -> Callable[[str, Any], int]:
    def check(key: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(f"{key} = {value!r}: must be a whole number of at least {least}")
        return value

    return check


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{key} = {value!r}: must be a list of strings")
    return tuple(_text(key, item) for item in value)


def _memory(key: str, value: Any) -> str:
    if not re.fullmatch(r"\d+[KMGT]?", _text(key, value)):
        raise ConfigError(f"{key} = {value!r}: write it as Slurm does, e.g. '64G'; '0' is all of a node")
    return str(value)


def _time(key: str, value: Any) -> str:
    minutes(_text(key, value))
    return str(value)


def _runtime(key: str, value: Any) -> str:
    if value not in RUNTIMES:
        raise ConfigError(f"{key} = {value!r}: one of {', '.join(RUNTIMES)}")
    return str(value)


def _gpus_by(key: str, value: Any) -> str:
    if value not in GPUS_BY:
        raise ConfigError(f"{key} = {value!r}: one of {', '.join(GPUS_BY)}")
    return str(value)


def _gpu_type(key: str, value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]*", _text(key, value)):
        raise ConfigError(f"{key} = {value!r}: must be a type as `sinfo -o %G` shows it, e.g. 'a100'")
    return str(value)


def _mounts(key: str, value: Any) -> tuple[str, ...]:
    for item in _texts(key, value):
        source, _, rest = item.partition(":")
        target = rest.partition(":")[0]
        if not source.startswith("/") or (rest and not target.startswith("/")) or "," in item:
            raise ConfigError(f"{key}: {item!r} is not '/on/the/node' or '/on/the/node:/in/the/image', '...:ro'")
    return tuple(value)


def _sbatch(key: str, value: Any) -> tuple[str, ...]:
    for item in _texts(key, value):
        found = re.fullmatch(r"--([a-z][a-z0-9-]*)(=.*)?", item)
        if not found:
            raise ConfigError(f"{key}: {item!r} is not '--option' or '--option=value'")
        if found[1] in NOT_YOURS:
            raise ConfigError(f"{key}: {item!r} cannot be set here; a key of the profile or `ivr submit` itself does")
    return tuple(value)


def _environment(key: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ConfigError(f"{key} = {value!r}: must be a table, [environment]")
    for name, text in value.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ConfigError(f"{key}: {name!r} is no name of a variable")
        if is_secret_name(name) and not _text(name, text).startswith("/"):
            raise ConfigError(f"{key}.{name}: {NO_SECRETS}")
        _text(f"{key}.{name}", text)
    return dict(value)


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "partition": _text,
    "account": _text,
    "qos": _text,
    "nodes": _number(1),
    "gpus_per_node": _number(0),
    "gpus_by": _gpus_by,
    "gpu_type": _gpu_type,
    "processes_per_node": _number(0),
    "cpus_per_process": _number(1),
    "memory": _memory,
    "time": _time,
    "warning_seconds": _number(1),
    "max_requeues": _number(0),
    "runtime": _runtime,
    "image": _text,
    "python": _text,
    "mounts": _mounts,
    "setup": _texts,
    "sbatch": _sbatch,
    "environment": _environment,
}
