"""The checks of `ivr doctor`. Each looks at one thing, changes nothing, and says what mends it."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ivr.artifacts import ArtifactPaths

GOOD, NOTE, BROKEN = "ok", "note", "broken"
PYTHONS = ((3, 11), (3, 14))
LEAST_DISK = 5 * 2**30  # for a sample run with its model, its rows and two checkpoints
LEAST_MEMORY = 2 * 2**30  # a sample run takes 1.2 GiB
PATIENCE_SECONDS = 5.0  # for another program, or the Hub
GIB = 2**30


@dataclass(frozen=True)
class Check:
    """One line. state: ok; note: some stage may fail or be slow; broken: none can run. mend: empty where all is ok."""

    name: str
    state: str
    found: str
    mend: str = ""


def all_checks(paths: ArtifactPaths) -> list[Check]:
    """Every check, in the order in which they are read."""
    looks: list[Callable[[], Check]] = [
        python,
        packages,
        lambda: shell_variables(os.environ.get("IVR_LEFT_OUT", ""), os.environ),
        memory,
        lambda: disk("disk", paths.root),
        lambda: disk("temporary files", Path(tempfile.gettempdir()), least=2**30),
        lambda: locks(paths),
        compiled_code,
        torch,
        driver,
        deepspeed,
        hub,
        slurm,
        containers,
    ]
    return [look() for look in looks]


def python() -> Check:
    """The interpreter's version."""
    here = f"{platform.python_version()}, {sys.prefix}"
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return Check("Python", GOOD, here)
    return Check("Python", BROKEN, here, "take Python 3.11 to 3.14: `make setup PYTHON=/path/to/python3.13`")


def packages() -> Check:
    """Whether all that this program declares is installed, in a version that it takes."""
    from packaging.requirements import Requirement

    missing = []
    try:
        declared = importlib.metadata.requires("gpt2-ivr") or []
    except importlib.metadata.PackageNotFoundError:
        return Check("packages", NOTE, "gpt2-ivr runs from its folder, uninstalled", "`make setup` installs it")
    for requirement in map(Requirement, declared):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            missing.append(f"{requirement.name} is {version}, not {requirement.specifier}")
    if missing:
        return Check("packages", BROKEN, "; ".join(missing), "`make setup` installs the locked ones")
    return Check("packages", GOOD, f"{len(declared)} of {len(declared)} as declared")


def shell_variables(left_out: str, environment: Mapping[str, str]) -> Check:
    """Variables that bring other code into a Python.

    >>> shell_variables("PYTHONPATH", {}).state
    'note'
    """
    from ivr.machine.interpreter import FOREIGN, FOREIGN_QUIET

    names = [*left_out.split(), *(name for name in (*FOREIGN, *FOREIGN_QUIET) if name in environment)]
    if not names:
        return Check("shell", GOOD, "no PYTHONPATH and the like")
    shown = ", ".join(dict.fromkeys(names))
    return Check(
        "shell", NOTE, f"{shown} set; `ivr` and make leave them out", f"for other programs of .venv: `unset {shown}`"
    )


def memory() -> Check:
    """Cores and memory that this process may use."""
    cores = len(os.sched_getaffinity(0))
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if (found := re.search(r"MemAvailable:\s+(\d+)", _text(Path("/proc/meminfo")))) is not None:
        free = int(found[1]) * 1024
    limit = _text(Path("/sys/fs/cgroup/memory.max")).strip()
    if limit.isdigit():
        total, free = min(total, int(limit)), min(free, int(limit))
    shown = f"{cores} cores; {free / GIB:.1f} of {total / GIB:.1f} GiB free"
    if free < LEAST_MEMORY:
        return Check("memory", NOTE, shown, "the sample takes 1.2 GiB, GPT-2 about 4; end other programs")
    return Check("memory", GOOD, shown)


