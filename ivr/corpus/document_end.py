"""The token between the documents of a token stream: the one that ends a text for the model, <|endoftext|> in GPT-2."""

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
