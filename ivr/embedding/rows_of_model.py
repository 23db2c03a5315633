"""The rows of tokens in a base model, and where they go under the remapped tokenizer: what `align` works on."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ivr.base.weights.layout import layout_of
from ivr.embedding.extract import save_tensor
from ivr.embedding.initialisers.body import with_bias
from ivr.embedding.reorder import reorder_rows, row_sources
from ivr.embedding.vocabularies import check_pieces, check_sizes, vocabularies
from ivr.embedding.weights import EmbeddingNames, embedding_names, read_config, read_state
from ivr.errors import ConfigError, CorruptInputError

if TYPE_CHECKING:
    from ivr.tokenizer.remap.rules import RemapRules


@dataclass(frozen=True)
class ModelRows:
    """A base model's tensors, and which of its rows are moved or made anew.

    matrices: by role, base rows by ORIGINAL id: {"both": (V, D)} where the head is tied, else {"input", "output"}; a
    head's bias is the last column of its matrix. source_V: the base row of each remapped id. new_ids: ids whose token
    is new, sorted. kept_ids: the other ids of tokens, so not the padding rows beyond them.
    """

    config: dict[str, Any]
    state: dict[str, torch.Tensor]
    names: EmbeddingNames
    base_name: str
    matrices: dict[str, torch.Tensor]
    source_V: np.ndarray
    new_ids: list[int]
    kept_ids: list[int]

    def reordered(self) -> list[torch.Tensor]:
        """Copies of the matrices by remapped id; a new token's row is, until it is made, that of the token before."""
        return [reorder_rows(matrix_VD, self.source_V) for matrix_VD in self.matrices.values()]

    def state_with(self, aligned: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        """All tensors of the model with these matrices in place of its own."""
        changed = {self.names.input: aligned[0]}
        if self.names.output is not None:
            width = self.state[self.names.output].shape[1]
            changed[self.names.output] = aligned[1][:, :width].contiguous()
        if self.names.output_bias is not None:
            bias_V = aligned[1][:, -1]
            changed[self.names.output_bias] = bias_V.to(self.state[self.names.output_bias].dtype).contiguous()
        return self.state | changed

    def save_originals(self, folder: Path) -> list[Path]:
        """original_wte.pt and, of a model with learned positions, original_wpe.pt and the same as aligned_wpe.pt."""
        found = save_tensor(folder / "original_wte.pt", self.state[self.names.input], self._source(self.names.input))
        if self.names.positions is not None:
            # positions have nothing to do with tokens: the aligned matrix is the original one
            for name in ("original_wpe.pt", "aligned_wpe.pt"):
                positions_CD = self.state[self.names.positions]
                found += save_tensor(folder / name, positions_CD, self._source(self.names.positions))
        return found

    def save_reordered(self, folder: Path, aligned_VD: torch.Tensor) -> list[Path]:
        """aligned_wte.pt: the input embeddings reordered, before new rows are made."""
        carried = {"replaced_ids": self.new_ids, "rows_at_replaced_ids": "carried from the old token"}
        return save_tensor(folder / "aligned_wte.pt", aligned_VD, self._source(self.names.input) | carried)

    def save_final(self, folder: Path, final_VD: torch.Tensor, **made: Any) -> list[Path]:
        """final_wte.pt: the input embeddings with their new rows; `made`: how."""
        facts = self._source(self.names.input) | {"replaced_ids": self.new_ids} | made
        return save_tensor(folder / "final_wte.pt", final_VD, facts)

    def facts(self) -> dict[str, Any]:
        """Figures for the manifest."""
        input_VD = self.state[self.names.input]
        return {
            "rows": input_VD.shape[0],
            "width": input_VD.shape[1],
            "dtype": str(input_VD.dtype).removeprefix("torch."),
            "head": "tied" if self.names.output is None else "untied",
            "positions": "computed" if self.names.positions is None else "learned",
        }

    def _source(self, name: str) -> dict[str, Any]:
        return {"source": f"{name} of {self.base_name}"}


def read_rows(
    base_dir: Path, original_dir: Path, remapped_dir: Path, rules: "RemapRules", untie: bool = False
) -> ModelRows:
    """Read the base model and see that rules, tokenizers and matrices belong together; raises an IvrError otherwise.

    With `untie` a tied head becomes a matrix of its own, in config and tensors.
    """
    original, remapped = vocabularies(original_dir, remapped_dir, rules)
    config, state = read_config(base_dir), read_state(base_dir)
    if untie:
        config, state = untied(config, state, str(base_dir))
    names = embedding_names(state, layout_of(config, str(base_dir)))
    input_VD = state[names.input]
    check_sizes(input_VD, original, base_dir, original_dir)
    bias_V = None if names.output_bias is None else state[names.output_bias]
    matrices = {"both": input_VD}
    if names.output is not None:
        matrices = {"input": input_VD, "output": with_bias(state[names.output], bias_V)}
    for role, matrix_VD in matrices.items():
        _check_numbers(matrix_VD, "output embeddings" if role == "output" else "embeddings", base_dir)
    swaps = sorted(rules.swaps, key=lambda swap: swap.id)
    source_V, new_ids = row_sources(original, remapped, swaps, len(input_VD))
    check_pieces(new_ids, {swap.id: list(swap.pieces) for swap in swaps}, len(input_VD))
    kept_ids = sorted(set(remapped.values()) - set(new_ids))
    return ModelRows(config, state, names, base_dir.name, matrices, source_V, new_ids, kept_ids)


def _check_numbers(matrix_VD: torch.Tensor, what: str, base_dir: Path) -> None:
    """Raises CorruptInputError for NaN or infinity: every row that is made of others would become that too."""
    odd_V = ~torch.isfinite(matrix_VD).all(dim=1)
    if odd_V.any():
        raise CorruptInputError(
            f"{base_dir}: {int(odd_V.sum()):,} of {len(odd_V):,} rows of its {what} hold NaN or infinity, the first of "
            f"id {int(odd_V.nonzero()[0])}; the weights are damaged: fetch the model again"
        )


def untied(
    config: dict[str, Any], state: dict[str, torch.Tensor], origin: str
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The same model with output embeddings of its own, equal to its input embeddings; as it is where it has such.

    Raises ConfigError, naming `origin`, for a model that cannot have them.
    """
    tied = layout_of(config, origin)
    if tied.output is not None:
        return config, state
    config = config | {"tie_word_embeddings": False}
    layout = layout_of(config, origin)
    if layout.output is None:
        raise ConfigError(f"{origin}: a {layout.kind} has no output embeddings of its own; leave out --untie-head")
    return config, state | {layout.saved(layout.output): state[embedding_names(state, tied).input]}
