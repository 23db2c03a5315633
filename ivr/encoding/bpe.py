"""A byte-level BPE tokenizer as arrays, read from its tokenizer.json and checked.

What the distillation rests on: every id has one string; every token that a text can give is a byte or the product of
one merge; both parts of a merge are made before it (so a merge's product has a higher rank than anything inside it).
A few merges that the library applies before their parts are made are moved behind these here; where the model takes
pretokens that are tokens whole, some tokens may be given in this way alone.
Merges that never happen are left out: of parts that nothing makes, and of several with one product, as in vocabularies
that were joined, all but one.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ivr.encoding.byte_alphabet import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE, from_alphabet
from ivr.encoding.merge_order import made_of_itself, out_of_order, own_merges, parts_first
from ivr.encoding.text.missing_bytes import check_missing, missing_bytes
from ivr.encoding.text.normalizing import check_normalizer
from ivr.errors import ConfigError

NO_ID = -1
MOST_MOVED = 0.001  # of the merges: so few that come before their parts are named by the certificate where they matter


class Tokenizer(Protocol):
    """What is asked of a `tokenizers.Tokenizer` here: its file."""

    def to_str(self, pretty: bool = False) -> str: ...


@dataclass(frozen=True)
class ByteLevelBpe:
    """V ids, R merges in rank order."""

    tokens: list[str]  # id -> string, V; in the byte alphabet for all but unmade ids
    merges_R3: np.ndarray  # (R, 3) int32: id of the left part, of the right part, of the product; a product stands once
    unmade_ids: frozenset[int]  # neither a byte nor the product of a merge: the model gives them for no text
    missing: frozenset[int] = frozenset()  # bytes that text can hold and that have no id: the library drops them
    applied_R: np.ndarray | None = None  # int64: each merge's rank in the library, where that is another order
    whole_ids: frozenset[int] = frozenset()  # of the unmade: given for a pretoken that is the token, and nowhere else

    @property
    def num_ids(self) -> int:
        """V, with the ids of added tokens."""
        return len(self.tokens)

    def byte_ids(self) -> np.ndarray:
        """The id of each of the 256 bytes, int64 (256,); NO_ID where the vocabulary lacks it."""
        places = {token: i for i, token in enumerate(self.tokens) if i not in self.unmade_ids}
        return np.array([places.get(BYTE_TO_CHARACTER[byte], NO_ID) for byte in range(256)], np.int64)

    def token_bytes(self) -> list[bytes]:
        """The bytes of every id; empty for an unmade one, which the model gives for no text."""
        return [b"" if token_id in self.unmade_ids else from_alphabet(t) for token_id, t in enumerate(self.tokens)]

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

    >>> from tokenizers import Tokenizer as Library, models, pre_tokenizers
    >>> symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    >>> vocabulary = {token: number for number, token in enumerate([*symbols, "ab", "abc"])}
    >>> bpe = read_bpe(Library(models.BPE(vocabulary, [("a", "b"), ("ab", "c")])))
    >>> bpe.num_ids, bpe.token_bytes()[256:], [[bpe.tokens[i] for i in merge] for merge in bpe.merges_R3.tolist()]
    (258, [b'ab', b'abc'], [['a', 'b', 'ab'], ['ab', 'c', 'abc']])

    `in_order` False: any number of merges may come before those that make their parts; enough to encode alone.
    """
    return bpe_of_spec(json.loads(tokenizer.to_str()), in_order)


def bpe_of_spec(spec: dict[str, Any], in_order: bool = True) -> ByteLevelBpe:
    """The same from the value of a tokenizer.json, which the library need not be able to load."""
    model = spec["model"]
    _check_kind(spec, model)
    vocabulary: dict[str, int] = model["vocab"]
    added = _check_added(spec.get("added_tokens") or (), vocabulary)
    strings: dict[int, str] = {}
    for token, token_id in [*vocabulary.items(), *added.items()]:
        if strings.setdefault(token_id, token) != token:
            raise ConfigError(
                f"id {token_id} belongs to two tokens, {strings[token_id]!r} and {token!r}; take one out of model.vocab"
            )
    holes = set(range(len(strings))) - set(strings)
    if holes:
        raise ConfigError(
            f"the ids have holes: id {min(holes)} belongs to no token; give it one in model.vocab, such as "
            f"'<unused{min(holes)}>'"
        )
    check_missing(spec, missing := missing_bytes(vocabulary))
    tokens = [strings[token_id] for token_id in range(len(strings))]
    merges = _check_merges(model["merges"], vocabulary)
    made_by = own_merges(tokens, [merge for _, merge in merges])
    misplaced = out_of_order(tokens, [merge for _, merge in merges], made_by)
    if in_order and len(misplaced) > MOST_MOVED * len(merges):
        rank, part, made = misplaced[0]
        raise ConfigError(
            f"merge {_told(tokens, merges[rank])} is out of order: its part {tokens[part]!r} is not made before it but "
            f"by merge {_told(tokens, merges[made])}, and {len(misplaced) - 1:,} others are; no scores can follow "
            "that, so move each behind that one in model.merges, or choose another tokenizer"
        )
    whole_ids: frozenset[int] = frozenset()
    if model.get("ignore_merges"):
        taken_whole = set(vocabulary.values()) - {added[content] for content in added if _is_split(spec, content)}
        whole_ids = frozenset(taken_whole - made_of_itself(tokens, [merge for _, merge in merges]))
    happening = [
        merge for place, (_, merge) in enumerate(merges) if made_by[merge[2]] == place and whole_ids.isdisjoint(merge)
    ]
    products = {product for _, _, product in happening}
    bytes_ids = {vocabulary[character] for character in CHARACTER_TO_BYTE if character in vocabulary}
    unmade_ids = frozenset(range(len(tokens))) - products - bytes_ids
    merges_R3 = np.array(happening, np.int32).reshape(-1, 3)
    applied_R = None
    if misplaced and in_order:
        applied_R = np.array(parts_first(happening), np.int64)
        merges_R3 = merges_R3[applied_R]
    return ByteLevelBpe(tokens, merges_R3, unmade_ids, missing, applied_R, whole_ids)


