"""Bytes without an id are dropped as the library drops them, merges across the gap included; or refused by name."""

import json
import random
from typing import Any

import pytest
from small_bpe import bpe_of
from tokenizers import Tokenizer

from ivr.encoding.batch import Batch
from ivr.encoding.bpe import read_bpe
from ivr.encoding.bpe_encoder import BpeEncoder
from ivr.encoding.byte_alphabet import BYTE_TO_CHARACTER
from ivr.encoding.text.missing_bytes import dropping, missing_bytes, without
from ivr.errors import ConfigError

MERGES = [("!", "!"), ("Ġ", "!"), ("a", "b"), ("!!", "!!"), ("Ġ", "Ġ"), ("Ã", "©")]
GONE = (0x04, 0x13, 0x1D, 0xF1)
ALPHABET = [*"\x04\x13\x1d\x04\x13!!!.'sab1\n\t é—  ", "\U00040000"]


def lacking(*bytes_: int, **changes: Any) -> Tokenizer:
    """A BPE without ids for these bytes."""
    spec = json.loads(bpe_of(MERGES).to_str())
    for byte in bytes_:
        vocab = spec["model"]["vocab"]
        vocab[f"unused{byte}"] = vocab.pop(BYTE_TO_CHARACTER[byte])
    model = changes.pop("model", {})
    return Tokenizer.from_str(json.dumps({**spec, **changes, "model": {**spec["model"], **model}}))


def texts(number: int = 3000) -> list[str]:
    draw = random.Random(0)
    return ["".join(draw.choices(ALPHABET, k=draw.randint(1, 9))) for _ in range(number)]


DIGITS = {"type": "Digits", "individual_digits": True}
PUNCTUATION = {"type": "Punctuation", "behavior": "Isolated"}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


@pytest.mark.parametrize(
    "steps",
    [[BYTE_LEVEL], [DIGITS, BYTE_LEVEL], [{**BYTE_LEVEL, "add_prefix_space": True}]],
    ids=["gpt2", "digits", "prefix"],
)
def test_a_tokenizer_that_takes_them_out_gives_what_one_gives_that_drops_them(steps: list[Any]) -> None:
    base = lacking(*GONE, pre_tokenizer={"type": "Sequence", "pretokenizers": steps})
    assert base.encode("!\x04!").tokens[-1].endswith("!!"), "dropped before anything is merged"
    spec = dropping(json.loads(base.to_str()), missing_bytes(base.get_vocab()))
    spec["model"]["vocab"] |= {BYTE_TO_CHARACTER[byte]: 300 + byte for byte in GONE}  # what comes through, is seen
    ours = Tokenizer.from_str(json.dumps(spec))
    for text in texts():
        assert ours.encode(text).ids == base.encode(text).ids, repr(text)


def test_the_compiled_encoder_drops_them() -> None:
    base = lacking(*GONE)
    strings = ["!\x04!", "\x04", " \x13!", "a\x1db", "é\U00040000"]
    found = BpeEncoder(read_bpe(base)).encode(Batch.of([string.encode() for string in strings]))
    assert [found.row(row).tolist() for row in range(len(strings))] == [
        [piece.id for piece in base.model.tokenize("".join(BYTE_TO_CHARACTER[byte] for byte in string.encode()))]
        for string in strings
    ]


def test_a_text_without_them() -> None:
    assert without("a\x04b", frozenset(GONE)) == "ab" and without("ab", frozenset()) == "ab"
    assert without("a\U00040000", frozenset(GONE)) is None


TEXT_OF_NORMALIZED = [
    {"id": 259, "content": "<|x|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True,
     "special": False}
]  # fmt: skip


@pytest.mark.parametrize(
    ("bytes_", "changes", "said"),
    [
        ([ord("q")], {}, "the byte symbol 'q' (byte 0x71) has no id, and 0 others: text that holds them would be"),
        ([0x0B], {}, "(byte 0x0B)"),  # a blank
        ([0x80], {}, "characters would be merged without a byte inside"),
        (GONE, {"model": {"unk_token": "a"}}, "the BPE model sets unk_token: text that holds them becomes unknown"),
        (GONE, {"model": {"byte_fallback": True}}, "sets byte_fallback"),
        (GONE, {"added_tokens": TEXT_OF_NORMALIZED}, "set normalized to false"),
        (
            GONE,
            {"pre_tokenizer": {**BYTE_LEVEL, "use_regex": False}},
            "which is followed for control characters and GPT-2's pattern alone",
        ),
        (
            [0xF1],
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTE_LEVEL, PUNCTUATION]}},
            "text is split after ByteLevel",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused(bytes_: list[int], changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_bpe(lacking(*bytes_, **changes))
    assert said in str(refused.value)