def disk(name: str, folder: Path, least: int = LEAST_DISK) -> Check:
    """Space, and whether a file can be made; `folder` may not be there yet."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    shown = f"{free / GIB:.1f} GiB free at {place}"
    if not os.access(place, os.W_OK | os.X_OK):
        return Check(name, BROKEN, f"{place} cannot be written to", "name another folder: --artifacts-dir, or TMPDIR")
    if free < least:
        mend = f"less than {least / GIB:.0f} GiB; remove old runs (`make clean CONFIRM=yes ARTIFACTS=...`)"
        return Check(name, NOTE, shown, mend)
    return Check(name, GOOD, shown)


def locks(paths: ArtifactPaths) -> Check:
    """Whether files can be locked where the run lies, and whether another process holds its lock."""
    import fcntl

    if not paths.root.is_dir():
        return Check("locks", GOOD, f"{paths.root} is not there yet; a stage makes it")
    try:
        with tempfile.TemporaryFile(dir=paths.root) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return Check(
            "locks", NOTE, f"{paths.root} has no flock ({error.strerror}); records beside it are used",
            "do not start two stages of one run in the same moment",
        )  # fmt: skip
    if paths.lock.exists():
        with paths.lock.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return Check("locks", NOTE, f"a process works in {paths.root}", "wait for it, or end it")
    return Check("locks", GOOD, f"flock works in {paths.root}; nobody holds it")


def compiled_code() -> Check:
    """Where compiled functions are kept between runs."""
    import ivr
    from ivr.encoding.code_cache import cache_directory

    place = cache_directory(Path(ivr.__file__).parent)
    if place is None:
        mend = "set NUMBA_CACHE_DIR to a folder that can be written to"
        return Check("compiled code", NOTE, "no folder can keep it: every process compiles for a minute", mend)
    return Check("compiled code", GOOD, f"kept in {place.parent}")


def torch() -> Check:
    """PyTorch, and what it sees of a GPU. Imports it."""
    from ivr.machine.devices import choose_device, gpus_asked

    try:
        import torch as library
    except Exception as error:  # a library of another CUDA, a file cut short
        return Check("PyTorch", BROKEN, f"does not load: {_first_line(error)}", "`make setup` installs it anew")
    built = f"{library.__version__}, built for {f'CUDA {library.version.cuda}' if library.version.cuda else 'CPUs'}"
    asked = gpus_asked(os.environ)
    try:
        device = choose_device("auto")
    except Exception as error:
        return Check("PyTorch", NOTE, f"{built}; {_first_line(error)}", "or train on the CPU: --device cpu")
    if device.kind == "cpu":
        why = f", though {asked} is there" if asked else "; no GPU here"
        return Check("PyTorch", GOOD, f"{built}{why}")
    return Check("PyTorch", GOOD, f"{built}; {device.name}, compute capability {'.'.join(map(str, device.capability))}")


def driver() -> Check:
    """NVIDIA's driver, beside what this PyTorch needs."""
    from ivr.machine.devices import DRIVERS

    text = _text(Path("/proc/driver/nvidia/version"))
    found = re.search(r"\b(\d{3,})\.\d+(\.\d+)?\b", text)
    if found is None:
        return Check("GPU driver", GOOD, "none; training runs on the CPU")
    needed = max(DRIVERS.values(), key=int)
    if int(found[1]) < int(needed):
        return Check("GPU driver", NOTE, found[0], f"this PyTorch needs {needed} or later: have it renewed")
    return Check("GPU driver", GOOD, found[0])


def deepspeed() -> Check:
    """DeepSpeed, and the compiler its own operators are built with."""
    try:
        version = importlib.metadata.version("deepspeed")
    except importlib.metadata.PackageNotFoundError:
        return Check("DeepSpeed", NOTE, "not installed", "`make setup`; only `ivr train --deepspeed` needs it")
    missing = [tool for tool in ("g++", "ninja") if shutil.which(tool, path=_tool_path()) is None]
    if missing:
        mend = f"install {' and '.join(missing)}; only `ivr train --deepspeed` needs it"
        return Check("DeepSpeed", NOTE, f"{version}, without {' and '.join(missing)}", mend)
    return Check("DeepSpeed", GOOD, f"{version}, with g++ and ninja")


def hub() -> Check:
    """The Hub (one request, without a token), or the models in its cache where there is no network."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    models = sorted(path.name.removeprefix("models--").replace("--", "/") for path in cache.glob("models--*"))
    kept = f"cache {cache}: {', '.join(models[:5]) or 'empty'}{', ...' if len(models) > 5 else ''}"
    if constants.HF_HUB_OFFLINE:
        mend = "" if models else "unset HF_HUB_OFFLINE once to fetch a model, or take MODEL=sample or a directory"
        return Check("Hub", NOTE if mend else GOOD, f"HF_HUB_OFFLINE is set; {kept}", mend)
    reason = _unreachable(constants.ENDPOINT)
    if reason:
        mend = "MODEL=sample or a local directory needs no Hub; HF_ENDPOINT names a mirror, HTTPS_PROXY a proxy"
        return Check("Hub", NOTE, f"does not answer ({reason}); {kept}", mend)
    return Check("Hub", GOOD, f"answers; {kept}")


def slurm() -> Check:
    """Slurm's commands, and whether its controller answers."""
    if shutil.which("sbatch") is None:
        return Check("Slurm", GOOD, "none here; `ivr submit --dry-run` shows what it would get")
    version, answered = _said("sinfo", "--version"), _said("sinfo", "--noheader", "--format=%P")
    inside = f"; inside job {os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else ""
    if answered is None:
        return Check(
            "Slurm", NOTE, f"{version or 'there'}; its controller does not answer", "ask those who run the cluster"
        )
    return Check("Slurm", GOOD, f"{version}; partitions {', '.join(answered.split())}{inside}")


def containers() -> Check:
    """Programs that build or run the image."""
    engines = {name: ["info"] for name in ("docker", "podman")} | {"apptainer": [], "enroot": []}
    there = {name: words for name, words in engines.items() if shutil.which(name)}
    if not there:
        return Check("containers", GOOD, "no docker, podman, apptainer or enroot; only the image needs one")
    silent = [name for name, words in there.items() if words and _said(name, *words) is None]
    mend = f"{' and '.join(silent)} does not answer: start its daemon, or take another" if silent else ""
    return Check("containers", NOTE if silent else GOOD, ", ".join(there), mend)


def _unreachable(url: str) -> str:
    """Why a server does not answer; empty where it does, with whatever status."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the Hub's own address
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS):  # noqa: S310
            return ""
    except urllib.error.HTTPError:
        return ""
    except (OSError, ValueError) as error:
        return _first_line(getattr(error, "reason", error))


def _said(*command: str) -> str | None:
    """What a program prints; None where it fails or does not answer."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell; names of our own
            command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _tool_path() -> str:
    """Programs of the shell, and those that came with the packages."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _first_line(error: object) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".")
