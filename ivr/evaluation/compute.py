"""FLOPs of a token, from a model's matrices: what costs are compared by where machines differ."""

import math
from typing import Any


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


def flops_of_reading(num_multiplied: int) -> float:
    """Of a token forward, 2 N; attention, which grows with what stands before, is left out.

    >>> flops_of_reading(1000)
    2000.0
    """
    return 2.0 * num_multiplied
