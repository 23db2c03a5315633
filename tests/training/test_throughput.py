"""Speed of a step. FLOPs of a token are held to what PyTorch counts in tests/families/."""

import pytest

from ivr.training.throughput import PEAK_FLOPS, peak_flops, speed


def test_a_device_is_known_by_its_name() -> None:
    assert peak_flops("NVIDIA H100 PCIe") == 7.56e14
    assert peak_flops("NVIDIA H200") == peak_flops("NVIDIA GH200 480GB") == 9.89e14
    assert peak_flops("NVIDIA A100-SXM4-80GB") == 3.12e14
    assert peak_flops("NVIDIA GeForce GTX 1080") is None
    assert all(peak_flops(f"NVIDIA {name}") == peak for name, peak in PEAK_FLOPS.items())


def test_utilisation_is_a_share_of_all_devices_together() -> None:
    row = speed(tokens=1000, num_bytes=4000, seconds=0.5, flops=1e9, processes=2, peak=4e12)
    assert row == {"seconds": 0.5, "tokens_per_second": 2000, "bytes_per_second": 8000, "mfu": pytest.approx(0.25)}
    assert "mfu" not in speed(1000, 4000, 0.5, 1e9, 1, None)
