"""Profiles: strict, and the ones that come with the project are good."""

import re
from pathlib import Path

import pytest

from ivr.cluster.executor import plan_work, setup_lines
from ivr.cluster.profile import Profile, minutes, read_profile
from ivr.errors import ConfigError

PROFILES = sorted((Path(__file__).parents[2] / "slurm" / "profiles").glob("*.toml"))


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_the_examples_are_good(path: Path) -> None:
    profile = read_profile(path)
    assert profile.name == path.stem and profile.partition and profile.minutes >= 60


def test_there_are_examples_for_the_usual_sites() -> None:
    assert {"cpu-node", "gpu-node", "two-nodes", "a100", "h100"} <= {path.stem for path in PROFILES}
    assert {read_profile(path).runtime for path in PROFILES} == {"none", "apptainer", "pyxis"}


def test_an_unknown_key_names_all_legal_ones(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('partiton = "gpu"\n')
    with pytest.raises(ConfigError) as caught:
        read_profile(path)
    said = str(caught.value)
    assert str(path) in said and "unknown key 'partiton' (did you mean 'partition'?)" in said
    legal = "partition, account, qos, nodes, gpus_per_node, gpus_by, gpu_type, processes_per_node, cpus_per_process"
    assert legal in said and "environment" in said and "sbatch" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("partition = 3", "must be a string"),
        ('partition = "a\\nb"', "on one line"),
        ('environment = {HF_TOKEN = "whatever"}', "environment.HF_TOKEN: holds a secret"),
        ('setup = ["export TOKEN=hf_ABCDEFGHIJKLMNOPQRST"]', "setup: holds a secret"),
        ('environment = {HTTPS_PROXY = "http://me:pass@proxy:1"}', "HTTPS_PROXY: holds a secret"),
        ("nodes = 0", "at least 1"),
        ("nodes = true", "whole number"),
        ("gpus_per_node = '8'", "whole number"),
        ("memory = '64 GB'", "as Slurm does"),
        ("time = 'soon'", "D-HH:MM:SS"),
        ("time = '0'", "at least a minute"),
        ("time = '1'\nwarning_seconds = 60", "not less than the time"),
        ("gpus_by = 'magic'", "gpus-per-node, gres, nothing"),
        ("gpu_type = 'a 100'\ngpus_per_node = 1", "sinfo -o %G"),
        ("gpu_type = 'a100'", "needs gpus_per_node"),
        ("gpus_per_node = 2\nsbatch = ['--gres=tmp:1,gpu:2']", "asks for GPUs once more"),
        ("runtime = 'docker'", "none, apptainer, pyxis"),
        ("runtime = 'pyxis'", "needs an image"),
        ("image = '/a.sif'", "need runtime"),
        ("runtime = 'apptainer'\nimage = 'a'\nmounts = ['data']", "/on/the/node"),
        ("mounts = '/data'", "list of strings"),
        ("sbatch = ['constraint=a100']", "--option=value"),
        ("sbatch = ['--output=x']", "cannot be set here"),
        ("sbatch = ['--dependency=afterok:1']", "cannot be set here"),
        ("environment = ['A=1']", "table"),
        ("[environment]\n'A B' = '1'", "no name of a variable"),
        ("[environment]\nA = 1", "must be a string"),
        ("nodes = ", "not TOML"),
        ("nodes = 1\nnodes = 2", "not TOML"),
        ("nodes = " + "9" * 5000, "not TOML"),
        ("time = '" + "9" * 5000 + "'", "write minutes"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "site.toml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=re.escape(str(path))) as caught:
        read_profile(path)
    assert message in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_profile(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="is a directory"):
        read_profile(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("1:30", 2), ("1:00", 1), ("2:00:00", 120), ("1-0", 1440), ("1-12:30", 2190), ("2-00:00:01", 2881)],
)
def test_forms_of_a_time_limit(text: str, expected: int) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize(
    ("keys", "option"),
    [
        ({}, ("gpus-per-node", "4")),
        ({"gpu_type": "a100"}, ("gpus-per-node", "a100:4")),
        ({"gpus_by": "gres"}, ("gres", "gpu:4")),
        ({"gpus_by": "gres", "gpu_type": "v100"}, ("gres", "gpu:v100:4")),
        ({"gpus_by": "nothing"}, ("", "")),
    ],
)
def test_how_gpus_are_asked_for(keys: dict[str, str], option: tuple[str, str]) -> None:
    profile = Profile(gpus_per_node=4, **keys)  # type: ignore[arg-type]
    assert profile.gpu_option(4) == option
    assert profile.gpu_option(0) == ("", "")


def test_a_control_starts_a_process_a_gpu_and_has_the_cores_of_all() -> None:
    profile = Profile(nodes=2, gpus_per_node=4, cpus_per_process=6)
    work = plan_work(profile, "control", (("control", "--lr=1e-4"),))
    assert work.command_lines == (("control", "--lr=1e-4", "--processes=4"),)
    assert (work.nodes, work.processes_per_node, work.gpus_per_node) == (1, 1, 4)
    assert setup_lines(profile, work)[-1] == "export SRUN_CPUS_PER_TASK=24"
    mine = plan_work(profile, "control", (("control", "--processes=2"),))
    assert mine.command_lines == (("control", "--processes=2"),)
    assert setup_lines(profile, plan_work(profile, "train", (("train",),)))[-1] == "export SRUN_CPUS_PER_TASK=6"
