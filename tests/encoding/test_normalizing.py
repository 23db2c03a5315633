"""Text is normalized as the library does it, and not asked for where nothing can change."""

import random

from tokenizers import Tokenizer, models, normalizers

from ivr.encoding.text import normalizing
from ivr.encoding.text.normalizing import Normalizing

ASKED = [point for first, last in normalizing.ASKED for point in range(first, last)]


def with_normalizer(normalizer: normalizers.Normalizer) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizer
    return tokenizer


def test_texts_of_every_character_come_out_as_from_the_library() -> None:
    nfc = normalizers.NFC()
    normalize = Normalizing(with_normalizer(nfc))
    draw = random.Random(0)
    marks = ["\u0301", "\u0323", "\u0327", "\u1161", "\u11a8", "\u09be", "e", "A", " "]
    texts = []
    for begin in range(0, len(ASKED), 40):
        texts.append("".join(chr(point) + draw.choice(marks) for point in ASKED[begin : begin + 40]))
    assert [text.decode() for text in normalize([text.encode() for text in texts])] == list(
        map(nfc.normalize_str, texts)
    )


def test_characters_that_are_passed_by_are_left_as_they_are_beside_any() -> None:
    """Each between marks of all kinds, in texts of many: none that counts as plain composes, goes or moves."""
    plain = [chr(point) for point in ASKED if not normalizing._classes()[point]]
    assert len(plain) > 0.95 * len(ASKED) and "가" in plain and "é" in plain and "\u0301" not in plain
    draw = random.Random(1)
    nfc = normalizers.NFC().normalize_str
    for _ in range(300):
        text = "".join(draw.choices(plain, k=200))
        assert nfc(text) == text


def test_plain_text_is_given_back_itself() -> None:
    normalize = Normalizing(with_normalizer(normalizers.NFC()))
    texts = ["plain é 가".encode()]
    assert normalize(texts) is texts and normalize(["e\u0301".encode()]) == ["é".encode()]
    assert normalize and not Normalizing(with_normalizer(normalizers.Sequence([])))
