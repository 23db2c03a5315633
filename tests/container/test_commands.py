"""What slurm/image/image.sh would run: engines and converters that only write down how they were called."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from ivr.manifest import PIPELINE

ROOT = Path(__file__).resolve().parents[2]
IMAGE_SH = ROOT / "slurm/image/image.sh"
RECORDER = """#!/bin/sh
echo "${0##*/} $*" >> "$CALLS"
case "$*" in
  *GraphDriverName*) echo overlay ;;
  *" save "*) : > gpt2-ivr.tar ;;
  *"image inspect"*) [ -n "$TITLE" ] || exit 1; echo "$TITLE" ;;
  *" ps "*) echo "$RUNNING" ;;
esac
for word in "$@"; do case "$word" in id=index,src=*) cat "${word#id=index,src=}" >> "$CALLS" ;; esac; done
"""


class Machine:
    """A machine with the programs named and no other engine or converter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        (folder / "home").mkdir()
        (folder / "bin").mkdir()

    def has(self, *programs: str) -> None:
        for name in programs:
            program = self.folder / "bin" / name
            program.write_text(RECORDER)
            program.chmod(0o755)

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            "CALLS": str(self.calls),
        }
        return subprocess.run(
            [IMAGE_SH, *arguments], env=environment | settings, cwd=self.folder, capture_output=True, text=True
        )

    def called(self) -> list[str]:
        """The calls that change something, with this checkout's path left out."""
        # not after a colon: there it is a place inside the container, whatever this checkout is called
        ours = re.compile(rf"(?<!:){re.escape(str(ROOT))}(?=[/: ]|$)", re.MULTILINE)
        lines = ours.sub("ROOT", self.calls.read_text()).splitlines() if self.calls.exists() else []
        return [line for line in lines if not re.search(r" info\b", line)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


SAVED = "podman --runtime runc save --format docker-archive --output gpt2-ivr.tar gpt2-ivr:latest"


@pytest.mark.parametrize(
    ("action", "engine", "program", "commands"),
    [
        ("sif", "podman", "apptainer", [SAVED, "apptainer build gpt2-ivr.sif docker-archive:gpt2-ivr.tar"]),
        ("sif", "docker", "apptainer", ["apptainer build gpt2-ivr.sif docker-daemon:gpt2-ivr:latest"]),
        ("sqsh", "podman", "enroot", ["enroot import --output gpt2-ivr.sqsh podman://gpt2-ivr:latest"]),
        ("sqsh", "docker", "enroot", ["enroot import --output gpt2-ivr.sqsh dockerd://gpt2-ivr:latest"]),
    ],
)
def test_conversions_run_what_they_print(
    machine: Machine, action: str, engine: str, program: str, commands: list[str]
) -> None:
    machine.has("docker", "podman", "runc", program)
    done = machine.run(action, ENGINE=engine)
    assert done.returncode == 0, done.stderr
    printed = [line for line in done.stdout.splitlines() if not line.startswith("rm ")]
    assert printed == commands == machine.called()
    if "rm gpt2-ivr.tar" in done.stdout:
        assert not (machine.folder / "gpt2-ivr.tar").exists()


def test_a_conversion_without_its_program_is_printed_for_another_machine(machine: Machine) -> None:
    if any(Path(folder, "apptainer").exists() for folder in os.environ["PATH"].split(":")):
        pytest.skip("apptainer is installed here")
    machine.has("podman", "runc")
    done = machine.run("sif", ENGINE="podman", IMAGE="registry.invalid/group/gpt2-ivr:0.1")
    assert done.returncode == 0
    assert "apptainer build gpt2-ivr.sif docker-archive:gpt2-ivr.tar" in done.stdout
    assert "registry.invalid/group/gpt2-ivr:0.1\n" in done.stdout
    assert "apptainer is not on this machine" in done.stderr
    assert machine.called() == []


def test_build_hands_the_index_and_the_certificates_over_as_secrets_only(machine: Machine) -> None:
    machine.has("podman", "runc")
    secret = "https://user:token@index.invalid/simple"
    done = machine.run(
        "build", ENGINE="podman", PIP_INDEX_URL=secret, SSL_CERT_FILE="/etc/ca.crt", BASE_IMAGE="debian:other"
    )
    assert done.returncode == 0, done.stderr
    call, *settings = machine.called()
    assert call.startswith("podman --runtime runc build --tag gpt2-ivr --build-arg VERSION=")
    assert "--build-arg BASE_IMAGE=debian:other --secret id=ca,src=/etc/ca.crt" in call
    assert re.search(r"--build-arg COMMIT=([0-9a-f]{40}(-dirty)?|unknown) ", call)
    assert call.endswith(" --isolation chroot --network host ROOT")
    assert secret not in call
    assert f"export PIP_INDEX_URL={secret}" in settings and f"export UV_DEFAULT_INDEX={secret}" in settings
    leftover = re.search(r"id=index,src=(\S+)", call)
    assert leftover is not None and not Path(leftover.group(1)).exists()


def test_docker_builds_without_what_only_podman_knows(machine: Machine) -> None:
    machine.has("docker")
    assert machine.run("build", ENGINE="docker", IMAGE="x:1").returncode == 0
    (call,) = [line for line in machine.called() if line.startswith("docker build ")]
    assert "--isolation" not in call and "--volume" not in call and "--tag x:1" in call


def test_a_folder_of_this_machine_is_no_index_for_the_build(machine: Machine) -> None:
    machine.has("podman", "runc")
    assert machine.run("build", ENGINE="podman", PIP_INDEX_URL="file:///srv/simple").returncode == 0
    assert "file://" not in machine.calls.read_text()


def test_the_trial_runs_every_stage_and_then_pytest_with_nothing_writable(machine: Machine) -> None:
    machine.has("podman", "runc", "uv")
    done = machine.run("test", "-k", "some", ENGINE="podman", UV="uv")
    assert done.returncode == 0, done.stderr
    runs = [line for line in machine.called() if " run --rm --read-only " in line]
    assert all(" --user 20001:20001 " in line and line.count(":/work ") == 1 for line in runs)
    assert all("--network none" in line for line in runs)
    stages = [line.rsplit(" ", 1)[-1] for line in runs[:-1]]
    assert stages == list(PIPELINE)
    assert " -v ROOT:/source:ro " in runs[-1] and "--env PYTHONSAFEPATH=1" in runs[-1]
    assert runs[-1].endswith(" gpt2-ivr python -m pytest -p no:cacheprovider -k some")
    (install,) = [line for line in machine.called() if line.startswith("uv pip install")]
    assert "--require-hashes --python-version 3.13" in install


def test_an_engine_that_is_not_there_is_the_reason(machine: Machine) -> None:
    done = machine.run("check", ENGINE="nerdctl-of-nowhere")
    assert (done.returncode, done.stdout) == (1, "ENGINE=nerdctl-of-nowhere is not to be found\n")


def test_the_dockerfile_names_no_host_and_no_entrypoint() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "://" not in text
    instructions = re.findall(r"^([A-Z]+) ", text, re.MULTILINE)
    assert "ENTRYPOINT" not in instructions
    assert instructions.index("USER") > max(index for index, name in enumerate(instructions) if name == "RUN")


def test_the_hosts_python_variables_do_not_reach_the_command() -> None:
    """apptainer and pyxis bring them along; test_interpreter.py shows what the words do to the script."""
    text = (ROOT / "Dockerfile").read_text()
    assert r"sed -E -i '1s|^(#!.*/python[0-9.]*)$|\1 -I|' /opt/ivr/venv/bin/ivr" in text
    assert r"sed -E -i '1s|^(#!.*/python[0-9.]*)$$|\1 -I|' " in (ROOT / "Makefile").read_text()


def test_a_change_of_the_code_comes_after_the_packages() -> None:
    text = (ROOT / "Dockerfile").read_text()
    packages = text.index("uv pip sync")
    copied_before = re.findall(r"^COPY (.*) \S+$", text[:packages], re.MULTILINE)
    assert copied_before == ["pyproject.toml uv.lock"]


def test_only_what_is_copied_is_sent_to_the_builder() -> None:
    copied = re.findall(r"^COPY (.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sent = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(" ".join(copied).split()) == sorted(sent)


@pytest.mark.parametrize("name", ["gpt2-ivr.tar", "gpt2-ivr.sif"])
def test_a_conversion_replaces_no_file_of_a_person(machine: Machine, name: str) -> None:
    machine.has("podman", "runc", "apptainer")
    (machine.folder / name).write_text("mine")
    done = machine.run("sif", ENGINE="podman")
    assert done.returncode == 1 and f"{name} is there; move it elsewhere" in done.stderr
    assert (machine.folder / name).read_text() == "mine" and machine.called() == []


def test_clean_removes_the_image_that_build_made_and_no_other_and_forces_nothing(machine: Machine) -> None:
    machine.has("docker")
    assert machine.run("clean", ENGINE="docker", TITLE="gpt2-ivr").returncode == 0
    assert machine.called()[-1] == "docker rmi gpt2-ivr"
    machine.calls.unlink()
    other = machine.run("clean", ENGINE="docker", IMAGE="mine", TITLE="another program")
    assert other.returncode == 1 and "mine was not made by `image.sh build`" in other.stderr
    none = machine.run("clean", ENGINE="docker", IMAGE="none")
    assert none.returncode == 0 and "there is no image none" in none.stderr
    assert not [line for line in machine.called() if "rmi" in line]


def test_clean_leaves_what_lies_beside_the_store_and_a_directory_that_it_did_not_make(machine: Machine) -> None:
    machine.has("podman", "runc")
    store = machine.folder / "store"
    for name in ("storage/overlay", "run"):
        (store / name).mkdir(parents=True)
    (store / "letters.txt").write_text("mine")
    not_ours = machine.run("clean", ENGINE="podman", IMAGE_STORE=str(store))
    assert not_ours.returncode == 1 and "was not made by image.sh; it stays" in not_ours.stderr
    built = machine.run("build", ENGINE="podman", IMAGE_STORE=str(store))
    assert built.returncode == 1 and "holds a store that image.sh did not make" in built.stderr
    (store / "driver").write_text("vfs\n")
    running = machine.run("clean", ENGINE="podman", IMAGE_STORE=str(store), RUNNING="0123")
    assert running.returncode == 1 and "a container of" in running.stderr and (store / "storage").is_dir()
    assert machine.run("clean", ENGINE="podman", IMAGE_STORE=str(store)).returncode == 0
    assert [path.name for path in store.iterdir()] == ["letters.txt"]
