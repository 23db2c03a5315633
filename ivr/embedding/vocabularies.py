"""What must agree before rows are moved: rules, both tokenizers and the model's matrix."""

from pathlib import Path
from typing import TYPE_CHECKING

from ivr.disk.digest import sha256_file
from ivr.errors import ConfigError, CorruptInputError, StaleInputError

if TYPE_CHECKING:
    import torch

    from ivr.tokenizer.remap.rules import RemapRules


def vocabularies(original_dir: Path, remapped_dir: Path, rules: "RemapRules") -> tuple[dict[str, int], dict[str, int]]:
    """Token string -> id of both tokenizers. Refuses rules that were made for another original tokenizer."""
    original_file = original_dir / "tokenizer.json"
    if not original_file.is_file():
        raise CorruptInputError(f"{original_dir} is no tokenizer directory: it holds no tokenizer.json")
    digest = sha256_file(original_file)
    if digest != rules.original_tokenizer_sha256:
        raise StaleInputError(
            f"the rules were made for an original tokenizer with sha256 {rules.original_tokenizer_sha256[:16]}, and "
            f"{original_file} has {digest[:16]}; run `ivr remap` again"
        )
    return _vocabulary(original_file), _vocabulary(remapped_dir / "tokenizer.json")


def _vocabulary(path: Path) -> dict[str, int]:
    from tokenizers import Tokenizer

    if not path.is_file():
        raise CorruptInputError(f"{path.parent} is no tokenizer directory: it holds no tokenizer.json")
    try:
        return dict(Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True))
    except BaseException as error:  # a bad file makes tokenizers panic, which is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise CorruptInputError(f"{path} is not a tokenizer that can be loaded: {error}") from None


def check_sizes(input_VD: "torch.Tensor", original: dict[str, int], base_dir: Path, tokenizer_dir: Path) -> None:
    """The input embeddings need a row for every id of the tokenizer; rows beyond them are padding."""
    needed = max(original.values()) + 1
    if needed > input_VD.shape[0]:
        raise ConfigError(
            f"{tokenizer_dir} needs {needed} embedding rows, {base_dir} has {input_VD.shape[0]}: "
            "this tokenizer is not this model's"
        )


def check_pieces(new_ids: list[int], pieces: dict[int, list[int]], num_rows: int) -> None:
    """Every new token has pieces, and they are rows. Raises CorruptInputError."""
    for token_id in new_ids:
        wrong = [piece for piece in pieces[token_id] if not 0 <= piece < num_rows]
        if wrong or not pieces[token_id]:
            raise CorruptInputError(f"the rule for id {token_id} has pieces {pieces[token_id]}, which are no rows")
