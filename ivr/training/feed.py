"""Which blocks a step reads of the tokenised text: a seeded order of the domain's, general text mixed in evenly.

Position p of the endless sequence of blocks is general text when floor((p + 1) r) > floor(p r), r the share of replay.
So what stands at p depends on the corpora, the seed and p alone: resuming at the exact sample needs no state.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from ivr.corpus import packing
from ivr.corpus.document_end import end_of_text_id, end_token, start_of_text_id
from ivr.corpus.documents import corpus_files, read_documents
from ivr.corpus.packing import TokenStream
from ivr.disk.digest import sha256_file, sha256_json
from ivr.disk.ownership import remove_written
from ivr.encoding.text.tokenizer_file import load_for_text
from ivr.errors import ConfigError, StaleInputError
from ivr.tokenizer.remap.dropout import SuperwordDropout

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


def tokenise_corpora(
    folder: Path, model_dir: Path, corpora: Iterable[Path], dropout: SuperwordDropout | None, check: Callable[[], None]
) -> list[str]:
    """Make sure that each corpus lies in `folder`/<key> as the model's tokenizer encodes it, and no other text.

    check: called before each document; what it raises ends the work. Returns the keys, in the order of `corpora`.
    Raises StaleInputError for a directory without text.
    """
    # two tokenizers that end texts otherwise make two streams
    made_by = [sha256_file(model_dir / "tokenizer.json"), end_token(model_dir)] + ([dropout.digest] if dropout else [])
    keys = []
    for corpus_dir in corpora:
        files = [[file.name, sha256_file(file)] for file in corpus_files(corpus_dir)]
        if not files:
            raise StaleInputError(f"{corpus_dir} holds no .txt file to train on; run `ivr init` first")
        keys.append(key := packing.stream_key(sha256_json(made_by), files))
        if not packing.is_whole(folder / key):
            tokenizer = load_for_text(model_dir)
            around = start_of_text_id(tokenizer, model_dir), end_of_text_id(tokenizer, model_dir)
            respell = dropout.respell if dropout else None
            packing.tokenise(
                folder / key, tokenizer, around, _checked(read_documents(corpus_dir), check), respell=respell
            )
    for other in folder.iterdir():
        if other.is_dir() and other.name not in keys:
            remove_written(other, contents=False)  # of an earlier tokenizer or corpus
    return keys


def _checked(documents: Iterable[str], check: Callable[[], None]) -> Iterator[str]:
    for text in documents:
        check()
        yield text
