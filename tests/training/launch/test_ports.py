"""The port at which processes meet: agreed on without asking, and none that a connecting rank may be given."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ivr.training.launch import ports
from ivr.training.launch.ports import HIGHEST, LOWEST, agreed_port, free_port

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        yield int(listener.getsockname()[1])


def test_no_port_is_one_that_a_connecting_rank_may_call_from() -> None:
    """It would be connected to itself, and rank 0 find the address in use."""
    assert all(LOWEST <= agreed_port(f"{job} {turn}") <= HIGHEST for job in range(2000) for turn in range(3))
    assert LOWEST <= free_port() <= HIGHEST
    if not EPHEMERAL.exists():
        pytest.skip("this system does not say which ports it hands out")
    if (first := int(EPHEMERAL.read_text().split()[0])) <= HIGHEST:
        pytest.skip(f"this machine hands out ports from {first} on: set net.ipv4.ip_local_port_range to 32768 60999")


def test_jobs_side_by_side_and_turns_of_one_job_have_ports_of_their_own() -> None:
    found = {agreed_port(f"{59_607_000 + job} {turn}") for job in range(50) for turn in range(2)}
    assert len(found) > 98


def test_a_port_in_use_is_passed_over(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "LOWEST", taken)
    monkeypatch.setattr(ports, "HIGHEST", taken + 99)
    assert {free_port() for _ in range(20)}.isdisjoint({taken})
