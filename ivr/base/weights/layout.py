"""What the weights of a model are by its config: the name and shape of every tensor, and which are rows of tokens.

Nothing is known of architectures here but GPT-2's, which is written down so that `ivr init` takes it without loading
PyTorch. Of every other one transformers is asked: it builds the model without values, and that says where the input
embeddings are, where the output embeddings, and whether they are one matrix.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# what training wrappers put into names: torch.compile and FSDP anywhere, data parallelism and trainers in front
WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
LEADING_WRAPPERS = ("module", "model")
LONGEST_CONTEXT = 2048  # tokens read at once unless more are asked for: models state up to a million


@dataclass(frozen=True)
class Layout:
    """The tensors of one config. Bare names lack what wrappers and transformers put in front ("wte.weight").

    kind: its model_type.
    shapes: bare name -> shape of every tensor that is stored; a head that is tied to the input embeddings is not.
    prefix: what transformers puts before the bare names of all but the head, "transformer" for GPT-2.
    prefixed: the bare names that have it.
    tied: bare name of a tensor that need not be stored -> bare name of the one that it is.
    input, output, output_bias, positions: bare names of the token rows, of the head's where it is not tied, of its bias
    and of learned positions; None for what the model does not have.
    rows: of the token matrices (vocab_size). context: the longest text it was made for, in tokens; None: not stated.
    stated_as: what the config calls hidden_size and the like where it has another name for it.
    renamed: gives the present name of a tensor for one that transformers renames when it loads.
    """

    kind: str
    shapes: Mapping[str, tuple[int, ...]]
    prefix: str
    prefixed: frozenset[str]
    tied: Mapping[str, str]
    input: str
    output: str | None
    output_bias: str | None
    positions: str | None
    rows: int
    context: int | None
    stated_as: Mapping[str, str]
    renamed: Callable[[str], str]

    def bare(self, stored: str) -> str:
        """The bare name of a tensor in a file, such as wte.weight of _orig_mod.transformer.wte.weight."""
        name = self._without_leading(".".join(part for part in stored.split(".") if part not in WRAPPERS))
        return self._without_leading(self.renamed(name))

    def _without_leading(self, name: str) -> str:
        leading = tuple(f"{part}." for part in (*LEADING_WRAPPERS, self.prefix) if part)
        while name.startswith(leading):
            name = name.partition(".")[2]
        return name

    def saved(self, bare: str) -> str:
        """The name that transformers knows it by, such as transformer.wte.weight; of what it does not know as well."""
        if bare in self.shapes or bare in self.tied:
            return f"{self.prefix}.{bare}" if bare in self.prefixed else bare
        inside = {name.partition(".")[0] for name in self.prefixed}
        return f"{self.prefix}.{bare}" if self.prefix and bare.partition(".")[0] in inside else bare

    def loads_as(self, stored: str) -> bool:
        """Whether transformers finds the tensor by this name: with its prefix, without, or by a name it renames."""
        bare = self.bare(stored)
        return self.renamed(stored) in (bare, self.saved(bare))

    def said(self, name: str) -> str:
        """What the model's config.json calls a size that transformers calls `name`: n_positions in GPT-2's."""
        return self.stated_as.get(name, name)


def layout_of(config: Mapping[str, Any], origin: str) -> Layout:
    """The layout by a config.json. Raises ConfigError, naming `origin`, for what is no causal language model."""
    return _layout(json.dumps(config, sort_keys=True), origin)


def usable_context(stated: int | None) -> int:
    """Tokens that stages read at once of a model that states this context (or none): at most LONGEST_CONTEXT.

    >>> usable_context(1024), usable_context(131072)
    (1024, 2048)
    """
    return min(stated or LONGEST_CONTEXT, LONGEST_CONTEXT)


@lru_cache(maxsize=16)
def _layout(config: str, origin: str) -> Layout:
    value = json.loads(config)
    if value.get("model_type") == "gpt2":
        from ivr.base.weights.gpt2_layout import gpt2_layout

        return gpt2_layout(value, origin)
    from ivr.base.weights.transformers_layout import transformers_layout

    return transformers_layout(value, origin)
