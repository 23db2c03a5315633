"""A local causal language model: loading it, quietly, and trading its speed for memory."""

from pathlib import Path
from typing import Any

from ivr.base.weights.layout import usable_context
from ivr.errors import CorruptInputError


def load_model(model_dir: Path) -> Any:
    """The model in `model_dir` as a transformers model with float32 weights; no code of its own is run.

    Raises CorruptInputError, also where weights are missing: transformers would draw them at random, and go on.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            model_dir, dtype=torch.float32, local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        first_line = str(error).strip().split("\n")[0]
        raise CorruptInputError(f"{model_dir} cannot be loaded as a model: {first_line}") from None
    missing = sorted(set(loading["missing_keys"]) - set(getattr(model, "all_tied_weights_keys", ())))
    if missing:
        raise CorruptInputError(
            f"{model_dir} lacks {missing[0]} by the name that transformers knows ({len(missing)} tensors in all); "
            "bring the whole model, or take it in with `ivr init --model-name`, which mends names like _orig_mod.NAME"
        )
    return model


def context_of(model: Any) -> int:
    """Tokens read at once: the model's context, but at most what `usable_context` gives where it is longer."""
    stated = getattr(model.config, "max_position_embeddings", None)
    return usable_context(stated if isinstance(stated, int) and stated > 0 else None)


def recompute_activations(model: Any) -> None:
    """Keep no activations inside a layer for the backward pass (Chen et al. 2016)."""
    how = {"use_reentrant": False}  # the other way knows no frozen weights
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=how)
    else:  # transformers before it got that name
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)
