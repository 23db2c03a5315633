"""The base tokenizer: GPT-2's byte-level BPE as a tokenizer.json, checked before anything is built on it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.corpus.documents import SEPARATOR
from ivr.disk.writer import write_json, write_text
from ivr.encoding.text.kept_whole import check_keeps_text, check_pre_tokenizer
from ivr.encoding.text.tokenizer_file import load_tokenizer
from ivr.errors import ConfigError, CorruptInputError
from ivr.schema import loads_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TEXT = SEPARATOR
# what transformers reads for a tokenizer of GPT-2's kind
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
MERGES_HEADER = "#version: 0.2"


def build_tokenizer(vocab: Mapping[str, int], merges: Iterable[tuple[str, str]]) -> "Tokenizer":
    """GPT-2's tokenizer around a vocabulary and its merges, with `<|endoftext|>` special where it is in `vocab`."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.BPE(vocab=dict(vocab), merges=list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if END_OF_TEXT in vocab:
        tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, normalized=False, special=True)])
    return tokenizer


def write_tokenizer(
    folder: Path, vocab: Mapping[str, int], merges: list[tuple[str, str]], max_length: int | None
) -> None:
    """Write tokenizer.json, tokenizer_config.json, vocab.json and merges.txt as GPT-2 has them."""
    write_text(folder / "tokenizer.json", build_tokenizer(vocab, merges).to_str(pretty=True) + "\n")
    write_tokenizer_config(folder, max_length, END_OF_TEXT in vocab)
    by_id = dict(sorted(vocab.items(), key=lambda item: item[1]))
    write_text(folder / "vocab.json", json.dumps(by_id, ensure_ascii=False))
    write_text(folder / "merges.txt", "\n".join([MERGES_HEADER, *(" ".join(pair) for pair in merges)]) + "\n")


def write_tokenizer_config(folder: Path, max_length: int | None, end_of_text: bool = True) -> None:
    """The tokenizer_config.json that makes AutoTokenizer load tokenizer.json as GPT-2's."""
    write_json(folder / "tokenizer_config.json", gpt2_config(max_length, end_of_text))


def gpt2_config(max_length: int | None, end_of_text: bool = True) -> dict[str, Any]:
    """What such a file holds; `max_length`: tokens of the model's context."""
    special = {name: END_OF_TEXT for name in ("bos_token", "eos_token", "unk_token") if end_of_text}
    config: dict[str, Any] = {"add_prefix_space": False, **special, "tokenizer_class": "GPT2Tokenizer"}
    return {**config, "model_max_length": max_length} if max_length else config


def read_vocab_and_merges(folder: Path, origin: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """GPT-2's two files, checked: ids without holes, every merge's parts and product in the vocabulary."""
    vocab_path, merges_path = folder / "vocab.json", folder / "merges.txt"
    if not (vocab_path.is_file() and merges_path.is_file()):
        raise ConfigError(
            f"{origin} has no tokenizer: neither tokenizer.json nor vocab.json with merges.txt; "
            "give --model-name a directory that has one, or a Hub id such as openai-community/gpt2"
        )
    vocab = read_json(vocab_path, f"{origin}/vocab.json")
    if not isinstance(vocab, dict) or sorted(vocab.values(), key=str) != sorted(range(len(vocab)), key=str):
        raise CorruptInputError(f"{origin}/vocab.json does not map tokens to the ids 0..n-1; fetch it again")
    try:
        lines = merges_path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        raise CorruptInputError(f"{origin}/merges.txt is not UTF-8; fetch it again") from None
    merges = []
    for number, line in enumerate(lines, start=1):
        if (number == 1 and line.startswith("#version")) or not line.strip("\r"):
            continue
        left, blank, right = line.rstrip("\r").partition(" ")
        if not blank or any(part not in vocab for part in (left, right, left + right)):
            raise CorruptInputError(f"{origin}/merges.txt line {number} ({line!r}) does not fit vocab.json")
        merges.append((left, right))
    return vocab, merges


def check_tokenizer_json(path: Path, origin: str) -> None:
    """Whether the file holds a tokenizer that can be distilled: byte-level BPE as GPT-2's.

    Raises ConfigError, naming the token or the field and what would mend it, or CorruptInputError for what is no
    tokenizer.json. `init` and `distill-tokenizer` refuse by this one function.
    """
    from ivr.encoding.bpe import bpe_of_spec

    content = read_json(path, origin)
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise CorruptInputError(f"{origin} is no tokenizer (it has no model); fetch it again")
    try:
        _check_kinds(content)
        bpe_of_spec(content)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CorruptInputError(f"{origin} is no tokenizer.json of a known form ({error!r}); fetch it again") from None
    load_tokenizer(path, origin, "fetch it again")
    try:
        check_keeps_text(content)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None


def _check_kinds(content: dict[str, Any]) -> None:
    model = content["model"]
    if model.get("byte_fallback") and "<0x0A>" in model.get("vocab", ()):
        raise ConfigError(
            "the tokenizer is SentencePiece's BPE with byte fallback (tokens such as <0x0A>), not byte-level BPE; "
            "choose another model"
        )
    kind = model.get("type", "BPE" if "merges" in model else None)
    if kind != "BPE":
        raise ConfigError(f"the tokenizer is {kind}, not byte-level BPE as GPT-2's is; choose another model")
    check_pre_tokenizer(content)


def byte_alphabet() -> list[str]:
    """The 256 characters that stand for bytes, in GPT-2's order of ids."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


def read_json(path: Path, origin: str) -> Any:
    """The file's value; raises CorruptInputError naming `origin`."""
    try:
        return loads_text(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CorruptInputError(f"{origin} is not JSON, perhaps cut short ({error}); fetch it again") from None
