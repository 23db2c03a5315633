"""Which blocks a step reads: a seeded order of the domain's, with general text mixed in at an even rate.

Position p of the endless sequence of blocks is general text when floor((p + 1) r) > floor(p r), r the share of replay.
So what stands at p depends on the corpora, the seed and p alone: resuming at the exact sample needs no state.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from ivr.corpus.packing import TokenStream
from ivr.errors import ConfigError

DOMAIN, REPLAY = 0, 1  # streams of random numbers


@dataclass(frozen=True)
class Feed:
    """The training text of a run. ratio: share of the blocks that `replay` gives; 0 without it."""

    domain: TokenStream
    replay: TokenStream | None = None
    ratio: Fraction = Fraction(0)

    @property
    def bytes_per_token_V(self) -> np.ndarray:
        return self.domain.bytes_per_token_V

    def replayed(self, position: int) -> int:
        """How many of the first `position` blocks are replay."""
        return int(position * self.ratio.numerator // self.ratio.denominator)

    def blocks(self, start: int, count: int, block_size: int, seed: int) -> np.ndarray:
        """The blocks at positions [start, start + count): (count, block_size + 1) int64."""
        is_replay_N = np.array([self.replayed(p + 1) > self.replayed(p) for p in range(start, start + count)])
        replayed = self.replayed(start)
        found_NT = np.empty((count, block_size + 1), dtype=np.int64)
        for stream, number, first, chosen_N in (
            (self.domain, DOMAIN, start - replayed, ~is_replay_N),
            (self.replay, REPLAY, replayed, is_replay_N),
        ):
            if stream is not None and chosen_N.any():
                order = block_order(stream.num_blocks(block_size), first, int(chosen_N.sum()), seed, number)
                found_NT[chosen_N] = stream.blocks(order, block_size)
        return found_NT

    def bytes_per_block(self, block_size: int) -> float:
        """On average."""
        share = float(self.ratio)
        parts = [(1 - share, self.domain)] + ([(share, self.replay)] if self.replay else [])
        return sum(weight * block_size * stream.num_bytes / len(stream) for weight, stream in parts)


def make_feed(domain: TokenStream, replay: TokenStream | None, share: float) -> Feed:
    return Feed(domain, replay, Fraction(str(share)).limit_denominator(1_000_000) if replay else Fraction(0))


def block_order(num_blocks: int, start: int, count: int, seed: int, number: int = DOMAIN) -> np.ndarray:
    """The blocks at positions [start, start + count) of an endless sequence of seeded permutations, one per epoch."""
    if num_blocks < 1:
        raise ConfigError("the training text fills no block; use a smaller --block-size or more text")
    return np.concatenate(list(_parts(num_blocks, start, count, seed, number)))


def _parts(num_blocks: int, start: int, count: int, seed: int, number: int) -> Iterator[np.ndarray]:
    position = start
    while position < start + count:
        epoch, offset = divmod(position, num_blocks)
        part = _permutation(num_blocks, seed, epoch, number)[offset : offset + start + count - position]
        yield part
        position += len(part)


@lru_cache(maxsize=4)  # a step reads a few of many thousand entries
def _permutation(num_blocks: int, seed: int, epoch: int, number: int) -> np.ndarray:
    entropy = [seed, epoch] if number == DOMAIN else [seed, epoch, number]
    return np.random.Generator(np.random.PCG64(entropy)).permutation(num_blocks)
