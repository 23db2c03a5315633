"""A byte-level BPE tokenizer as arrays, read from a `tokenizers.Tokenizer` and checked.

What the distillation rests on: every id has one string; every token is a byte or the product of a merge; both parts
of a merge are made before it (so a merge's product has a higher rank than anything inside it). Where several merges of
the tokenizer have one product, as in vocabularies that were joined, those that never happen are left out.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from ivr.encoding.byte_alphabet import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE, from_alphabet
from ivr.encoding.merge_order import out_of_order, own_merges
from ivr.errors import ConfigError


@dataclass(frozen=True)
class ByteLevelBpe:
    """V ids, R merges in rank order."""

    tokens: list[str]  # id -> string in the byte alphabet, V
    merges_R3: np.ndarray  # (R, 3) int32: id of the left part, of the right part, of the product; a product stands once
    special_ids: frozenset[int]  # added tokens: never produced from text

    @property
    def num_ids(self) -> int:
        return len(self.tokens)

    def byte_ids(self) -> np.ndarray:
        """The id of each of the 256 bytes, int64 (256,)."""
        places = {token: token_id for token_id, token in enumerate(self.tokens)}
        return np.array([places[BYTE_TO_CHARACTER[byte]] for byte in range(256)], np.int64)

    def token_bytes(self) -> list[bytes]:
        """The bytes of every id; empty for an added token, which no text produces."""
        return [b"" if token_id in self.special_ids else from_alphabet(t) for token_id, t in enumerate(self.tokens)]

    def derivations(self) -> tuple[np.ndarray, np.ndarray]:
        """(starts (V + 1), ranks): `ranks[starts[t]:starts[t + 1]]` is the multiset T(t) of merge ranks in t's tree."""
        return self._derivations

    @cached_property
    def _derivations(self) -> tuple[np.ndarray, np.ndarray]:
        trees: list[list[int]] = [[] for _ in self.tokens]
        merges = [*enumerate(self.merges_R3.tolist())]
        for rank, (left, right, product) in sorted(merges, key=lambda row: len(self.tokens[row[1][2]])):  # parts first
            trees[product] = sorted([*trees[left], *trees[right], rank])
        starts = np.zeros(len(trees) + 1, np.int64)
        np.cumsum([len(tree) for tree in trees], out=starts[1:])
        return starts, np.array([rank for tree in trees for rank in tree], np.int64)


def read_bpe(tokenizer: Tokenizer, in_order: bool = True) -> ByteLevelBpe:
    """Read and check. Raises ConfigError, naming the first offender, for a tokenizer that cannot be distilled.

    `in_order` False: merges may come before those that make their parts; enough to encode, not to distill.
    """
    spec = json.loads(tokenizer.to_str())
    model = spec["model"]
    _check_kind(spec, model)
    vocabulary: dict[str, int] = model["vocab"]
    added = {entry["content"]: entry["id"] for entry in spec["added_tokens"]}
    strings: dict[int, str] = {}
    for token, token_id in [*vocabulary.items(), *added.items()]:
        if strings.setdefault(token_id, token) != token:
            raise ConfigError(f"id {token_id} belongs to two tokens, {strings[token_id]!r} and {token!r}")
    holes = set(range(len(strings))) - set(strings)
    if holes:
        raise ConfigError(f"the ids have holes: id {min(holes)} belongs to no token")
    missing = [character for character in CHARACTER_TO_BYTE if character not in vocabulary]
    if missing:
        raise ConfigError(f"the byte symbol {missing[0]!r} has no id; every byte needs one")
    special_ids = frozenset(added.values())
    tokens = [strings[token_id] for token_id in range(len(strings))]
    merges = _check_merges(model["merges"], vocabulary)
    made_by = own_merges(tokens, merges)
    if in_order and (misplaced := out_of_order(tokens, merges, made_by)):
        rank, part, made = misplaced
        raise ConfigError(
            f"merge {rank} {_pair(tokens, merges[rank])} is out of order: its part {tokens[part]!r} is not made before "
            f"it but by merge {made} {_pair(tokens, merges[made])}; no scores can follow that, so move it behind that "
            "one in the tokenizer's merges, or choose another tokenizer"
        )
    merges = [merge for rank, merge in enumerate(merges) if made_by[merge[2]] == rank]
    products = {product for _, _, product in merges}
    for token_id, token in enumerate(tokens):
        if token_id not in special_ids and token_id not in products and token not in CHARACTER_TO_BYTE:
            raise ConfigError(f"token {token!r} (id {token_id}) is neither a byte nor the product of a merge")
    return ByteLevelBpe(tokens, np.array(merges, np.int32).reshape(-1, 3), special_ids)


def _check_kind(spec: dict[str, Any], model: dict[str, Any]) -> None:
    if model["type"] != "BPE":
        raise ConfigError(f"the tokenizer's model is {model['type']}, not BPE")
    for key in (
        "byte_fallback",
        "ignore_merges",
        "dropout",
        "unk_token",
        "continuing_subword_prefix",
        "end_of_word_suffix",
    ):
        if model.get(key):
            raise ConfigError(f"the BPE model sets {key} = {model[key]!r}; a byte-level BPE without it is needed")
    if spec["normalizer"] is not None:
        raise ConfigError(f"the tokenizer has a normalizer ({spec['normalizer']['type']}); none is supported")


def _check_merges(merges: list[Any], vocabulary: dict[str, int]) -> list[tuple[int, int, int]]:
    """Merges as ids. Refuses one of which a part is never made, or whose part or product has no id."""
    pairs = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in merges]
    made = {*CHARACTER_TO_BYTE, *(left + right for left, right in pairs)}
    checked = []
    for rank, (left, right) in enumerate(pairs):
        for part in (left, right):
            if part not in made or part not in vocabulary:
                told = f"its part {part!r} is neither a byte nor the product of a merge"
                raise ConfigError(f"merge {rank} ({left!r}, {right!r}): {told}")
        product = left + right
        if product not in vocabulary:
            raise ConfigError(f"merge {rank} ({left!r}, {right!r}): its product {product!r} is not in the vocabulary")
        checked.append((vocabulary[left], vocabulary[right], vocabulary[product]))
    return checked


def _pair(tokens: list[str], merge: tuple[int, int, int]) -> str:
    left, right, _ = merge
    return f"({tokens[left]!r}, {tokens[right]!r})"
