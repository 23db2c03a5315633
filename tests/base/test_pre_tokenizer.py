"""A pre-tokenizer that drops characters or cuts them is refused by name, before any text is read; others are taken."""

import json
from pathlib import Path
from typing import Any

import pytest
from pre_tokenizers_of_others import BY_THE_LIBRARY, OTHERS
from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import (
    BertPreTokenizer,
    ByteLevel,
    CharDelimiterSplit,
    Digits,
    Metaspace,
    PreTokenizer,
    Punctuation,
    Sequence,
    Split,
    UnicodeScripts,
    Whitespace,
    WhitespaceSplit,
)

from ivr.base.auto_tokenizer import check_auto_tokenizer
from ivr.base.tokenizer import build_tokenizer, byte_alphabet, check_tokenizer_json
from ivr.errors import ConfigError

SYMBOLS = {symbol: number for number, symbol in enumerate([*byte_alphabet(), "<|endoftext|>"])}
BYTES = ByteLevel(add_prefix_space=False)


def check(tokenizer: Tokenizer, folder: Path) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    check_tokenizer_json(folder / "tokenizer.json", "DIR/tokenizer.json")


def of(pre_tokenizer: PreTokenizer) -> Tokenizer:
    tokenizer = build_tokenizer(SYMBOLS, [])
    tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer


@pytest.mark.parametrize("name", [*OTHERS, *(name for name in BY_THE_LIBRARY if name != "pieces removed")])
def test_one_that_keeps_text_is_taken(name: str, tmp_path: Path) -> None:
    check(of({**OTHERS, **BY_THE_LIBRARY}[name]()), tmp_path)


@pytest.mark.parametrize(
    "before",
    [Whitespace(), WhitespaceSplit(), UnicodeScripts(), CharDelimiterSplit("-"), BertPreTokenizer()],
    ids=lambda step: type(step).__name__,
)
def test_one_that_drops_characters_is_refused(before: PreTokenizer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"DIR/tokenizer.json: .*{type(before).__name__}.* drops characters, as of"):
        check(of(Sequence([before, BYTES])), tmp_path)


@pytest.mark.parametrize("before", [Split(Regex("rare"), "removed"), Punctuation("removed")], ids=str)
def test_one_that_removes_what_it_finds_is_refused(before: PreTokenizer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"drops text .behavior Removed of a step"):
        check(of(Sequence([before, BYTES])), tmp_path)


def test_one_that_removes_what_lies_between_its_pretokens_is_taken_where_that_is_nothing(tmp_path: Path) -> None:
    every = Split(Regex(r"'s| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"), "removed", invert=True)
    check(of(Sequence([every, ByteLevel(add_prefix_space=False, use_regex=False)])), tmp_path)
    words = Split(Regex(r"\p{L}+"), "removed", invert=True)
    with pytest.raises(ConfigError, match="drops characters"):
        check(of(Sequence([words, ByteLevel(add_prefix_space=False, use_regex=False)])), tmp_path)


def test_one_that_adds_what_is_no_byte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which stands for no byte"):
        check(of(Sequence([BYTES, Metaspace()])), tmp_path)


@pytest.mark.parametrize("behind", [Punctuation(), Digits(), Split(Regex(r"\w"), "isolated")], ids=str)
def test_one_that_cuts_characters_is_refused(behind: PreTokenizer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cuts a character in two"):
        check(of(Sequence([BYTES, behind])), tmp_path)


@pytest.mark.parametrize("what", ["a processor without its token", "a length in words"])
def test_what_fails_at_the_first_text_alone_is_refused(what: str, tmp_path: Path) -> None:
    """The library loads these and panics, or transformers raises, as soon as anything is encoded."""
    spec = json.loads(of(BYTES).to_str())
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    if what == "a length in words":
        config["model_max_length"] = "many"
    else:
        single = [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "Q", "type_id": 0}}]
        spec["post_processor"] = {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="DIR: transformers cannot load its tokenizer"):
        check_auto_tokenizer(tmp_path, "DIR")
