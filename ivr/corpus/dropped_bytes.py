"""How often a corpus holds bytes that the base tokenizer has no id for, which it drops silently."""

from collections.abc import Iterable
from pathlib import Path

from ivr.console import LOG
from ivr.corpus.documents import BLOCK, corpus_files
from ivr.encoding.text.missing_bytes import named


def count_bytes(corpus: Path, wanted: Iterable[int]) -> dict[int, int]:
    """How often each of these bytes stands in the files of a cleaned corpus."""
    found = dict.fromkeys(sorted(wanted), 0)
    for file in corpus_files(corpus):
        with file.open("rb") as stream:
            while block := stream.read(BLOCK):
                for byte in found:
                    found[byte] += block.count(byte)
    return found


def say_dropped(lacking: Iterable[int], corpus: Path) -> dict[str, int]:
    """Log which bytes have no id and how often the text holds them; returns the numbers by byte, as `0x04`."""
    found = count_bytes(corpus, lacking)
    held = {byte: count for byte, count in found.items() if count}
    of_text = f"the text holds {named(held)}, {sum(held.values()):,} times" if held else "the text holds none of them"
    LOG.warning(
        "the tokenizer has no id for the bytes %s and drops them silently, and so does the distilled one; %s",
        named(found), of_text,
    )  # fmt: skip
    return {named([byte]): count for byte, count in found.items()}
