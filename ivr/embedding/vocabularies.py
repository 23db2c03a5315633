"""What must agree before rows are moved: rules, both tokenizers and the model's matrix."""

from pathlib import Path
from typing import TYPE_CHECKING

from ivr.disk.digest import sha256_file
from ivr.encoding.text.tokenizer_file import load_tokenizer
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
    original, remapped = load_tokenizer(original_file), load_tokenizer(remapped_dir)
    return dict(original.get_vocab(with_added_tokens=True)), dict(remapped.get_vocab(with_added_tokens=True))


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
