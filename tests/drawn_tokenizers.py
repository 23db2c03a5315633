"""Tokenizer directories of all kinds that people bring, drawn from a seed, and strings to try them on.

A directory is a small byte-level BPE as tokenizer.json, or as vocab.json and merges.txt, with added tokens of every
kind, in every file that transformers reads. `drawn_outcomes.py` distils and compares them.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.base.tokenizer import byte_alphabet
from ivr.encoding.tokenizer_steps import steps

END = "<|endoftext|>"
LETTERS = "abc"
CONTENTS = (
    "!", "|", "a", "b", "ab", "abc", "hello", "<s>", "</s>", "<pad>", "<unk>", "<mask>", "[PAD]", "<a>", "<ab", "한",
    "é", "a b", " ab", "ab ", "Ġa", "Ġ", "b!", "!!", "<|user|>", "COVID-19", "aaa", "\n", "🙂",
)  # fmt: skip
NEVER_BYTES = (0xC0, 0xC1, 0xF5, 0xFF)
TAKEN_FROM = (0xF6, 0xF7, 0xF8, 0xF9)  # bytes that UTF-8 never has, whose ids go to tokens that are taken whole
LACKING = (0x04, 0x13, 0x1D, 0xF1)
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SLOTS = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
ODD_PRE_TOKENIZERS: tuple[dict[str, Any], ...] = (
    {"type": "Digits", "individual_digits": True},
    {"type": "Split", "pattern": {"Regex": r"\d{1,3}"}, "behavior": "Isolated", "invert": False},
    {"type": "Punctuation", "behavior": "Isolated"},
)


@dataclass
class Drawn:
    """files: name -> value (JSON) or text. `contents`: added tokens, for the strings that are tried."""

    files: dict[str, Any]
    contents: list[str]
    letters: str
    rows: int | None
    others: tuple[str, ...] = ()  # what it has of other tokenizers than GPT-2's


def _merges(draw: random.Random, letters: str) -> list[tuple[str, str]]:
    """10 to 60 merges; some twice, some with a product that is made already, some that never happen."""
    tokens = [*letters, "!", "Ġ"]
    merges: list[tuple[str, str]] = []
    twice = draw.random() < 0.3
    for _ in range(draw.randint(10, 60)):
        left, right = draw.choice(tokens), draw.choice(tokens)
        product = left + right
        if len(product) > 8 or (left, right) in merges or (product in tokens and not twice):
            continue
        merges.append((left, right))
        if product not in tokens:
            tokens.append(product)
    for word in ("hello", "abc"):
        if draw.random() < 0.3:
            for size in range(2, len(word) + 1):
                if (word[: size - 1], word[size - 1]) not in merges:
                    merges.append((word[: size - 1], word[size - 1]))
    if draw.random() < 0.01 and len(merges) > 3:
        draw.shuffle(merges)
    return merges


def _entry(draw: random.Random, content: str, token_id: int) -> dict[str, Any]:
    special = draw.random() < 0.6
    flags = {name: draw.random() < 0.2 for name in ("single_word", "lstrip", "rstrip")}
    return {"id": token_id, "content": content, **flags, "normalized": draw.random() < 0.3, "special": special}


def drawn(seed: int) -> Drawn:
    """The directory of this seed."""
    draw = random.Random(seed)
    letters = LETTERS[: draw.randint(2, 3)]
    merges = _merges(draw, letters)
    symbols = list(byte_alphabet())
    if draw.random() < 0.1:
        gone = [byte_alphabet_of(byte) for byte in draw.sample(NEVER_BYTES, 2)]
        symbols = [symbol for symbol in symbols if symbol not in gone]
    if draw.random() < 0.02:
        symbols.remove(draw.choice(("q", "Ā", "Ã")))
    style = draw.choice(("gpt2", "gpt2", "gpt2", "gpt2", "roberta", "roberta", "none"))
    front = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if style == "roberta" else []
    orphans = ["[unused0]", "zzz"] if draw.random() < 0.1 else []
    last = [END] if style == "gpt2" else []
    tokens = list(dict.fromkeys([*front, *symbols, *("".join(pair) for pair in merges), *orphans, *last]))
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    contents = [*front, *last]
    contents += [content for content in draw.sample(CONTENTS, draw.randint(0, 5)) if content not in contents]
    added, following = [], len(vocab)
    for content in contents:
        token_id = vocab.get(content, following)
        following += content not in vocab
        entry = _entry(draw, content, token_id)
        if content in front or content == END:
            entry |= {"single_word": False, "lstrip": content == "<mask>", "rstrip": False, "special": True}
        added.append(entry)
    if draw.random() < 0.02 and added:
        added[-1]["id"] += 7
    rows = draw.choice((None, following, following, following + 9))
    end = END if style == "gpt2" else "</s>" if style == "roberta" else None
    config: dict[str, Any] = {"model_type": "gpt2", "vocab_size": rows} if rows is not None else {}
    if config and end and draw.random() < 0.5:
        config["eos_token_id"] = vocab[end]
    files: dict[str, Any] = {"config.json": config} if config else {}
    as_json = draw.random() < 0.65
    files |= _as_json(draw, vocab, merges, added) if as_json else _as_two_files(draw, vocab, merges, added)
    others = _like_others(random.Random(f"others/{seed}"), files["tokenizer.json"], letters) if as_json else ()
    _settings(draw, files, added, style, as_json, others)
    return Drawn(files, contents, letters, rows, others)


def _like_others(draw: random.Random, spec: dict[str, Any], letters: str) -> tuple[str, ...]:
    """Gives a tokenizer.json in place what SmolLM2, Qwen and Llama 3 have; returns what."""
    if draw.random() < 0.6:
        return ()
    kinds = tuple(draw.sample(("NFC", "lacking", "whole", "digits", "cl100k"), draw.randint(1, 3)))
    vocab = spec["model"]["vocab"]
    byte_level = next(step for step in steps(spec["pre_tokenizer"], "pretokenizers") if step["type"] == "ByteLevel")
    if "NFC" in kinds:
        spec["normalizer"] = {"type": "NFC"}
    if "lacking" in kinds:
        for byte in [0xF1] if "cl100k" in kinds else draw.sample(LACKING, 2):
            vocab[f"<{byte}>"] = vocab.pop(byte_alphabet_of(byte))
        if draw.random() < 0.9:  # such options refuse them
            spec["model"] |= {"unk_token": None, "byte_fallback": False}
            for entry in spec["added_tokens"]:
                entry["normalized"] = False
    if "whole" in kinds:
        spec["model"]["ignore_merges"] = True
        for byte in TAKEN_FROM:
            word = draw.choice(("", "Ġ")) + "".join(draw.choices(letters, k=draw.randint(2, 6)))
            if word not in vocab:
                vocab[word] = vocab.pop(byte_alphabet_of(byte))
    if "cl100k" in kinds:
        split = {"type": "Split", "pattern": {"Regex": CL100K}, "behavior": "Isolated", "invert": False}
        before = [split, {**byte_level, "use_regex": False, "add_prefix_space": False}]
        spec["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": before}
    elif "digits" in kinds:
        before = [ODD_PRE_TOKENIZERS[0], {**byte_level, "add_prefix_space": False}]
        spec["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": before}
    return kinds


def byte_alphabet_of(byte: int) -> str:
    from ivr.encoding.byte_alphabet import BYTE_TO_CHARACTER

    return BYTE_TO_CHARACTER[byte]


def _as_json(draw: random.Random, vocab: Any, merges: Any, added: list[dict[str, Any]]) -> dict[str, Any]:
    model: dict[str, Any] = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocab,
        "merges": [" ".join(pair) for pair in merges] if draw.random() < 0.5 else [list(pair) for pair in merges],
    }  # fmt: skip
    if draw.random() < 0.3:
        del model["type"]
    harmless = {"unk_token": END if END in vocab else "a", "fuse_unk": True, "byte_fallback": True, "dropout": 0.0}
    harmless |= {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
    for name, value in harmless.items():
        if draw.random() < 0.1:
            model[name] = value
    harmful = {"dropout": 0.1, "continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"}
    for name, value in harmful.items():
        if draw.random() < 0.01:
            model[name] = value
    if draw.random() < 0.1:
        model["ignore_merges"] = True
    byte_level = {"type": "ByteLevel", "add_prefix_space": draw.random() < 0.25, "trim_offsets": draw.random() < 0.5}
    byte_level["use_regex"] = True
    pre_tokenizer: dict[str, Any] = byte_level
    if draw.random() < 0.1:
        pre_tokenizer = {"type": "Sequence", "pretokenizers": [draw.choice(ODD_PRE_TOKENIZERS), byte_level]}
    elif draw.random() < 0.1:
        pre_tokenizer = {"type": "Sequence", "pretokenizers": [{"type": "Sequence", "pretokenizers": [byte_level]}]}
    spec: dict[str, Any] = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": pre_tokenizer, "post_processor": _post_processor(draw, vocab, added), "model": model,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    }  # fmt: skip
    if draw.random() < 0.1:
        spec["normalizer"] = {"type": "Sequence", "normalizers": []}
    if draw.random() < 0.02:
        spec["normalizer"] = {"type": "NFC"}
    if draw.random() < 0.08:
        spec["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    if draw.random() < 0.08:
        spec["padding"] = {
            "strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
            "pad_token": next(iter(vocab)),
        }  # fmt: skip
    return {"tokenizer.json": spec}


def _post_processor(draw: random.Random, vocab: Any, added: list[dict[str, Any]]) -> dict[str, Any] | None:
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": draw.random() < 0.3, "use_regex": True}
    kind = draw.random()
    special = [entry for entry in added if entry["special"]]
    if kind < 0.15:
        return None
    if kind < 0.6 or not special:
        return byte_level
    first, last = draw.choice(special), draw.choice(special)
    if kind < 0.75:
        ends = {"sep": [last["content"], last["id"]], "cls": [first["content"], first["id"]]}
        return {"type": "RobertaProcessing", **ends, "trim_offsets": True, "add_prefix_space": False}
    template = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": first["content"], "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": last["content"], "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            entry["content"]: {"id": entry["content"], "ids": [entry["id"]], "tokens": [entry["content"]]}
            for entry in (first, last)
        },
    }
    return template if kind < 0.9 else {"type": "Sequence", "processors": [byte_level, template]}


def _as_two_files(draw: random.Random, vocab: Any, merges: Any, added: list[dict[str, Any]]) -> dict[str, Any]:
    files: dict[str, Any] = {"vocab.json": vocab, "merges.txt": "#version: 0.2\n"}
    files["merges.txt"] += "".join(f"{left} {right}\n" for left, right in merges)
    if draw.random() < 0.6:
        numbered = {entry["content"]: entry["id"] for entry in added if entry["content"] != END}
        names = list(numbered)
        draw.shuffle(names)
        if names:
            files["added_tokens.json"] = {name: numbered[name] for name in names}
    return files


def _settings(
    draw: random.Random, files: Any, added: list[dict[str, Any]], style: str, as_json: bool, others: Sequence[str]
) -> None:
    """tokenizer_config.json and special_tokens_map.json."""
    names: dict[str, Any] = {}
    if style == "roberta" and draw.random() < 0.8:
        names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    if style == "gpt2" and draw.random() < 0.6:
        names = dict.fromkeys(SLOTS[:3], END)
    if draw.random() < 0.25:
        known = [entry["content"] for entry in added] * (draw.random() < 0.8)
        names[draw.choice(SLOTS[3:])] = draw.choice(
            ["!", "|", "a", "b", *known, *(() if known else ("hello", "[PAD]"))]
        )
    if style == "none" and draw.random() < 0.8 and added:
        names["eos_token"] = draw.choice(added)["content"]
    if draw.random() < 0.3:
        special = {
            name: {"content": token, "lstrip": draw.random() < 0.1, "normalized": False, "rstrip": False,
                   "single_word": False}
            if draw.random() < 0.3 else token
            for name, token in names.items()
        }  # fmt: skip
        files["special_tokens_map.json"] = special
        if draw.random() < 0.5:
            names = {}
    if draw.random() < 0.85:
        config: dict[str, Any] = dict(names)
        if as_json:
            kinds = ["PreTrainedTokenizerFast"]
            if files["tokenizer.json"]["pre_tokenizer"]["type"] == "ByteLevel" or draw.random() < 0.2:
                kinds += ["GPT2Tokenizer", "GPT2TokenizerFast"]
            config["tokenizer_class"] = "PreTrainedTokenizerFast" if others else draw.choice(kinds)
            prefix = json.dumps(files["tokenizer.json"]["pre_tokenizer"]).count('"add_prefix_space": true') > 0
        else:
            prefix = draw.random() < 0.2
        if prefix or draw.random() < 0.5:
            config["add_prefix_space"] = prefix
        if draw.random() < 0.4:
            flags = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
            config["added_tokens_decoder"] = {
                str(entry["id"]): {name: entry[name] for name in flags} for entry in added
            }
        if draw.random() < 0.2:
            config["model_max_length"] = 32
        if draw.random() < 0.1:
            config["add_bos_token"] = True
        if draw.random() < 0.1:
            config["split_special_tokens"] = True
        if draw.random() < 0.1:
            config["clean_up_tokenization_spaces"] = True
        if draw.random() < 0.05:
            config["additional_special_tokens"] = ["<extra>"]
        files["tokenizer_config.json"] = config


def write(folder: Path, files: dict[str, Any]) -> Path:
    """Lay the files down."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def strings_for(found: Drawn, seed: int) -> list[str]:
    """Strings that hold added tokens glued to letters and blanks, other characters, bytes beyond ASCII."""
    draw = random.Random(f"strings/{seed}")
    pieces = [*found.contents, *found.contents, "!", "hello", "|", END, " ", " ", "  ", "\n", ".", "1", "한", "é", "🙂"]
    words = ["".join(draw.choice(found.letters) for _ in range(draw.randint(1, 6))) for _ in range(12)]
    strings = ["", " ", "hello!", "! !", "ab cd"]
    for _ in range(40):
        strings.append(
            "".join(draw.choice(pieces if draw.random() < 0.5 else words) for _ in range(draw.randint(1, 7)))
        )
    for content in found.contents:
        strings += [content, f"a{content}", f"{content}a", f" {content} ", f"a {content} b", content + content]
        strings += [content.upper(), content[:-1] + "a"]
    return list(dict.fromkeys([*strings, *_strings_for_others(found, seed)]))


def _strings_for_others(found: Drawn, seed: int) -> list[str]:
    """Strings that hold bytes without an id, letters in parts, tokens that are taken whole, and numbers."""
    if not found.others:
        return []
    draw = random.Random(f"strings for others/{seed}")
    vocab = found.files["tokenizer.json"]["model"]["vocab"]
    words = sorted(token.replace("Ġ", " ") for token in vocab if len(token) > 1 and set(token) <= {*found.letters, "Ġ"})
    pieces = [
        "\x04",
        "\x13",
        "\x1d",
        "!",
        "!",
        "'s",
        " ",
        "  ",
        "e\u0301",
        "\u0301",
        "e",
        "\U00040000",
        "12",
        "3",
        "\n",
    ]
    pieces = [*pieces, *draw.sample(words, min(len(words), 15))]
    return ["".join(draw.choices(pieces, k=draw.randint(1, 6))) for _ in range(60)]
