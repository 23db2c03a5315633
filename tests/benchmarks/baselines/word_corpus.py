"""Distinct pretokens with their counts under a BPE whose merge list changes: counts of tokens and of pairs stay exact.

A merge is added behind all others, so that the pretokens which hold its pair go on from where they are; when a merge
goes, those which hold its product are encoded again from their bytes. Both give what BPE gives with the new list.
"""

import heapq
from collections.abc import Sequence

import numpy as np

from ivr.encoding.compiler import compiled
from ivr.encoding.hash_table import empty_table, find, insert

from .base_bpe import BaseBpe

NO_RANK = 2**31 - 1


@compiled
def _apply_merges(ids, n, keys, ranks, products):  # type: ignore[no-untyped-def]
    """BPE on ids[:n] in place: as long as a pair has a rank, the lowest one, leftmost first. Returns the new length."""
    while n > 1:
        best = NO_RANK
        for i in range(n - 1):
            slot = find(keys, ranks, (np.int64(ids[i]) << 32) | ids[i + 1])
            if 0 <= slot < best:
                best = slot
                left, right = ids[i], ids[i + 1]
        if best == NO_RANK:
            break
        read = write = 0
        while read < n:
            if read + 1 < n and ids[read] == left and ids[read + 1] == right:
                ids[write] = products[best]
                read += 2
            else:
                ids[write] = ids[read]
                read += 1
            write += 1
        n = write
    return n


@compiled
def _encode_again(words, from_bytes, data, starts, byte_ids, ids, lengths, weights, keys, ranks, products, counts, out):  # type: ignore[no-untyped-def]
    """Encode some words under the current merges; `counts` of tokens follow.

    Writes (pair, change of its count, word where it is new or -1) to `out`; returns how many.
    """
    written = 0
    for word in words:
        begin, n, weight = starts[word], lengths[word], weights[word]
        before = ids[begin : begin + n].copy()
        if from_bytes:
            n = starts[word + 1] - begin
            for i in range(n):
                ids[begin + i] = byte_ids[data[begin + i]]
        n = _apply_merges(ids[begin:], n, keys, ranks, products)
        lengths[word] = n
        for i in range(len(before)):
            counts[before[i]] -= weight
            if i + 1 < len(before):
                out[written, 0] = (np.int64(before[i]) << 32) | before[i + 1]
                out[written, 1] = -weight
                out[written, 2] = -1
                written += 1
        for i in range(n):
            token = ids[begin + i]
            counts[token] += weight
            if i + 1 < n:
                follower = ids[begin + i + 1]
                known = False
                for j in range(len(before) - 1):
                    known |= before[j] == token and before[j + 1] == follower
                out[written, 0] = (np.int64(token) << 32) | follower
                out[written, 1] = weight
                out[written, 2] = -1 if known else word
                written += 1
    return written


