"""The tokens around a document in a token stream: what begins a text and what ends it, in GPT-2 both <|endoftext|>.

Most models were trained with one token between texts. Some tokenizers put another in front of every text, such as
Llama 3's <|begin_of_text|>, and there a document starts after that.
"""

from pathlib import Path
from typing import Any

from ivr.errors import CorruptInputError
from ivr.schema import loads_text

END_OF_TEXT = "<|endoftext|>"
# what `ivr init` writes into tokenizer_config.json where eos_token does not say it; a name that ends in `_token`
# transformers would take for a special token
KEY = "ivr_document_end"


def end_token(folder: Path) -> str | None:
    """What the tokenizer files in `folder` name as the end of a text; None where they name nothing."""
    config = _read(folder / "tokenizer_config.json")
    if KEY in config:
        return str(config[KEY])
    named = config.get("eos_token")
    if "added_tokens_decoder" not in config:  # as transformers reads them: beside that key the other file is ignored
        named = _read(folder / "special_tokens_map.json").get("eos_token", named)
    if isinstance(named, dict):
        named = named.get("content")
    return named if isinstance(named, str) else None


def end_of_text_id(tokenizer: Any, folder: Path) -> int:
    """Its id in the `tokenizers.Tokenizer` of a tokenizer or model directory.

    Raises CorruptInputError where neither the files name one of its tokens nor it has <|endoftext|>.
    """
    named = end_token(folder)
    for token in (named, _by_number(tokenizer, folder) if named is None else None, END_OF_TEXT):
        token_id = None if token is None else tokenizer.token_to_id(token)
        if token_id is not None:
            return int(token_id)
    raise CorruptInputError(
        f"{folder}: the tokenizer has no token that ends a text ({named or END_OF_TEXT}), which separates documents; "
        "name one of its tokens as eos_token in tokenizer_config.json"
    )


def start_of_text_id(tokenizer: Any, folder: Path) -> int:
    """The id that a text starts after: what the tokenizer puts in front of it, otherwise the one that ends a text.

    Raises CorruptInputError as `end_of_text_id`.
    """
    before = put_in_front(tokenizer)
    return before[-1] if before else end_of_text_id(tokenizer, folder)


def put_in_front(tokenizer: Any) -> list[int]:
    """The ids that the tokenizer's post-processor puts in front of every text; none in GPT-2's."""
    encoding = tokenizer.encode("a", add_special_tokens=True)
    mask = encoding.special_tokens_mask
    return list(encoding.ids[: mask.index(0)]) if 0 in mask else []


def _by_number(tokenizer: Any, folder: Path) -> str | None:
    """The added token that the model's config.json names by its id: another number can be left over from elsewhere."""
    found = _read(folder / "config.json").get("eos_token_id")
    for token_id in found if isinstance(found, list) else [found]:
        added = tokenizer.get_added_tokens_decoder().get(token_id) if isinstance(token_id, int) else None
        if added is not None:
            return str(added.content)
    return None


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = loads_text(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CorruptInputError(f"{path} is not JSON ({error})") from None
    return content if isinstance(content, dict) else {}
