"""GPT-2's two files as lists, and a vocabulary in which some tokens gave their ids to others as a tokenizer.json."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from ivr.base.tokenizer import END_OF_TEXT, read_vocab_and_merges
from ivr.encoding.byte_alphabet import from_alphabet, to_alphabet


@dataclass(frozen=True)
class BaseBpe:
    """V ids, each with its bytes (the special token's are its text), and merges as (left, right, product), by rank."""

    tokens: list[bytes]
    merges: list[tuple[int, int, int]]
    special: frozenset[int]

    @classmethod
    def read(cls, folder: Path) -> "BaseBpe":
        """From a directory with vocab.json and merges.txt."""
        return cls.of(*read_vocab_and_merges(folder, str(folder)))

    @classmethod
    def of(cls, vocab: dict[str, int], merges: Sequence[tuple[str, str]]) -> "BaseBpe":
        by_id = sorted(vocab, key=vocab.__getitem__)
        tokens = [token.encode() if token == END_OF_TEXT else from_alphabet(token) for token in by_id]
        triples = [(vocab[left], vocab[right], vocab[left + right]) for left, right in merges]
        return cls(tokens, triples, frozenset([vocab[END_OF_TEXT]] if END_OF_TEXT in vocab else []))


def save_bpe(
    path: Path,
    base: BaseBpe,
    tokens: Sequence[bytes],
    merges: Sequence[tuple[int, int, int]],
    whole_words: bool = False,
) -> None:
    """Write tokenizer.json. `tokens`: the bytes of every id; `whole_words`: a pretoken that is a token is not merged.

    Raises ValueError when two ids have the same string, or a merge's product is not its parts joined.
    """
    strings = [token.decode() if number in base.special else to_alphabet(token) for number, token in enumerate(tokens)]
    if len(set(strings)) < len(strings):
        raise ValueError("two ids have the same string")
    for left, right, product in merges:
        if tokens[left] + tokens[right] != tokens[product]:
            raise ValueError(f"{tokens[left]!r} and {tokens[right]!r} do not make {tokens[product]!r}")
    pairs = [(strings[left], strings[right]) for left, right, _ in merges]
    vocab = {string: number for number, string in enumerate(strings)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=pairs, ignore_merges=whole_words))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if base.special:
        tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, normalized=False, special=True)])
    tokenizer.save(str(path))
