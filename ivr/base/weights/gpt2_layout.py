"""What a GPT-2 of a given config is made of, without PyTorch: the name and shape of every tensor.

`tests/families/test_families.py` holds it to what transformers builds.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ivr.base.weights.layout import Layout
from ivr.errors import ConfigError

HEAD = "lm_head.weight"
SIZES = {  # key of config.json -> (its other name, GPT-2's own value)
    "vocab_size": ("vocab_size", 50257),
    "n_positions": ("max_position_embeddings", 1024),
    "n_embd": ("hidden_size", 768),
    "n_layer": ("num_hidden_layers", 12),
    "n_head": ("num_attention_heads", 12),
}


def sizes(config: Mapping[str, Any], origin: str) -> dict[str, int]:
    """The sizes that a config.json states or leaves to GPT-2's own, by key. Raises ConfigError for what is no size.

    >>> sizes({"n_embd": 8, "n_head": 2}, "here")["n_layer"]
    12
    """
    found = {key: config.get(key, config.get(other, value)) for key, (other, value) in SIZES.items()}
    inner = config.get("n_inner")
    found["n_inner"] = 4 * found["n_embd"] if inner is None and isinstance(found["n_embd"], int) else inner
    for key, size in found.items():
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size < 2**31:
            raise ConfigError(f"{origin}: {key} is {size!r}, not a size; bring the model's own config.json")
    if found["n_embd"] % found["n_head"]:
        raise ConfigError(f"{origin}: n_embd {found['n_embd']} is no multiple of n_head {found['n_head']}")
    return found


def shapes(config: Mapping[str, Any], origin: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name without prefix, shape) of every tensor but an untied head.

    >>> dict(shapes({"n_embd": 8, "n_head": 2, "n_layer": 1}, "here"))["h.0.attn.c_attn.weight"]
    (8, 24)
    """
    size = sizes(config, origin)
    width, inner = size["n_embd"], size["n_inner"]
    yield "wte.weight", (size["vocab_size"], width)
    yield "wpe.weight", (size["n_positions"], width)
    linear = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width)}
    linear |= {"mlp.c_fc": (width, inner), "mlp.c_proj": (inner, width)}
    norms = ["ln_1", "ln_2"]
    if config.get("add_cross_attention"):
        linear |= {"crossattention.c_attn": (width, 2 * width), "crossattention.q_attn": (width, width)}
        linear |= {"crossattention.c_proj": (width, width)}
        norms.append("ln_cross_attn")
    for layer in range(size["n_layer"]):
        for name in norms:
            yield f"h.{layer}.{name}.weight", (width,)
            yield f"h.{layer}.{name}.bias", (width,)
        for name, shape in linear.items():
            yield f"h.{layer}.{name}.weight", shape
            yield f"h.{layer}.{name}.bias", shape[1:]
    yield "ln_f.weight", (width,)
    yield "ln_f.bias", (width,)


def gpt2_layout(config: Mapping[str, Any], origin: str) -> Layout:
    """Its layout. Raises ConfigError for what is no size."""
    found, size = dict(shapes(config, origin)), sizes(config, origin)
    tied = bool(config.get("tie_word_embeddings", True))
    prefixed = frozenset(found)
    return Layout(
        kind="gpt2",
        shapes=found if tied else {**found, HEAD: found["wte.weight"]},
        prefix="transformer",
        prefixed=prefixed,
        tied={HEAD: "wte.weight"} if tied else {},
        input="wte.weight",
        output=None if tied else HEAD,
        output_bias=None,
        positions="wpe.weight",
        rows=size["vocab_size"],
        context=size["n_positions"],
        stated_as={other: key for key, (other, _) in SIZES.items()},
        renamed=lambda name: name,
    )
