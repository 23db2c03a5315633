"""Small byte-level BPEs, drawn by hypothesis or given as merges, and models around them. No torch."""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import Split

from ivr.base.tokenizer import build_tokenizer, byte_alphabet, write_tokenizer
from ivr.base.weights import gpt2_layout
from ivr.encoding.bpe import ByteLevelBpe
from ivr.encoding.byte_alphabet import from_alphabet, to_alphabet
from ivr.tokenizer.scores.merge_counts import Differences
from ivr.tokenizer.scores.merge_weights import token_scores

END = "<|endoftext|>"
Merges = list[tuple[str, str]]


def vocabulary(merges: Merges) -> dict[str, int]:
    """256 bytes, the products in the order of their merges, `<|endoftext|>`."""
    tokens = dict.fromkeys([*byte_alphabet(), *("".join(pair) for pair in merges), END])
    return {token: token_id for token_id, token in enumerate(tokens)}


def bpe_of(merges: Merges) -> Tokenizer:
    """GPT-2's tokenizer with these merges."""
    return build_tokenizer(vocabulary(merges), merges)


@st.composite
def merge_lists(draw: st.DrawFn, letters: str = "abcd", most: int = 40, self_merges: bool = True) -> Merges:
    """Merges over some of the letters, each of parts made before, as a distillation takes them.

    Some products are made by two merges, of which one at most happens.
    """
    tokens = list(letters[: draw(st.integers(2, len(letters)))])
    merges: Merges = []
    for _ in range(draw(st.integers(5, most))):
        left, right = draw(st.sampled_from(tokens)), draw(st.sampled_from(tokens))
        if (left, right) in merges or (left == right and not self_merges) or len(left + right) > 12:
            continue
        again = left + right in tokens
        merges.append((left, right))
        if again and not is_in_order(merges):
            merges.pop()
        elif not again:
            tokens.append(left + right)
    return merges


@st.composite
def any_merge_lists(draw: st.DrawFn, letters: str = "abc", most: int = 25) -> Merges:
    """Whatever the library loads: products made twice, pairs listed twice, merges before those of their parts."""
    merges = draw(merge_lists(letters, most))
    tokens = sorted({*letters_of(merges), *("".join(pair) for pair in merges)})
    for _ in range(draw(st.integers(0, 8))):
        product = draw(st.sampled_from(tokens))
        if len(product) > 1:
            cut = draw(st.integers(1, len(product) - 1))
            if product[:cut] in tokens and product[cut:] in tokens:
                merges.insert(draw(st.integers(0, len(merges))), (product[:cut], product[cut:]))
    if draw(st.booleans()) and len(merges) > 1:
        one, two = draw(st.integers(0, len(merges) - 1)), draw(st.integers(0, len(merges) - 1))
        merges[one], merges[two] = merges[two], merges[one]
    return merges


def is_in_order(merges: Merges) -> bool:
    """Whether BPE goes through the ranks from the lowest to the highest on every product's own string."""
    histories = (bpe_history("".join(pair), merges)[1] for pair in merges)
    return all(ranks == sorted(ranks) for ranks in histories)


def letters_of(merges: Merges) -> str:
    return "".join(sorted(set("".join(itertools.chain.from_iterable(merges))))) or "ab"


def strings_over(letters: str, longest: int) -> Iterator[str]:
    """Every string of 1 to `longest` letters."""
    for length in range(1, longest + 1):
        yield from map("".join, itertools.product(letters, repeat=length))


def naive_bpe(text: str, merges: Sequence[tuple[str, str]]) -> list[str]:
    """BPE as Sennrich et al. describe it: as long as there is one, join the leftmost pair of the lowest rank."""
    return bpe_history(text, merges)[0]


def bpe_history(text: str, merges: Sequence[tuple[str, str]]) -> tuple[list[str], list[int]]:
    """(BPE's tokens, the ranks of the merges as they happened). The library keeps the later rank of a repeated pair."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    symbols, happened = list(text), []
    while True:
        found = [(ranks[pair], place) for place, pair in enumerate(itertools.pairwise(symbols)) if pair in ranks]
        if not found:
            return symbols, happened
        rank, place = min(found)
        symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]
        happened.append(rank)


def write_model_directory(folder: Path, merges: Merges, width: int = 4) -> Path:
    """A GPT-2 model directory of zeros around these merges, as `ivr init --model-name DIR` takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab = vocabulary(merges)
    config = {"model_type": "gpt2", "vocab_size": len(vocab), "n_positions": 32, "n_embd": width}
    config |= {"n_layer": 1, "n_head": 1}
    (folder / "config.json").write_text(json.dumps(config))
    zeros = {name: np.zeros(shape, np.float32) for name, shape in gpt2_layout.shapes(config, "")}
    save_file(zeros, str(folder / "model.safetensors"))
    write_tokenizer(folder, vocab, merges, 32)
    return folder


@st.composite
def any_scores(draw: st.DrawFn, bpe: ByteLevelBpe, *, falling: bool = False) -> np.ndarray:
    """int64 (V), from a weight of 1 to 20 of every merge; `falling` with its rank, as a fit wants them."""
    num_merges = len(bpe.merges_R3)
    weights = draw(st.lists(st.integers(1, 20), min_size=num_merges, max_size=num_merges))
    return token_scores(np.array(sorted(weights, reverse=True) if falling else weights, np.int64), *bpe.derivations())


def named(bpe: ByteLevelBpe, scores_V: np.ndarray) -> dict[str, int]:
    return {token: int(scores_V[token_id]) for token_id, token in enumerate(bpe.tokens) if token_id < bpe.num_ids - 1}


def meets_odd_run(string: str, merges: Merges) -> bool:
    """Whether BPE, rank after rank, meets an odd run of three or more of the token that it joins with itself."""
    symbols = list(string)
    for left, right in merges:
        if left == right and any(
            unit == left and (length := len(list(run))) >= 3 and length % 2 for unit, run in itertools.groupby(symbols)
        ):
            return True
        place = 0
        while place < len(symbols) - 1:
            if (symbols[place], symbols[place + 1]) == (left, right):
                symbols[place : place + 2] = [left + right]
            place += 1
    return False


def one_difference(row: dict[int, int]) -> Differences:
    """As `Constraints.add_all` takes it."""
    ranks = sorted(row)
    return Differences(np.array([0, len(row)]), np.array(ranks), np.array([row[rank] for rank in ranks]))


def pieces(pattern: str, text: str) -> list[str]:
    """What this pattern over the byte alphabet makes of a text, as text."""
    cut = Split(Regex(pattern), "isolated").pre_tokenize_str(to_alphabet(text.encode()))
    return [from_alphabet(piece).decode() for piece, _ in cut]
