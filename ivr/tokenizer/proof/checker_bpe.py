"""BPE as it is written down, pair after pair over a list, for the checker of proofs. No code of the fit is in it."""

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np

from ivr.encoding.compiler import compiled

Pair = tuple[bytes, bytes]


class MergeTable(NamedTuple):
    """Merges and tokens by number."""

    data: np.ndarray  # the bytes of all tokens, each as the number of its own token
    starts: np.ndarray  # where each token begins in `data`
    ranks: numba.typed.Dict  # left * num_ids + right -> rank
    products: np.ndarray  # by rank
    num_ids: int


@compiled
def _bpe(symbols, n, table):  # type: ignore[no-untyped-def]
    """BPE as it is written down, in place: of all pairs the leftmost one of lowest rank, again and again.

    Returns (number of tokens, whether a merge of a token with itself met an odd run of three or more, whether the ranks
    went from the lowest to the highest).
    """
    ranks, products, num_ids = table.ranks, table.products, table.num_ids
    odd = False
    in_order = True
    rank = 0
    while True:
        lowest = -1
        place = 0
        for i in range(n - 1):
            pair = symbols[i] * num_ids + symbols[i + 1]
            if pair in ranks and (lowest < 0 or ranks[pair] < lowest):
                lowest = ranks[pair]
                place = i
        if lowest < 0:
            return n, odd, in_order
        in_order = in_order and lowest >= rank
        rank = lowest
        if symbols[place] == symbols[place + 1]:
            run = 0
            for i in range(n + 1):
                if i < n and symbols[i] == symbols[place]:
                    run += 1
                else:
                    odd = odd or (run >= 3 and run % 2 == 1)
                    run = 0
        symbols[place] = products[lowest]
        for i in range(place + 1, n - 1):
            symbols[i] = symbols[i + 1]
        n -= 1


@compiled
def _side_by_side(tokens, table):  # type: ignore[no-untyped-def]
    """Whether BPE returns these tokens for their joint string, without an odd run."""
    size = 0
    for token in tokens:
        size += table.starts[token + 1] - table.starts[token]
    symbols = np.empty(size, np.int64)
    size = 0
    for token in tokens:
        for place in range(table.starts[token], table.starts[token + 1]):
            symbols[size] = table.data[place]
            size += 1
    size, odd, _ = _bpe(symbols, size, table)
    return not odd and size == len(tokens) and (symbols[:size] == tokens).all()


@compiled
def _first_violation(values, before, middle, after, bounds, table):  # type: ignore[no-untyped-def]
    """(place in `after`, in `before`) of the first crossing that passes its bound, or (-1, -1). `values` fall."""
    chain = np.empty(len(middle) + 2, np.int64)
    chain[1:-1] = middle
    for p in range(len(after)):
        for p0 in range(len(values)):
            if values[p0] <= bounds[p]:
                break
            chain[0] = before[p0]
            chain[-1] = after[p]
            if _side_by_side(chain, table):
                return p, p0
    return -1, -1


class PlainBpe:
    """BPE over the tokens of a Unigram model, by number."""

    def __init__(self, merges: Sequence[Pair], tokens: Sequence[bytes]) -> None:
        self.tokens = list(tokens)
        self.numbers = {token: number for number, token in enumerate(tokens)}
        # a string is kept as the numbers of its bytes
        self._bytes = [self.numbers.get(bytes([byte]), -1) for byte in range(256)]  # what UTF-8 never has may lack
        ranks = numba.typed.Dict.empty(numba.int64, numba.int64)
        for rank, (left, right) in enumerate(merges):
            ranks[self.numbers[left] * len(tokens) + self.numbers[right]] = rank  # of a pair listed twice the later
        self._table = MergeTable(
            data=np.array([self._bytes[byte] for token in tokens for byte in token], np.int64),
            starts=np.cumsum([0, *(len(token) for token in tokens)]),
            ranks=ranks,
            products=np.array([self.numbers[left + right] for left, right in merges], np.int64),
            num_ids=len(tokens),
        )

    def __call__(self, string: bytes) -> tuple[list[int], bool]:
        """(the tokens, whether an odd run was met)."""
        tokens, odd, _ = self._apply(string)
        return tokens, odd

    def goes_in_order(self, string: bytes) -> bool:
        """Whether no merge happens after one of higher rank."""
        return self._apply(string)[2]

    def _apply(self, string: bytes) -> tuple[list[int], bool, bool]:
        symbols = np.array([self._bytes[byte] for byte in string], np.int64)
        size, odd, in_order = _bpe(symbols, len(symbols), self._table)
        return symbols[:size].tolist(), odd, in_order

    def violation(
        self, values: np.ndarray, before: np.ndarray, middle: Sequence[int], after: np.ndarray, bounds: np.ndarray
    ) -> tuple[int, int]:
        """See `_first_violation`."""
        chain = np.array(middle, np.int64)
        found: tuple[int, int] = _first_violation(values, before, chain, after, bounds, self._table)
        return found
