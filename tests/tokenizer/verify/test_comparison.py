"""Pretokens are compared in batches that the library's own memory bounds."""

from ivr.tokenizer.verify.comparison import BATCH, BATCH_CHARACTERS, _batches


def test_batches_are_in_order_whole_and_bounded_in_number_and_characters() -> None:
    pretokens = ["a"] * (2 * BATCH + 1) + ["b" * (3 * BATCH_CHARACTERS), "c"] + ["d" * (BATCH_CHARACTERS // 2 + 1)] * 3
    batches = list(_batches(pretokens))
    assert [pretoken for batch in batches for pretoken in batch] == pretokens
    assert [len(batch) for batch in batches] == [BATCH, BATCH, 1, 1, 2, 1, 1]
    assert list(_batches([])) == []
