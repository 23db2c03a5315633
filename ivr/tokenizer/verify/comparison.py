"""Two tokenizers side by side, as the `tokenizers` library runs them. Knows nothing of how either was made."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from ivr.analysis.pretokens import pretoken_encoder
from ivr.encoding.byte_alphabet import CHARACTER_TO_BYTE, from_alphabet

BATCH = 20_000
BATCH_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class Mismatch:
    """One pretoken that two tokenizers segment differently."""

    pretoken: str
    count: int  # occurrences in the corpora compared
    first: list[int]  # ids
    second: list[int]


def compare_pretokens(
    first: Tokenizer,
    second: Tokenizer,
    pretokens: Sequence[str],
    counts: np.ndarray,
    on_batch: Callable[[int], None] = lambda done: None,
) -> Iterator[Mismatch]:
    """Encode every pretoken with both; yield those whose ids differ. Both see a whole pretoken at once."""
    encoders = pretoken_encoder(first), pretoken_encoder(second)
    done = 0
    for texts in _batches(pretokens):
        ours, theirs = (encoder.encode_batch_fast(texts, add_special_tokens=False) for encoder in encoders)
        for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            if one.ids != other.ids:
                yield Mismatch(texts[place], int(counts[done + place]), one.ids, other.ids)
        done += len(texts)
        on_batch(len(texts))


def _batches(pretokens: Sequence[str]) -> Iterator[list[str]]:
    """In order, BATCH at a time, fewer where they are long: the library takes a hundred bytes and more for a token."""
    batch: list[str] = []
    characters = 0
    for pretoken in pretokens:
        if batch and (len(batch) == BATCH or characters + len(pretoken) > BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(pretoken)
        characters += len(pretoken)
    if batch:
        yield batch


@dataclass(frozen=True)
class VocabularyComparison:
    """The vocabularies of two tokenizers, id by id."""

    num_ids: int
    different_strings: list[int]  # ids whose strings differ
    different_encodings: list[int]  # ids whose own string is segmented differently
    different_decodings: list[int]
    not_to_themselves: list[int]  # ids that the second does not produce for their own string, but the first does


def compare_vocabularies(first: Tokenizer, second: Tokenizer) -> VocabularyComparison:
    """Compare string, encoding of the string, and decoding, of every id."""
    num_ids = first.get_vocab_size(with_added_tokens=True)
    if second.get_vocab_size(with_added_tokens=True) != num_ids:
        raise ValueError(f"{num_ids} ids against {second.get_vocab_size(with_added_tokens=True)}")
    added = set(first.get_added_tokens_decoder())
    result = VocabularyComparison(num_ids, [], [], [], [])
    encode, encode_other = one_pretoken(first), one_pretoken(second)
    for token_id in range(num_ids):
        token = first.id_to_token(token_id)
        if second.id_to_token(token_id) != token:
            result.different_strings.append(token_id)
        if first.decode([token_id], skip_special_tokens=False) != second.decode([token_id], skip_special_tokens=False):
            result.different_decodings.append(token_id)
        if token is None or not CHARACTER_TO_BYTE.keys() >= set(token):
            continue  # nothing that a model sees
        (ids,), (other,) = encode([token]), encode_other([token])
        if token_id in added and ids != [token_id]:
            continue  # cut out of text, and nothing that merges make; `added_tokens` compares these
        if ids != other:
            result.different_encodings.append(token_id)
        if ids == [token_id] != other:
            result.not_to_themselves.append(token_id)
    return result


def one_pretoken(tokenizer: Tokenizer) -> Callable[[Sequence[str]], list[list[int]]]:
    """Ids of strings in the byte alphabet, each taken for one pretoken.

    A string that is text goes the way of text, cuts included; for half a character the model is asked directly, less
    the symbols that have no id, which no model gets to see.
    """
    encoder = pretoken_encoder(tokenizer)
    without_id = {ord(symbol): None for symbol in CHARACTER_TO_BYTE if tokenizer.token_to_id(symbol) is None}

    def encode(strings: Sequence[str]) -> list[list[int]]:
        texts = [_text(string) for string in strings]
        found = iter(encoder.encode_batch_fast([text for text in texts if text is not None], add_special_tokens=False))
        return [
            [piece.id for piece in tokenizer.model.tokenize(string.translate(without_id))]
            if text is None
            else next(found).ids
            for string, text in zip(strings, texts, strict=True)
        ]

    return encode


def _text(string: str) -> str | None:
    try:
        return from_alphabet(string).decode("utf-8")
    except UnicodeDecodeError:
        return None
