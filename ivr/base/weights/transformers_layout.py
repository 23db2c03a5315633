"""The layout of any causal language model that transformers knows: built by it without values, and looked at."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ivr.base.weights.layout import Layout
from ivr.errors import ConfigError

SIZES = ("vocab_size", "hidden_size", "num_hidden_layers")


def transformers_layout(config: Mapping[str, Any], origin: str) -> Layout:
    """Its layout. Raises ConfigError, naming `origin`, for a config of which no model can be built or moved."""
    from torch import nn

    parsed = parse_config(config, origin)
    model = empty_model(parsed, origin)
    inputs, outputs = model.get_input_embeddings(), model.get_output_embeddings()
    rows = parsed.vocab_size
    for what, module in (("input embeddings", inputs), ("output embeddings", outputs)):
        weight = getattr(module, "weight", None)
        if weight is None or weight.ndim != 2 or weight.shape[0] != rows:
            told = "none" if weight is None else " x ".join(map(str, weight.shape))
            raise ConfigError(
                f"{origin}: the {what} of a {parsed.model_type} of this config are {told}, not a matrix of one row for "
                f"each of the {rows} ids (vocab_size); choose another model"
            )
    if type(inputs) is not nn.Embedding or type(outputs) is not nn.Linear or capped(parsed):
        raise ConfigError(
            f"{origin}: a {parsed.model_type} scales the rows it looks up, or bends the logits of its head (its "
            f"embeddings are {type(inputs).__name__}, its head {type(outputs).__name__}), and new rows are made for a "
            "plain table and a plain matrix product; choose another model"
        )
    tied = outputs.weight is inputs.weight
    if tied and outputs.bias is not None:
        raise ConfigError(
            f"{origin}: the head of a {parsed.model_type} of this config is tied to the input embeddings and has a "
            "bias of its own, for which no new rows can be made; choose another model"
        )
    _check_forward(model, origin)
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    prefix = model.base_model_prefix
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    shapes |= {name: tuple(buffer.shape) for name, buffer in model.named_buffers() if name in model.state_dict()}
    copies = {
        name.removeprefix(f"{prefix}."): name_of[id(parameter)].removeprefix(f"{prefix}.")
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if name != name_of[id(parameter)]
    }

    def bare(parameter: Any) -> str:
        return name_of[id(parameter)].removeprefix(f"{prefix}.")

    positions = _positions(model, inputs, parsed)
    context = getattr(parsed, "max_position_embeddings", None)
    return Layout(
        kind=parsed.model_type,
        shapes={name.removeprefix(f"{prefix}."): shape for name, shape in shapes.items()},
        prefix=prefix,
        prefixed=frozenset(name.removeprefix(f"{prefix}.") for name in shapes if name.startswith(f"{prefix}.")),
        tied=copies,
        input=bare(inputs.weight),
        output=None if tied else bare(outputs.weight),
        output_bias=None if outputs.bias is None else bare(outputs.bias),
        positions=None if positions is None else bare(positions),
        rows=rows,
        context=context if isinstance(context, int) and context > 0 else None,
        stated_as=dict(getattr(parsed, "attribute_map", {})),
        renamed=_renaming(model, origin),
    )


def parse_config(config: Mapping[str, Any], origin: str) -> Any:
    """transformers' config object of a causal decoder. Raises ConfigError for another model, or for what is no size."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = config.get("model_type")
    known = isinstance(kind, str) and kind in CONFIG_MAPPING and kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    reason = "" if known else "which transformers does not know as a causal language model"
    if known and config.get("is_encoder_decoder", False):
        reason = "and is_encoder_decoder true: an encoder and a decoder"
    elif known and kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_decoder", False):
        reason = "an encoder that sees the text on both sides"
    if reason:
        raise ConfigError(
            f"{origin}: model_type is {kind!r}, {reason}; choose a decoder of text alone, such as GPT-2, GPT-NeoX, "
            "OPT, Llama, Qwen or OLMo"
        )
    try:
        parsed = CONFIG_MAPPING[kind].from_dict(dict(config))
    except Exception as error:  # whatever a config.json makes of transformers' checks
        raise ConfigError(f"{origin} is no config of a {kind} ({_one_line(error)}); bring the model's own") from None
    for name in SIZES:
        size = getattr(parsed, name, None)
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size < 2**31:
            said = getattr(parsed, "attribute_map", {}).get(name, name)
            raise ConfigError(f"{origin}: {said} is {size!r}, not a size; bring the model's own config.json")
    return parsed


def empty_model(parsed: Any, origin: str) -> Any:
    """The model of a config without values: every parameter on PyTorch's meta device, buffers as they begin."""
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    try:
        with _whole(), init_empty_weights(include_buffers=False):
            model = AutoModelForCausalLM.from_config(parsed, trust_remote_code=False)
        model.tie_weights()
    except Exception as error:  # shapes that do not fit each other, a package that is not there
        raise ConfigError(
            f"{origin}: transformers cannot build a {parsed.model_type} of this config ({_one_line(error)}); bring "
            "the model's own config.json"
        ) from None
    return model


@contextlib.contextmanager
def _whole() -> Iterator[None]:
    """While ZeRO-3 trains, transformers parts every model that it builds over the ranks: not one without values."""
    from transformers.integrations import deepspeed

    kept = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = kept


def _check_forward(model: Any, origin: str) -> None:
    """What the stages ask of a model: rows in place of ids, and to go on from a cache of keys and values."""
    takes = inspect.signature(model.forward).parameters
    lacking = [name for name in ("input_ids", "inputs_embeds", "past_key_values") if name not in takes]
    if lacking:
        raise ConfigError(
            f"{origin}: a {model.config.model_type} takes no {lacking[0]}, which a transformer with a cache of keys "
            "and values does; choose another model"
        )


def capped(parsed: Any) -> bool:
    """Whether logits go through a function that is not linear."""
    return bool(getattr(parsed, "final_logit_softcapping", None))


def _positions(model: Any, inputs: Any, parsed: Any) -> Any:
    """The matrix of learned positions: another table, of at least a row for each place in the context; or None."""
    from torch import nn

    context = getattr(parsed, "max_position_embeddings", None)
    tables = [module for module in model.modules() if isinstance(module, nn.Embedding) and module is not inputs]
    found = [table.weight for table in tables if context and table.num_embeddings >= context]
    return found[0] if len(found) == 1 else None


def _renaming(model: Any, origin: str) -> Callable[[str], str]:
    """What transformers makes of names in older files. Raises ConfigError where it also joins or cuts tensors."""
    from transformers.conversion_mapping import extract_weight_conversions_for_model
    from transformers.core_model_loading import WeightConverter, WeightRenaming

    conversions = extract_weight_conversions_for_model(model) or []
    if any(isinstance(step, WeightConverter) for step in conversions):
        raise ConfigError(
            f"{origin}: files of a {model.config.model_type} hold other tensors than the model (experts apart that it "
            "joins); this is not supported; choose a model without"
        )
    renamings = [step for step in conversions if isinstance(step, WeightRenaming)]

    def renamed(name: str) -> str:
        for step in renamings:
            name = step.rename_source_key(name)[0]
        return name

    return renamed


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
