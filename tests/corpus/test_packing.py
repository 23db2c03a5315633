"""The token stream: boundaries, literal special tokens, shards; nothing lost but the last part of a block."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from builders import END, bpe_tokenizer, documents, save_tokenizer

from ivr.corpus.document_end import end_of_text_id
from ivr.corpus.packing import TokenStream, is_whole, open_stream, stream_key, tokenise
from ivr.encoding.text.tokenizer_file import load_for_text
from ivr.errors import CorruptInputError

TEXTS = ["the cell", "", f"a {END} b", *documents(20, seed=5)]


@pytest.fixture(scope="module", params=[1 << 27, 100], ids=["one shard", "shards of 100 tokens"])
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[TokenStream, Path]:
    folder = tmp_path_factory.mktemp("packed")
    save_tokenizer(bpe_tokenizer(), folder / "tokenizer")
    tokenizer = load_for_text(folder / "tokenizer")
    tokenise(folder / "data", tokenizer, (end_of_text_id(tokenizer, folder),) * 2, TEXTS, tokens_a_shard=request.param)
    stream = open_stream(folder / "data", tokenizer)
    assert (len(stream.shards) == 1) == (request.param > 100)
    assert all(len(shard) == request.param for shard in stream.shards[:-1])
    return stream, folder


def tokens_of(stream: TokenStream) -> np.ndarray:
    return np.concatenate(stream.shards)


def test_the_stream_is_every_document_between_boundaries(packed: tuple[TokenStream, Path]) -> None:
    stream, folder = packed
    tokenizer = load_for_text(folder / "tokenizer")
    end = tokenizer.token_to_id(END)
    parts = np.split(tokens_of(stream), np.flatnonzero(tokens_of(stream) == end))
    assert parts[0].size == 0
    assert parts[-1].tolist() == [end]
    decoded = [tokenizer.decode(part[1:].tolist(), skip_special_tokens=False) for part in parts[1:-1]]
    assert decoded == [text for text in TEXTS if text]
    assert stream.num_documents == len(TEXTS) - 1


def test_a_literal_end_of_text_is_text(packed: tuple[TokenStream, Path]) -> None:
    stream, folder = packed
    end = load_for_text(folder / "tokenizer").token_to_id(END)
    assert np.count_nonzero(tokens_of(stream) == end) == stream.num_documents + 1


def test_blocks_overlap_by_one_token_and_leave_out_only_the_last_part(packed: tuple[TokenStream, Path]) -> None:
    stream, _ = packed
    size = 7
    blocks_NT = stream.blocks(np.arange(stream.num_blocks(size)), size)
    inputs, targets = blocks_NT[:, :-1].ravel(), blocks_NT[:, 1:].ravel()
    assert inputs.tolist() == tokens_of(stream)[: len(inputs)].tolist()
    assert targets.tolist() == tokens_of(stream)[1 : len(targets) + 1].tolist()
    assert len(targets) + stream.left_over(size) == len(stream) - 1
    assert 0 <= stream.left_over(size) < size


def test_bytes_of_tokens_add_up_to_the_text(packed: tuple[TokenStream, Path]) -> None:
    stream, _ = packed
    assert stream.bytes_per_token_V[tokens_of(stream)].sum() == stream.num_bytes == sum(len(t.encode()) for t in TEXTS)


def test_a_stream_cut_short_or_altered_is_not_whole(packed: tuple[TokenStream, Path], tmp_path: Path) -> None:
    _, folder = packed
    shutil.copytree(folder / "data", tmp_path, dirs_exist_ok=True)
    last = sorted(tmp_path.glob("tokens-*.bin"))[-1]
    data = last.read_bytes()
    for content, whole in ((data, True), (data[:-2], False), (data[:-1] + b"\xff", False)):
        last.write_bytes(content)
        assert is_whole(tmp_path) is whole
    last.unlink()
    assert not is_whole(tmp_path)
    assert not is_whole(tmp_path / "nothing")


def test_the_key_changes_with_tokenizer_and_corpus() -> None:
    keys = [stream_key("a", [["x.txt", "1"]]), stream_key("b", [["x.txt", "1"]]), stream_key("a", [["x.txt", "2"]])]
    assert len(set(keys)) == 3
    assert keys[0] == stream_key("a", [["x.txt", "1"]])


def test_a_tokenizer_without_end_of_text(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    with pytest.raises(CorruptInputError, match="endoftext"):
        end_of_text_id(Tokenizer(models.BPE()), tmp_path)
