"""What a text starts after and ends with, and the stream that is packed of it."""

from pathlib import Path

import pytest
from builders import END, bpe_tokenizer, save_tokenizer
from tokenizers import Tokenizer, processors

from ivr.corpus.document_end import end_of_text_id, put_in_front, start_of_text_id
from ivr.corpus.packing import open_stream, tokenise
from ivr.encoding.text.tokenizer_file import load_for_text

START = "<|begin|>"


def directory(folder: Path, in_front: str) -> Tokenizer:
    """A tokenizer directory whose post-processor puts a token in front of texts; an empty one: none."""
    tokenizer = bpe_tokenizer()
    tokenizer.add_special_tokens([START])
    if in_front:
        ids = [(in_front, tokenizer.token_to_id(in_front))]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{in_front} $A", special_tokens=ids)
    save_tokenizer(tokenizer, folder)
    return load_for_text(folder)


@pytest.mark.parametrize(("in_front", "starts"), [("", END), (END, END), (START, START)])
def test_a_text_starts_after_what_the_tokenizer_puts_in_front(tmp_path: Path, in_front: str, starts: str) -> None:
    tokenizer = directory(tmp_path, in_front)
    assert put_in_front(tokenizer) == ([tokenizer.token_to_id(in_front)] if in_front else [])
    assert start_of_text_id(tokenizer, tmp_path) == tokenizer.token_to_id(starts)
    assert end_of_text_id(tokenizer, tmp_path) == tokenizer.token_to_id(END)


def test_a_stream_has_both_tokens_around_documents(tmp_path: Path) -> None:
    tokenizer = directory(tmp_path, START)
    start, end = start_of_text_id(tokenizer, tmp_path), end_of_text_id(tokenizer, tmp_path)
    one, two = (tokenizer.encode(text, add_special_tokens=False).ids for text in ("the cell", "of"))
    tokenise(tmp_path / "data", tokenizer, (start, end), ["the cell", "of"])
    stream = open_stream(tmp_path / "data", tokenizer)
    assert stream.read(0, len(stream)).tolist() == [start, *one, end, start, *two, end, start]