class WordCorpus:
    """N words (pretokens) with weights, at first encoded by `base`. Tokens have its ids, new ones the numbers after."""

    def __init__(self, base: BaseBpe, words: Sequence[bytes], weights: np.ndarray, most_new: int) -> None:
        """`most_new`: how many merges may be added."""
        self.base, self.tokens = base, list(base.tokens)
        self.merges: list[tuple[int, int, int] | None] = []  # by rank; None: gone
        num_bytes = np.array([len(word) for word in words], np.int64)
        self._starts = np.concatenate([[0], np.cumsum(num_bytes)])
        self._data = np.frombuffer(b"".join(words), np.uint8)
        self._weights = np.asarray(weights, np.int64)
        most_tokens, most_merges = len(base.tokens) + most_new, len(base.merges) + most_new
        self._keys, self._ranks = empty_table(most_merges)
        self._products = np.zeros(most_merges, np.int64)
        self._ranks_of: dict[int, list[int]] = {}  # product -> ranks
        self._numbers = {token: number for number, token in enumerate(base.tokens) if number not in base.special}
        self.built_from = np.zeros(most_tokens, np.int64)  # merges that a token is a part of
        self.counts = np.zeros(most_tokens, np.int64)  # weighted occurrences
        self.droppable = np.zeros(most_tokens, bool)  # neither a byte nor special nor gone
        self.droppable[[n for n, token in enumerate(base.tokens) if len(token) > 1 and n not in base.special]] = True
        for left, right, product in base.merges:
            self._list(left, right, product)
        self._byte_ids = np.array([self._numbers[bytes([byte])] for byte in range(256)], np.int64)
        self._ids = np.zeros(len(self._data), np.int32)
        self._lengths = np.zeros(len(words), np.int64)
        self._pair_counts: dict[int, int] = {}
        self._pair_words: dict[int, list[np.ndarray]] = {}
        self._heap: list[tuple[int, int]] = []
        self._encode(np.arange(len(words)), from_bytes=True)

    def total(self) -> int:
        """Weighted tokens of all words."""
        return int(self._lengths @ self._weights)

    def ids_of(self, word: int) -> list[int]:
        return self._ids[self._starts[word] : self._starts[word] + self._lengths[word]].tolist()

    def num_tokens_of_words(self) -> np.ndarray:
        return self._lengths.copy()

    def best_pair(self) -> tuple[int, int, int]:
        """(left, right, weighted occurrences) of the most frequent pair, the lowest numbers first; 0 when none is."""
        while self._heap:
            negative, pair = self._heap[0]
            if self._pair_counts.get(pair) == -negative:
                return pair >> 32, pair & 0xFFFFFFFF, -negative
            heapq.heappop(self._heap)
        return -1, -1, 0

    def add_merge(self, left: int, right: int) -> bool:
        """Append a merge. False when its product is a token already: then no new one was made."""
        string = self.tokens[left] + self.tokens[right]
        product = self._numbers.get(string)
        if product is None:
            product = self._numbers[string] = len(self.tokens)
            self.tokens.append(string)
            self.droppable[product] = True
        is_new = not self._ranks_of.get(product)
        self._list(left, right, product)
        words = self._pair_words[(left << 32) | right]
        self._encode(np.unique(np.concatenate(words)), from_bytes=False)
        return is_new

    def rarest_leaf(self) -> int:
        """The token with the fewest occurrences from which no other is built; the last one among equals; -1: none."""
        count = np.where(self.droppable & (self.built_from == 0), self.counts, np.iinfo(np.int64).max)
        last = len(count) - 1 - int(np.argmin(count[::-1]))
        return last if count[last] < np.iinfo(np.int64).max else -1

    def drop(self, token: int) -> None:
        """Take a leaf out of the vocabulary, and its merges out of the list."""
        assert self.droppable[token] and not self.built_from[token]
        self.droppable[token] = False
        del self._numbers[self.tokens[token]]
        for rank in self._ranks_of.pop(token):
            merge = self.merges[rank]
            assert merge is not None
            self.merges[rank] = None
            self.built_from[merge[0]] -= 1
            self.built_from[merge[1]] -= 1
            insert(self._keys, self._ranks, (merge[0] << 32) | merge[1], -1)
        if self.counts[token]:
            used = np.arange(len(self._ids)) < np.repeat(self._starts[:-1] + self._lengths, np.diff(self._starts))
            places = np.flatnonzero((self._ids == token) & used)
            words = np.unique(np.searchsorted(self._starts, places, side="right") - 1)
            self._encode(words, from_bytes=True)
            assert self.counts[token] == 0

    def free_ids(self) -> list[int]:
        """Ids of the base tokenizer whose tokens were dropped, in order."""
        alive = set(self._numbers.values()) | self.base.special
        return [number for number in range(len(self.base.tokens)) if number not in alive]

    def vocabulary(self) -> tuple[list[bytes], list[tuple[int, int, int]]]:
        """(bytes of every id, merges): new tokens have taken the ids of those that were dropped, in order."""
        alive = set(self._numbers.values()) | self.base.special
        size = len(self.base.tokens)
        free = self.free_ids()
        new = [number for number in range(size, len(self.tokens)) if number in alive]
        if len(new) > len(free):
            raise ValueError(f"{len(new)} new tokens for {len(free)} free ids")
        place = {number: number for number in alive} | dict(zip(new, free, strict=False))
        tokens = self.tokens[:size]
        for number, token_id in zip(new, free, strict=False):
            tokens[token_id] = self.tokens[number]
        merges = [(place[x], place[y], place[z]) for x, y, z in (merge for merge in self.merges if merge)]
        return tokens, merges

    def _list(self, left: int, right: int, product: int) -> None:
        rank = len(self.merges)
        self.merges.append((left, right, product))
        self._ranks_of.setdefault(product, []).append(rank)
        self._products[rank] = product
        self.built_from[left] += 1
        self.built_from[right] += 1
        insert(self._keys, self._ranks, (left << 32) | right, rank)

    def _encode(self, words: np.ndarray, from_bytes: bool) -> None:
        room = np.diff(self._starts)[words] if from_bytes else self._lengths[words]
        out = np.empty((int(2 * room.sum()), 3), np.int64)
        written = _encode_again(
            words, from_bytes, self._data, self._starts, self._byte_ids, self._ids, self._lengths, self._weights,
            self._keys, self._ranks, self._products, self.counts, out,
        )  # fmt: skip
        pairs, changes, new_in = out[:written].T
        distinct, inverse = np.unique(pairs, return_inverse=True)
        totals = np.zeros(len(distinct), np.int64)
        np.add.at(totals, inverse, changes)
        counts = self._pair_counts
        for pair, change in zip(distinct[totals != 0].tolist(), totals[totals != 0].tolist(), strict=True):
            count = counts[pair] = counts.get(pair, 0) + change
            if count > 1:  # a pair that occurs once is no use: a merge of it saves one token here, none elsewhere
                heapq.heappush(self._heap, (-count, pair))
        fresh = np.flatnonzero(new_in >= 0)
        fresh = fresh[np.argsort(pairs[fresh], kind="stable")]
        keys, borders = np.unique(pairs[fresh], return_index=True)
        for pair, held in zip(keys.tolist(), np.split(new_in[fresh], borders[1:]), strict=True) if len(keys) else ():
            self._pair_words.setdefault(pair, []).append(held.astype(np.int32))
