"""Speed of a step, and FLOPs of a token against a count by hand."""

import pytest
from builders import tiny_model

from ivr.training.throughput import PEAK_FLOPS, flops_per_token, peak_flops, speed


def test_flops_of_a_token_are_those_of_its_matrix_products() -> None:
    model = tiny_model(50)
    config, block = model.config, 16
    products = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "wpe" not in name)
    vectors = sum(p.numel() for p in model.parameters() if p.ndim == 1)
    # forward: 2 a weight; attention: T keys and T values of width C a layer, 2 each; backward twice that
    by_hand = 3 * (2 * products + config.n_layer * 2 * 2 * block * config.n_embd)
    found = flops_per_token(products + vectors, config.n_layer, config.n_embd, block)
    assert found == by_hand + 6 * vectors


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
