"""The transformer of a GPT-2 without its embedding matrix: frozen, in float32, fed with rows instead of ids.

A model and a matrix under trial need not both be held as models: token rows go in, final hidden states come out, and
logits are taken against whichever matrix is asked about. Float32 tensors of the checkpoint are used where they lie.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ivr.embedding.weights import EmbeddingNames
from ivr.errors import CorruptInputError

PREFIX = "transformer."


class Body:
    """`hidden(rows_BTD)` are the states after the last LayerNorm, (B, T, D), to which the head is applied."""

    def __init__(
        self, config: dict[str, Any], state: dict[str, torch.Tensor], names: EmbeddingNames, device: str = "cpu"
    ) -> None:
        from transformers import GPT2Config, GPT2Model
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.device = torch.device(device)
        # one row of vocabulary: ids are never looked up
        small = GPT2Config.from_dict(config | {"vocab_size": 1, "bos_token_id": 0, "eos_token_id": 0})
        self.context = int(small.n_positions)
        with torch.device("meta"):
            model = GPT2Model(small)
        tensors = {
            name.removeprefix(PREFIX): value.detach().to(self.device, torch.float32)
            for name, value in state.items()
            if name not in (names.wte, names.head, "lm_head.weight")
        }
        tensors["wte.weight"] = torch.zeros(1, int(small.n_embd), device=self.device)
        wanted = set(model.state_dict())
        missing = sorted(wanted - set(tensors))
        if missing:
            raise CorruptInputError(f"the base model's weights lack {missing[0]} ({len(missing)} missing in all)")
        model.load_state_dict({name: tensors[name] for name in wanted}, strict=True, assign=True)
        left = [name for name, buffer in model.named_buffers() if buffer.is_meta]
        if left:
            raise CorruptInputError(f"this version of transformers keeps a buffer that is in no checkpoint: {left[0]}")
        self.model = model.eval().requires_grad_(False)

    def hidden(self, rows_BTD: torch.Tensor) -> torch.Tensor:
        """Padding stands on the right, where a causal model does not see it."""
        states: torch.Tensor = self.model(inputs_embeds=rows_BTD, use_cache=False).last_hidden_state
        return states


@contextmanager
def one_way(threads: int, seed: int = 0) -> Iterator[None]:
    """Deterministic kernels, a fixed number of CPU threads and a seed; puts back what was set before."""
    previous = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(previous[0])
        torch.use_deterministic_algorithms(previous[1])
