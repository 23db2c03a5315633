"""Who starts the processes, and what each is told: no process ever trains alone on what was started as a team."""

import logging

import pytest

from ivr.errors import ConfigError
from ivr.training.launch.accelerate_settings import take_settings_out
from ivr.training.launch.place import take_place

MASTER = {"MASTER_ADDR": "pod-0", "MASTER_PORT": "23456"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WORLD_SIZE": "1"},
        {"RANK": "0", "WORLD_SIZE": "1", **MASTER},
        {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0"},  # a batch script, one process
        {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},
    ],
)
def test_one_process_alone(environment: dict[str, str]) -> None:
    assert take_place(environment) == 1


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (  # torchrun
            {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", **MASTER},
            ("3", "1", "4", "pod-0", "23456"),
        ),
        ({"RANK": "1", "WORLD_SIZE": "2", **MASTER}, ("1", "0", "2", "pod-0", "23456")),  # Kubeflow
        (  # its own names beside
            {"RANK": "3", "WORLD_SIZE": "4", "SLURM_LOCALID": "1", **MASTER},
            ("3", "1", "4", "pod-0", "23456"),
        ),
        (
            {
                "OMPI_COMM_WORLD_RANK": "1",
                "OMPI_COMM_WORLD_LOCAL_RANK": "1",
                "OMPI_COMM_WORLD_SIZE": "2",
                "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
            },
            ("1", "1", "2", "127.0.0.1", "29500"),
        ),
        (
            {
                "SLURM_PROCID": "5",
                "SLURM_LOCALID": "1",
                "SLURM_STEP_NUM_TASKS": "8",
                "SLURM_STEP_NUM_NODES": "2",
                "SLURM_STEP_NODELIST": "gpu[07-08]",
            },
            ("5", "1", "8", "gpu07", "29500"),
        ),
        (
            {"SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1"},
            ("1", "1", "2", "127.0.0.1", "29500"),
        ),
        (
            {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"},
            ("1", "1", "2", "127.0.0.1", "29500"),
        ),
    ],
)
def test_several_are_one_team(environment: dict[str, str], told: tuple[str, ...]) -> None:
    assert take_place(environment) == int(told[2])
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    assert tuple(environment[name] for name in names) == told


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE set, RANK not"),
        ({"RANK": "1"}, "RANK set, WORLD_SIZE not"),
        ({"LOCAL_RANK": "1"}, "LOCAL_RANK set, RANK and WORLD_SIZE not"),
        ({"RANK": "2", "WORLD_SIZE": "2", **MASTER}, "RANK=2 of WORLD_SIZE=2"),
        ({"RANK": "one", "WORLD_SIZE": "2", **MASTER}, "RANK='one'"),
        ({"RANK": "0", "WORLD_SIZE": "-2", **MASTER}, "WORLD_SIZE='-2'"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR is not set"),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}, "MASTER_ADDR is not set"),
    ],
)
def test_what_cannot_be_a_team_is_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        take_place(environment)


def test_the_stage_takes_its_place_before_anything_else(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    from pathlib import Path

    from ivr.cli import main

    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", "--artifacts-dir", str(tmp_path)]) == 2
    assert list(Path(str(tmp_path)).iterdir()) == []


# accelerate's own variables --------------------------------------------------------------------------------------


def test_what_asks_for_nothing_goes_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("ivr").propagate = True
    # what `accelerate launch` without a file sets
    environment = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "no", "ACCELERATE_USE_CPU": "False"}
    environment |= {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1", "PATH": "/bin"}
    assert take_settings_out(False, environment) == [] and caplog.text == ""
    assert environment == {"PATH": "/bin"}


def test_what_would_overrule_an_option_is_taken_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("ivr").propagate = True
    environment = {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4", "FSDP_VERSION": "2"}
    assert take_settings_out(False, environment) == ["ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "FSDP_VERSION"]
    assert environment == {}
    assert "ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4 is not used: --gradient-accumulation says what runs" in caplog.text


@pytest.mark.parametrize("name", ["ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP", "ACCELERATE_USE_MEGATRON_LM"])
def test_another_kind_of_run_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}=true"):
        take_settings_out(False, {name: "true"})
    if name == "ACCELERATE_USE_DEEPSPEED":
        assert take_settings_out(True, {name: "true"}) == []
