"""The token stream: boundaries, literal special tokens, order; nothing lost but the last part of a block."""

from pathlib import Path

import numpy as np
import pytest
from builders import END, bpe_tokenizer, documents, save_tokenizer

from ivr.errors import ConfigError, CorruptInputError
from ivr.training.packing import (
    TokenStream,
    block_order,
    end_of_text_id,
    is_whole,
    load_tokenizer,
    open_stream,
    stream_key,
    tokenise,
)

TEXTS = ["the cell", "", f"a {END} b", *documents(20, seed=5)]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[TokenStream, Path]:
    folder = tmp_path_factory.mktemp("packed")
    save_tokenizer(bpe_tokenizer(), folder / "tokenizer")
    tokenizer = load_tokenizer(folder / "tokenizer")
    tokenise(folder / "data", tokenizer, end_of_text_id(tokenizer, folder), TEXTS)
    return open_stream(folder / "data", tokenizer), folder


def test_the_stream_is_every_document_between_boundaries(packed: tuple[TokenStream, Path]) -> None:
    stream, folder = packed
    tokenizer = load_tokenizer(folder / "tokenizer")
    end = tokenizer.token_to_id(END)
    parts = np.split(stream.tokens, np.flatnonzero(stream.tokens == end))
    assert parts[0].size == 0
    assert parts[-1].tolist() == [end]
    decoded = [tokenizer.decode(part[1:].tolist(), skip_special_tokens=False) for part in parts[1:-1]]
    assert decoded == [text for text in TEXTS if text]
    assert stream.num_documents == len(TEXTS) - 1


def test_a_literal_end_of_text_is_text(packed: tuple[TokenStream, Path]) -> None:
    stream, folder = packed
    end = load_tokenizer(folder / "tokenizer").token_to_id(END)
    assert np.count_nonzero(stream.tokens == end) == stream.num_documents + 1


def test_blocks_overlap_by_one_token_and_leave_out_only_the_last_part(packed: tuple[TokenStream, Path]) -> None:
    stream, _ = packed
    size = 7
    blocks_NT = stream.blocks(np.arange(stream.num_blocks(size)), size)
    inputs, targets = blocks_NT[:, :-1].ravel(), blocks_NT[:, 1:].ravel()
    assert inputs.tolist() == stream.tokens[: len(inputs)].tolist()
    assert targets.tolist() == stream.tokens[1 : len(targets) + 1].tolist()
    assert len(targets) + stream.left_over(size) == len(stream.tokens) - 1
    assert 0 <= stream.left_over(size) < size


def test_bytes_of_tokens_add_up_to_the_text(packed: tuple[TokenStream, Path]) -> None:
    stream, _ = packed
    assert stream.bytes_per_token_V[stream.tokens].sum() == stream.num_bytes == sum(len(t.encode()) for t in TEXTS)


def test_a_stream_cut_short_or_altered_is_not_whole(packed: tuple[TokenStream, Path], tmp_path: Path) -> None:
    _, folder = packed
    data = (folder / "data" / "tokens.bin").read_bytes()
    facts = (folder / "data" / "tokens.json").read_bytes()
    for content, whole in ((data, True), (data[:-2], False), (data[:-1] + b"\xff", False)):
        (tmp_path / "tokens.bin").write_bytes(content)
        (tmp_path / "tokens.json").write_bytes(facts)
        assert is_whole(tmp_path) is whole
    assert not is_whole(tmp_path / "nothing")


def test_the_key_changes_with_tokenizer_and_corpus() -> None:
    keys = [stream_key("a", [["x.txt", "1"]]), stream_key("b", [["x.txt", "1"]]), stream_key("a", [["x.txt", "2"]])]
    assert len(set(keys)) == 3
    assert keys[0] == stream_key("a", [["x.txt", "1"]])


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


def test_a_tokenizer_without_end_of_text(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    with pytest.raises(CorruptInputError, match="endoftext"):
        end_of_text_id(Tokenizer(models.BPE()), tmp_path)
