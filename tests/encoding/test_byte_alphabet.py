"""The byte alphabet against OpenAI's own function, and there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel

from ivr.encoding.byte_alphabet import BYTE_TO_CHARACTER, from_alphabet, readable, to_alphabet


def bytes_to_unicode() -> dict[int, str]:
    """As published with GPT-2 (encoder.py)."""
    bs = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    cs = bs[:]
    n = 0
    for b in range(2**8):
        if b not in bs:
            bs.append(b)
            cs.append(2**8 + n)
            n += 1
    return dict(zip(bs, map(chr, cs), strict=True))


def test_it_is_the_alphabet_of_gpt2() -> None:
    assert bytes_to_unicode() == BYTE_TO_CHARACTER


@given(st.binary())
def test_bytes_come_back(data: bytes) -> None:
    assert from_alphabet(to_alphabet(data)) == data


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_text_is_written_as_the_library_writes_it(text: str) -> None:
    pieces = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    assert "".join(piece for piece, _ in pieces) == to_alphabet(text.encode())


def test_a_character_of_no_byte_is_refused() -> None:
    with pytest.raises(KeyError):
        from_alphabet("Ġ한")


@pytest.mark.parametrize(("token", "shown"), [("Ġthe", " the"), ("Ã©", "é"), ("Ã", "<Ã>"), ("한", "<한>")])
def test_a_person_reads_text_where_it_is_text(token: str, shown: str) -> None:
    assert readable(token) == shown
