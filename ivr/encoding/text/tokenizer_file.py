"""A tokenizer.json as the `tokenizers` library loads it, or one sentence on why it cannot be."""

from pathlib import Path
from typing import TYPE_CHECKING

from ivr.errors import CorruptInputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def load_tokenizer(path: Path, name: str = "", mend: str = "") -> "Tokenizer":
    """`Tokenizer.from_file`, as it stands in the file.

    Args:
        path: a tokenizer.json, or the directory it lies in.
        name: what a message calls it, where that is not its path.
        mend: what is to be done about a bad one.

    Raises:
        CorruptInputError: there is none, or the library cannot take it.
    """
    from tokenizers import Tokenizer

    file = path / "tokenizer.json" if path.is_dir() else path
    told = f"; {mend}" if mend else ""
    if not file.is_file():
        raise CorruptInputError(f"{name or file.parent} holds no tokenizer.json{told}")
    try:
        return Tokenizer.from_file(str(file))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a merge without its product is a PanicException, which is no Exception
        raise CorruptInputError(
            f"{name or file} is not a tokenizer.json that `tokenizers` can load ({error}){told}"
        ) from None


def load_for_text(path: Path, name: str = "", mend: str = "") -> "Tokenizer":
    """The same, for encoding text: a literal `<|endoftext|>` is text to it, and nothing is cut off or filled up."""
    return for_text(load_tokenizer(path, name, mend))


def for_text(tokenizer: "Tokenizer") -> "Tokenizer":
    """`tokenizer` itself, set so that it encodes text as `load_for_text` says."""
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
