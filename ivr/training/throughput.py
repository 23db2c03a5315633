"""How fast a step was: tokens and bytes a second and, on a GPU of known speed, model FLOPs utilisation (MFU)."""

from typing import Any

# dense bf16 FLOPs a second of one device, from its maker's data sheet, by a part of its name; the first match counts
PEAK_FLOPS = {
    "B200": 2.25e15,
    "GH200": 9.89e14,
    "H200": 9.89e14,
    "H100 PCIe": 7.56e14,
    "H100 NVL": 8.35e14,
    "H100": 9.89e14,
    "A100": 3.12e14,
    "L40S": 3.62e14,
    "A40": 1.497e14,
    "A30": 1.65e14,
    "L4": 1.21e14,
    "A10": 1.25e14,
}


def peak_flops(device_name: str) -> float | None:
    """None for a device that is not in the table."""
    return next((peak for part, peak in PEAK_FLOPS.items() if part in device_name), None)


def speed(
    tokens: int, num_bytes: int, seconds: float, flops: float, processes: int, peak: float | None
) -> dict[str, Any]:
    """The time fields of a step's row; flops: of one token."""
    row: dict[str, Any] = {
        "seconds": round(seconds, 4),
        "tokens_per_second": round(tokens / seconds, 1),
        "bytes_per_second": round(num_bytes / seconds, 1),
    }
    if peak is not None:
        row["mfu"] = round(tokens * flops / seconds / (peak * processes), 4)
    return row
