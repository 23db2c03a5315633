"""Loading a local causal language model, quietly."""

from pathlib import Path
from typing import Any

from ivr.errors import CorruptInputError


def load_model(model_dir: Path) -> Any:
    """The model in `model_dir` as a transformers model with float32 weights. Raises CorruptInputError."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        first_line = str(error).strip().split("\n")[0]
        raise CorruptInputError(f"{model_dir} cannot be loaded as a model: {first_line}") from None
