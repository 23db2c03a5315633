"""Which blocks are read when: every block once an epoch, replay at an even rate, entered anywhere."""

from fractions import Fraction

import numpy as np
import pytest

from ivr.corpus.packing import TokenStream
from ivr.errors import ConfigError
from ivr.training.feed import Feed, block_order, make_feed

SIZE = 4


def stream_of(num_blocks: int, first: int) -> TokenStream:
    """Block k holds first + k at its start."""
    tokens = np.repeat(np.arange(first, first + num_blocks + 1), SIZE)[: num_blocks * SIZE + 1].astype("<u2")
    return TokenStream((tokens,), 1 << 20, np.ones(1000, dtype=np.int64), 1, len(tokens) - 1)


@pytest.mark.parametrize("num_blocks", [1, 7, 10])
def test_every_epoch_reads_every_block_once_in_another_order(num_blocks: int) -> None:
    order = block_order(num_blocks, 0, 3 * num_blocks, seed=1)
    epochs = order.reshape(3, num_blocks)
    assert all(sorted(epoch) == list(range(num_blocks)) for epoch in epochs.tolist())
    if num_blocks == 10:
        assert epochs[0].tolist() != epochs[1].tolist()
        assert block_order(10, 0, 10, seed=2).tolist() != epochs[0].tolist()


def test_the_order_can_be_entered_anywhere() -> None:
    order = block_order(7, 0, 40, seed=3).tolist()
    pieces = [block_order(7, start, 4, seed=3).tolist() for start in range(0, 40, 4)]
    assert sum(pieces, []) == order  # noqa: RUF017


def test_no_block_at_all() -> None:
    with pytest.raises(ConfigError, match="--block-size"):
        block_order(0, 0, 1, seed=0)


@pytest.mark.parametrize("share", [0.1, 0.25, 1 / 3, 0.9])
def test_replay_is_mixed_in_evenly_and_both_texts_are_read_in_their_own_order(share: float) -> None:
    feed = make_feed(stream_of(7, 0), stream_of(5, 100), share)
    read = feed.blocks(0, 200, SIZE, seed=3)[:, 0]
    general = read >= 100
    assert abs(general.sum() - 200 * share) <= 1
    for start in range(0, 150, 10):  # any 50 in a row have their share, too
        assert abs(general[start : start + 50].sum() - 50 * share) <= 1
    assert read[~general].tolist() == block_order(7, 0, int((~general).sum()), seed=3).tolist()
    assert sorted(read[general][:5].tolist()) == [100, 101, 102, 103, 104]
    assert feed.replayed(200) == general.sum()


def test_the_mixture_can_be_entered_anywhere() -> None:
    feed = make_feed(stream_of(7, 0), stream_of(5, 100), 0.3)
    whole = feed.blocks(0, 60, SIZE, seed=1)
    for start, count in ((0, 7), (7, 1), (13, 40), (59, 1)):
        assert np.array_equal(feed.blocks(start, count, SIZE, seed=1), whole[start : start + count])


def test_without_replay_the_ratio_is_nothing() -> None:
    feed = make_feed(stream_of(7, 0), None, 0.5)
    assert feed.ratio == Fraction(0)
    assert feed.blocks(0, 14, SIZE, seed=1)[:, 0].tolist() == block_order(7, 0, 14, seed=1).tolist()


def test_bytes_of_a_block_are_those_of_the_mixture() -> None:
    long_words = TokenStream((np.zeros(101, "<u2"),), 1 << 20, np.ones(1, dtype=np.int64), 1, 303)
    assert Feed(long_words).bytes_per_block(SIZE) == pytest.approx(12)
    mixed = make_feed(long_words, stream_of(100, 0), 0.25)
    assert mixed.bytes_per_block(SIZE) == pytest.approx(0.75 * 12 + 0.25 * 4, rel=0.01)