def _is_split(spec: dict[str, Any], content: str) -> bool:
    """Whether this text is several pretokens, so that the model never sees it at once."""
    import tokenizers

    empty = {"type": "BPE", "vocab": {}, "merges": []}
    alone = {**spec, "model": empty, "added_tokens": [], "post_processor": None, "decoder": None}
    return len(tokenizers.Tokenizer.from_str(json.dumps(alone)).pre_tokenizer.pre_tokenize_str(content)) > 1


def _check_kind(spec: dict[str, Any], model: dict[str, Any]) -> None:
    kind = model.get("type", "BPE" if "merges" in model else None)
    if kind != "BPE":
        raise ConfigError(f"the tokenizer's model is {kind}, not BPE")
    if model.get("dropout"):
        raise ConfigError(
            f"the BPE model sets dropout = {model['dropout']!r}: it leaves merges out at random, so nothing can give "
            "the same ids; set model.dropout to null"
        )
    # harmless where every byte has an id: unk_token, fuse_unk and byte_fallback, which are for symbols that have none
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise ConfigError(
                f"the BPE model sets {key} = {model[key]!r}, which changes what merges give; a byte-level BPE without "
                f"it is needed (set model.{key} to null if the model was trained without)"
            )
    check_normalizer(spec)


def _check_added(entries: Any, vocabulary: dict[str, int]) -> dict[str, int]:
    """content -> id of every added token. Refuses an id that the library would not give it."""
    added: dict[str, int] = {}
    following = len(vocabulary)
    for entry in entries:
        content, stated = entry["content"], entry["id"]
        if not content:
            raise ConfigError(f"the added token with id {stated} is an empty string; take it out of added_tokens")
        given = vocabulary.get(content, added.get(content, following))
        if given != stated:
            raise ConfigError(
                f"the added token {content!r} says id {stated}, but the `tokenizers` library gives it {given}: ids of "
                "added tokens are those of the vocabulary, or follow it without gaps in the order of the list; "
                "correct added_tokens"
            )
        following += content not in vocabulary and content not in added
        added[content] = given
    return added


def _check_merges(merges: list[Any], vocabulary: dict[str, int]) -> list[tuple[int, tuple[int, int, int]]]:
    """(rank, merge as ids) of those whose parts are made by some merges or are bytes: others meet no such part.

    Refuses a merge that is not two tokens, or whose part or product has no id.
    """
    pairs = []
    for rank, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if len(pair) != 2:
            raise ConfigError(f"merge {rank} ({merge!r}) is not two tokens; take it out of model.merges")
        left, right = pair
        for what, token in (("part", left), ("part", right), ("product", left + right)):
            if token not in vocabulary:
                raise ConfigError(
                    f"merge {rank} ({left!r}, {right!r}): its {what} {token!r} is not in the vocabulary; take the "
                    f"merge out of model.merges, or add {token!r} to model.vocab"
                )
        pairs.append((rank, left, right))
    made = _makeable(pairs, {token for token in vocabulary if token in CHARACTER_TO_BYTE})
    return [
        (rank, (vocabulary[left], vocabulary[right], vocabulary[left + right]))
        for rank, left, right in pairs
        if left in made and right in made
    ]


def _makeable(pairs: list[tuple[int, str, str]], symbols: set[str]) -> set[str]:
    """The tokens that some chain of these merges, in whatever order, makes of `symbols`."""
    made, waiting = set(symbols), pairs
    while True:
        left_over = []
        for rank, left, right in waiting:
            if left in made and right in made:
                made.add(left + right)
            else:
                left_over.append((rank, left, right))
        if len(left_over) == len(waiting):
            return made
        waiting = left_over


def _told(tokens: list[str], merge: tuple[int, tuple[int, int, int]]) -> str:
    rank, (left, right, _) = merge
    return f"{rank} ({tokens[left]!r}, {tokens[right]!r})"
