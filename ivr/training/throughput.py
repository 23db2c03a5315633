"""How fast a step was: tokens and bytes a second and, on a GPU of known speed, model FLOPs utilisation (MFU)."""

import math
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


def flops_per_token(num_multiplied: int, attention: int, block_size: int) -> float:
    """Of forward and backward, whatever is recomputed: 6 N + 12 A T (Chowdhery et al. 2022, PaLM, appendix B).

    num_multiplied (N): see below. attention (A): the widths of all layers' queries together, in PaLM L H Q: each meets
    block_size (T) keys and values. Adds and norms are left out, half of the products that a causal mask wastes is not.
    """
    return 6 * num_multiplied + 12 * attention * block_size


def num_multiplied(model: Any) -> int:
    """Elements of the matrices that a token is multiplied with: without vectors, and without tables that are only
    looked up (positions, input embeddings that are not the head too)."""
    from torch import nn

    head = model.get_output_embeddings().weight
    looked_up = {id(table.weight) for table in model.modules() if isinstance(table, nn.Embedding)} - {id(head)}
    shapes = [
        getattr(parameter, "ds_shape", parameter.shape)  # under ZeRO-3 a parameter itself is empty
        for parameter in model.parameters()
        if id(parameter) not in looked_up
    ]
    return sum(math.prod(shape) for shape in shapes if len(shape) >= 2)


def attention_width(config: Any) -> int:
    """Layers x heads x width of a head, of a transformers config: the head's width is stated or the heads share D."""
    heads = int(config.num_attention_heads)
    each = getattr(config, "head_dim", None) or int(config.hidden_size) // heads
    return int(config.num_hidden_layers) * heads * int(each)


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
