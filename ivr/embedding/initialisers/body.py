"""A language model without its embedding matrices: frozen, in float32, fed with rows instead of ids.

A model and a matrix under trial need not both be held as models: token rows go in, final hidden states come out, and
logits are taken against whichever matrix is asked about. Float32 tensors of the checkpoint are used where they lie.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ivr.base.weights.layout import layout_of, usable_context
from ivr.base.weights.transformers_layout import empty_model, parse_config
from ivr.embedding.weights import EmbeddingNames
from ivr.errors import CorruptInputError


class Body:
    """`hidden(rows_BTD)` are the states that the head is applied to, (B, T, D)."""

    def __init__(
        self, config: dict[str, Any], state: dict[str, torch.Tensor], names: EmbeddingNames, device: str = "cpu"
    ) -> None:
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.device = torch.device(device)
        layout = layout_of(config, "config.json")
        self.context = usable_context(layout.context)
        model = empty_model(parse_config(config, "config.json"), "config.json")
        left_out = (names.input, names.output, names.output_bias)
        tensors = {
            layout.saved(layout.bare(name)): value.detach().to(self.device, torch.float32)
            for name, value in state.items()
            if name not in left_out
        }
        # ids are never looked up, and logits are taken elsewhere
        width = model.get_input_embeddings().weight.shape[1]
        model.set_input_embeddings(torch.nn.Embedding(1, width))
        model.set_output_embeddings(torch.nn.Identity())
        wanted = {name for name, _ in model.named_parameters()} - {layout.saved(layout.input)}
        wanted |= {name for name in model.state_dict() if name in tensors}
        missing = sorted(wanted - set(tensors))
        if missing:
            raise CorruptInputError(f"the base model's weights lack {missing[0]} ({len(missing)} missing in all)")
        model.load_state_dict({name: tensors[name] for name in wanted}, strict=False, assign=True)
        self.model = model.to(self.device).eval().requires_grad_(False)

    def hidden(self, rows_BTD: torch.Tensor) -> torch.Tensor:
        """Padding stands on the right, where a causal model does not see it."""
        states: torch.Tensor = self.model(inputs_embeds=rows_BTD, use_cache=False).logits
        return states


def with_bias(head_VD: torch.Tensor, bias_V: torch.Tensor | None) -> torch.Tensor:
    """A head whose bias is its last column, (V, D + 1); the head itself where it has none."""
    return head_VD if bias_V is None else torch.cat([head_VD, bias_V[:, None].to(head_VD.dtype)], dim=1)


def for_head(states_ND: torch.Tensor, width: int) -> torch.Tensor:
    """States to multiply with the rows of a head of that width: a one more where its last column is a bias."""
    if width == states_ND.shape[-1]:
        return states_ND
    return torch.cat([states_ND, states_ND.new_ones(*states_ND.shape[:-1], 1)], dim=-1)


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
