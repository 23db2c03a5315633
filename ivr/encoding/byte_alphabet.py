"""GPT-2's byte alphabet: one printable character for each of the 256 bytes.

Token strings in vocab.json are written in it; a Unigram model sees text in it. (OpenAI's `bytes_to_unicode`:
printable Latin-1 bytes stand for themselves, the others for U+0100 onwards in byte order.)
"""

_PRINTABLE = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
BYTE_TO_CHARACTER: dict[int, str] = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(256 + place) for place, byte in enumerate(_OTHERS)
}
CHARACTER_TO_BYTE: dict[str, int] = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}
_TABLE = "".join(BYTE_TO_CHARACTER[byte] for byte in range(256))


def to_alphabet(data: bytes) -> str:
    """Bytes as a token string of vocab.json writes them.

    >>> to_alphabet(" é".encode())
    'ĠÃ©'
    """
    return data.decode("latin-1").translate(_TABLE)


def from_alphabet(token: str) -> bytes:
    """The bytes of a token string. Raises KeyError for a character outside the alphabet.

    >>> from_alphabet("ĠÃ©").decode()
    ' é'
    """
    return bytes(CHARACTER_TO_BYTE[character] for character in token)


def readable(token: str) -> str:
    """A token for a person: its text where it is whole characters, else the byte alphabet in angle brackets.

    >>> readable("Ġthe"), readable("Ã")
    (' the', '<Ã>')
    """
    try:
        return from_alphabet(token).decode("utf-8")
    except (UnicodeDecodeError, KeyError):
        return f"<{token}>"


def shortest_period(text: str) -> str:
    """The shortest string of which this one is a repeat.

    >>> shortest_period("hahaha"), shortest_period("hah")
    ('ha', 'hah')
    """
    return text[: (text + text).index(text, 1)]
