"""The image itself, run as clusters run it: a user id nobody knows, no network, nothing of it writable."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tiny_run import GENERAL_WORDS, domain_documents, learnt_merges

pytestmark = pytest.mark.needs_image

ROOT = Path(__file__).resolve().parents[2]
IMAGE_SH = ROOT / "slurm/image/image.sh"
IMAGE = os.environ.get("IVR_IMAGE", "")
NOBODY = 20001


def engine(*arguments: str) -> str:
    done = subprocess.run([IMAGE_SH, "engine", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: {done.stderr[-3000:]}"
    return done.stdout


def run(*arguments: str, options: tuple[str, ...] = ()) -> str:
    command = [IMAGE_SH, "run", "--user", f"{NOBODY}:{NOBODY}", *options, IMAGE, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{' '.join(arguments)} gave {done.returncode}:\n{done.stdout[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def configuration() -> dict[str, Any]:
    return json.loads(engine("image", "inspect", IMAGE))[0]["Config"]


def test_labels_user_and_no_entrypoint(configuration: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = configuration["Labels"]
    assert labels["org.opencontainers.image.version"] == project["version"]
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert labels["org.opencontainers.image.revision"].removesuffix("-dirty") in {commit, "unknown"}
    assert not configuration.get("Entrypoint")
    assert configuration["User"] not in {"", "0", "root", "0:0"}
    environment = dict(entry.split("=", 1) for entry in configuration["Env"])
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert environment["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"


def test_how_the_builder_reached_packages_is_not_in_the_image() -> None:
    history = engine("history", "--no-trunc", IMAGE)
    assert "://" not in history and "secret" in history
    assert run("sh", "-c", "ls /run /run/secrets 2>/dev/null | grep -E 'crt|index|toml' || echo none").strip() == "none"


def test_every_package_is_the_locked_one() -> None:
    locked = {(entry["name"], entry["version"]) for entry in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    program = (
        "import importlib.metadata as m, json, sys; "
        "print(json.dumps([sys.version_info[:2], [[d.name, d.version] for d in m.distributions()]]))"
    )
    version, installed = json.loads(run("python", "-c", program))
    assert version == [3, 13]
    names = {(name.lower().replace("_", "-").replace(".", "-"), number) for name, number in installed}
    assert ("torch", "2.11.0") in names and len(names) > 50
    assert {(name, number) for name, number in names if (name, number) not in locked} == set()


def test_cuda_13_comes_with_torch() -> None:
    program = "import torch; print(torch.version.cuda, torch.backends.cuda.is_built(), torch.cuda.nccl.version()[0])"
    assert run("python", "-c", program).split() == ["13.0", "True", "2"]


def test_without_any_mount_it_still_works() -> None:
    said = run("ivr", "--version")
    assert said.startswith("gpt2-ivr ")
    compiled = "from ivr.encoding.compiler import compiled; print(compiled(lambda x: x + 1)(41))"
    assert run("python", "-c", compiled).split()[-1] == "42"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """work/, cache/ and tmp/ of the user; inputs/ with a tiny model and corpora."""
    root = tmp_path_factory.mktemp("image")
    for name in ("work", "cache", "tmp"):
        (root / name).mkdir()
        if os.getuid() == 0:
            os.chown(root / name, NOBODY, NOBODY)
        else:
            (root / name).chmod(0o777)
    write_inputs(root / "inputs")
    return root


def write_inputs(folder: Path) -> None:
    import torch
    from small_bpe import write_model_directory
    from transformers import GPT2Config, GPT2LMHeadModel

    documents = domain_documents()
    merges = learnt_merges(documents + [" ".join(GENERAL_WORDS)] * 20)
    for name, texts in (
        ("raw", documents),
        ("general", [f"{number} " + " ".join(GENERAL_WORDS) for number in range(200)]),
    ):
        (folder / name).mkdir(parents=True)
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (folder / name / "texts.jsonl").write_text(lines, encoding="utf-8")
    write_model_directory(folder / "model", merges)
    torch.manual_seed(0)
    end = 256 + len(merges)
    config = GPT2Config(
        vocab_size=end + 1, n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=end, eos_token_id=end
    )
    GPT2LMHeadModel(config).save_pretrained(folder / "model")
    (folder / "model" / "model.safetensors").chmod(0o644)


def mounts(folders: Path) -> tuple[str, ...]:
    pairs = (("work", "/work"), ("cache", "/cache"), ("tmp", "/tmp"), ("inputs", "/inputs:ro"))
    shared = ("-v", f"{ROOT / 'slurm'}:/slurm:ro")
    return (*shared, *(word for name, place in pairs for word in ("-v", f"{folders / name}:{place}")))


def test_the_whole_pipeline(folders: Path, configuration: dict[str, Any]) -> None:
    script = """
        ivr init --model-name /inputs/model --raw-corpora-dir /inputs/raw --general-corpora-dir /inputs/general
        ivr analyze
        ivr distill-tokenizer
        ivr select --swaps 20
        ivr remap
        ivr align
        ivr train --max-steps 4 --batch-size 2 --deepspeed /slurm/deepspeed/zero2.json
        ivr evaluate
        ivr report
    """
    run("bash", "-euc", script, options=mounts(folders))
    artifacts = folders / "work" / "artifacts"
    assert (artifacts / "report" / "summary.txt").read_text().strip()
    assert (artifacts / "training" / "final" / "model.safetensors").exists()
    manifest = json.loads((artifacts / "manifests" / "train.json").read_text())
    assert configuration["Labels"]["org.opencontainers.image.revision"] in json.dumps(manifest)
    if os.getuid() == 0:
        assert {path.stat().st_uid for path in artifacts.rglob("*")} == {NOBODY}
    assert list((folders / "cache").rglob("*.nbi")), "numba's cache lies in the mounted folder"


def test_tests_of_the_checkout_pass_inside(folders: Path) -> None:
    uv = shutil.which("uv", path=f"{os.environ['PATH']}:{ROOT / '.uv/bin'}:{Path(sys.executable).parent}")
    if uv is None:
        pytest.skip("no uv to install pytest for the image's Python with")
    packages = folders / "packages"
    packages.mkdir()
    subprocess.run([IMAGE_SH, "test-packages", packages], env=os.environ | {"UV": uv}, check=True)
    options = (
        *mounts(folders),
        *("-v", f"{ROOT}:/source:ro", "-v", f"{packages}:/packages:ro", "--workdir", "/source"),
        *("--env", "PYTHONPATH=/packages", "--env", "PYTHONSAFEPATH=1"),
        *("--env", "HYPOTHESIS_STORAGE_DIRECTORY=/cache/hypothesis", "--env", "OMP_WAIT_POLICY=PASSIVE"),
    )
    rooms = ["tests/encoding", "tests/embedding", "tests/test_artifacts.py", "tests/test_stage.py"]
    said = run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *rooms, options=options)
    assert " passed" in said and " failed" not in said


def test_a_change_of_the_code_builds_one_layer_anew(tmp_path: Path) -> None:
    if engine("info", "--format", "{{.Store.GraphDriverName}}").strip() == "vfs":
        pytest.skip("layers are not kept with podman's vfs storage, which would copy each whole")
    checkout = tmp_path / "checkout"
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if name.split("/")[0] in {"Dockerfile", ".dockerignore", "pyproject.toml", "uv.lock", "README.md", "LICENSE",
                                  "ivr", "slurm"} and (ROOT / name).exists():  # fmt: skip
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    (checkout / "ivr" / "__init__.py").open("a").write("\n# changed\n")
    try:
        subprocess.run(
            [checkout / "slurm/image/image.sh", "build"],
            env=os.environ | {"IMAGE": "gpt2-ivr-changed"},
            check=True,
            capture_output=True,
        )
        old, new = (
            json.loads(engine("image", "inspect", name))[0]["RootFS"]["Layers"] for name in (IMAGE, "gpt2-ivr-changed")
        )
        shared = sum(1 for one, other in zip(old, new, strict=True) if one == other)
        sizes = json.loads(engine("image", "inspect", IMAGE))[0]["Size"]
        assert sizes > 4e9 and len(old) - shared <= 2, f"of {len(old)} layers {shared} are shared"
    finally:
        subprocess.run([IMAGE_SH, "engine", "rmi", "--force", "gpt2-ivr-changed"], capture_output=True)
