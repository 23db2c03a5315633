"""Which row of the base model's matrix belongs at which id of the remapped tokenizer.

A token that both tokenizers know keeps its row, wherever its id is now; with in-place swaps that is the same id.
A token that only the remapped one knows has no row yet: it carries, until it is initialised, the row of the token
that left its id.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ivr.errors import StaleInputError
from ivr.tokenizer.remap.rules import Swap


def row_sources(
    original: Mapping[str, int], remapped: Mapping[str, int], swaps: Sequence[Swap], num_rows: int
) -> tuple[np.ndarray, list[int]]:
    """(source_V: the base row to put at each id; the ids whose token is new, sorted).

    `original`, `remapped`: token string -> id. Rows at ids without a token (padding) stay where they are.
    Raises StaleInputError where the two vocabularies differ in anything but what the rules say.

    >>> row_sources({"a": 0, "b": 1}, {"a": 0, "c": 1}, [Swap(1, "b", "c", (0,), 7)], 3)
    (array([0, 1, 2]), [1])
    """
    by_id = {swap.id: swap for swap in swaps}
    original_by_id = {token_id: token for token, token_id in original.items()}
    source_V = np.arange(num_rows)
    new_ids = []
    for token, token_id in sorted(remapped.items(), key=lambda item: item[1]):
        before = original_by_id.get(token_id)
        if token == before:
            continue
        swap = by_id.get(token_id)
        if swap is None or (swap.old, swap.new) != (before, token):
            raise StaleInputError(
                f"id {token_id} is {before!r} in the original tokenizer and {token!r} in the remapped one, "
                f"and the rules say {(swap.old, swap.new) if swap else 'nothing of it'}; run `ivr remap` again"
            )
        if token in original:
            source_V[token_id] = original[token]
        else:
            new_ids.append(token_id)
    unused = sorted(set(by_id) - {i for t, i in remapped.items() if original_by_id.get(i) != t})
    if unused or len(original) != len(remapped):
        raise StaleInputError(
            f"the remapped tokenizer has {len(remapped)} tokens, the original {len(original)}, and "
            f"{len(unused)} of {len(swaps)} rules are not carried out in it"
            + (f" (the first: id {unused[0]})" if unused else "")
            + "; run `ivr remap` again"
        )
    return source_V, new_ids


def reorder_rows(input_VD: torch.Tensor, source_V: np.ndarray) -> torch.Tensor:
    """A new matrix whose row i is row source_V[i] of `input_VD`; same dtype, bit for bit."""
    return input_VD[torch.from_numpy(source_V)].contiguous()
