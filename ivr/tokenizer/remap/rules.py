"""remap_rules.yaml: the contract between the reassigned tokenizer and the weights.

    format: 2
    original_tokenizer_sha256: "..."     # of tokenizers/original/tokenizer.json
    distilled_tokenizer_sha256: "..."    # of tokenizers/distilled_unigram/tokenizer.json
    swaps:
    - id: 123
      old: "\\u0120Leilan"               # token strings in the byte alphabet, always double-quoted
      new: "\\u0120carcinoma"
      pieces: [1234, 567]                # ids of the ORIGINAL tokenizer for the bytes of `new`
      score: 12345                       # Unigram score of `new`
      old_score: 678                     # Unigram score of `old`, for the way back

Where some new string spans several pretokens the format is 3, and each swap says how many: `words: 2`, a superword.

Sorted by id. Read strictly: YAML would otherwise take `no`, `~` or `010` for something that is not a string.
"""

import json
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from reprlib import repr  # short, whatever is in the file
from typing import Any

import yaml

from ivr.disk.writer import write_text
from ivr.encoding.byte_alphabet import CHARACTER_TO_BYTE
from ivr.errors import CorruptInputError
from ivr.tokenizer.unigram_file import SUPERWORDS_BELOW

FORMAT, WITH_SUPERWORDS = 2, 3
MOST_LEVELS = 5
LARGEST = 2**53  # what a float64 holds exactly
_RULE_KEYS = ("id", "old", "new", "pieces", "score", "old_score")
_KEYS_OF_FORMAT = {FORMAT: _RULE_KEYS, WITH_SUPERWORDS: (*_RULE_KEYS, "words")}
_FILE_KEYS = ("format", "original_tokenizer_sha256", "distilled_tokenizer_sha256", "swaps")


@dataclass(frozen=True)
class Swap:
    """One id that changes its string."""

    id: int
    old: str
    new: str
    pieces: tuple[int, ...]
    score: int
    old_score: int = 0
    words: int = 1  # pretokens that `new` spans: a superword has two or more
    line: int = field(default=0, compare=False)  # where it stands in a file that was read


@dataclass(frozen=True)
class RemapRules:
    """All swaps, sorted by id, and the tokenizers they belong to."""

    original_tokenizer_sha256: str
    distilled_tokenizer_sha256: str
    swaps: tuple[Swap, ...]


def write_rules(path: Path, rules: RemapRules) -> None:
    """Write the file; the same rules give the same bytes."""
    superwords = any(swap.words > 1 for swap in rules.swaps)
    lines = [
        f"format: {WITH_SUPERWORDS if superwords else FORMAT}",
        f"original_tokenizer_sha256: {json.dumps(rules.original_tokenizer_sha256)}",
        f"distilled_tokenizer_sha256: {json.dumps(rules.distilled_tokenizer_sha256)}",
        "swaps:" if rules.swaps else "swaps: []",
    ]
    for swap in sorted(rules.swaps, key=lambda swap: swap.id):
        # a JSON string is a double-quoted YAML string
        lines += [
            f"- id: {swap.id}",
            f"  old: {json.dumps(swap.old)}",
            f"  new: {json.dumps(swap.new)}",
            f"  pieces: {json.dumps(list(swap.pieces))}",
            f"  score: {swap.score}",
            f"  old_score: {swap.old_score}",
        ]
        if superwords:
            lines.append(f"  words: {swap.words}")
    write_text(path, "\n".join(lines) + "\n")


class _StrictLoader(yaml.CSafeLoader):
    """Keeps the line of every mapping and refuses a key that stands twice."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    found: dict[Any, Any] = {"__line__": node.start_mark.line + 1}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise CorruptInputError(f"line {key_node.start_mark.line + 1}: the key {key!r} is not a name")
        if key in found:
            raise CorruptInputError(f"line {key_node.start_mark.line + 1}: the key {key!r} stands twice")
        found[key] = loader.construct_object(value_node, deep=True)
    return found


class _Odd(str):
    """A number that YAML would read in its own way (010 as 8, 0x1F, 1_000, 12:30:45), as it was written."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _number(_: _StrictLoader, node: yaml.ScalarNode) -> int | _Odd:
    return int(node.value) if re.fullmatch("-?(0|[1-9][0-9]*)", node.value, re.ASCII) else _Odd(node.value)


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _number)
_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_rules(path: Path) -> RemapRules:
    """Read and check the file. Raises CorruptInputError with line, value and reason."""
    try:
        text = path.read_text(encoding="utf-8")
        _check_events(text)
        document = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a CSafeLoader
    except yaml.YAMLError as error:
        raise CorruptInputError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except UnicodeDecodeError as error:
        raise CorruptInputError(f"{path} is not UTF-8: {error}") from None
    except CorruptInputError as error:
        raise CorruptInputError(f"{path}, {error}") from None
    except (ValueError, ArithmeticError, AttributeError, TypeError) as error:  # a date or number there is none of
        raise CorruptInputError(f"{path} holds a value that is no value ({error}); run `ivr remap`") from None
    if not isinstance(document, dict):
        raise CorruptInputError(f"{path} holds no rules; run `ivr remap`")
    _check_keys(path, document, _FILE_KEYS)
    # True == 1 and 2.0 == 2 in Python
    if type(document["format"]) is not int or document["format"] not in _KEYS_OF_FORMAT:
        raise CorruptInputError(
            f"{path}: format {repr(document['format'])}, this version reads {FORMAT} and {WITH_SUPERWORDS}"
        )
    keys = _KEYS_OF_FORMAT[document["format"]]
    for key in ("original_tokenizer_sha256", "distilled_tokenizer_sha256"):
        _check(path, document, key, str, "a quoted hash is needed")
    _check(path, document, "swaps", list, "a list is needed")
    swaps = tuple(sorted((_swap(path, entry, keys) for entry in document["swaps"]), key=lambda swap: swap.id))
    for first, second in pairwise(swaps):
        if first.id == second.id:
            raise CorruptInputError(f"{path}: id {first.id} is swapped twice")
    return RemapRules(document["original_tokenizer_sha256"], document["distilled_tokenizer_sha256"], swaps)


def _check_events(text: str) -> None:
    """Raises CorruptInputError for what no rules hold: libyaml's loader runs out of stack on deep nesting, and dies."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise CorruptInputError(f"line {line}: an alias (*{event.anchor}); write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_LEVELS:
                raise CorruptInputError(f"line {line}: nested too deeply to be rules")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _swap(path: Path, entry: Any, keys: tuple[str, ...]) -> Swap:
    if not isinstance(entry, dict):
        raise CorruptInputError(f"{path}: {repr(entry)} is not a swap (a mapping with {', '.join(keys)})")
    _check_keys(path, entry, keys)
    entry.setdefault("words", 1)
    for key in ("id", "score", "old_score", "words"):
        _check(path, entry, key, int, "a whole number is needed, in plain digits")
        superword = key == "score" and type(entry["words"]) is int and entry["words"] > 1
        if abs(entry[key]) > (SUPERWORDS_BELOW if superword else LARGEST):
            raise _refusal(path, entry, key, f"it lies beyond 2^{58 if superword else 53}")
    for key in ("old", "new"):
        _check(path, entry, key, str, "a token is needed, in double quotes")
        if not entry[key] or any(character not in CHARACTER_TO_BYTE for character in entry[key]):
            raise _refusal(path, entry, key, "not a token in the byte alphabet (a blank is Ġ, U+0120)")
    _check(path, entry, "pieces", list, "a list of ids is needed")
    if not entry["pieces"] or not all(type(piece) is int and 0 <= piece <= LARGEST for piece in entry["pieces"]):
        raise _refusal(path, entry, "pieces", "a list of ids is needed")
    pieces = tuple(entry["pieces"])
    return Swap(
        entry["id"], entry["old"], entry["new"], pieces, entry["score"], entry["old_score"], entry["words"],
        entry["__line__"],
    )  # fmt: skip


def _check_keys(path: Path, mapping: dict[str, Any], keys: tuple[str, ...]) -> None:
    names = set(mapping) - {"__line__"}
    for what, wrong in (("lacks", set(keys) - names), ("has the unknown", names - set(keys))):
        if wrong:
            raise CorruptInputError(
                f"{path}, line {mapping['__line__']}: {what} key {', '.join(sorted(map(str, wrong)))}"
            )


def _check(path: Path, mapping: dict[str, Any], key: str, kind: type, why: str) -> None:
    if type(mapping[key]) is not kind:
        raise _refusal(path, mapping, key, why)


def _refusal(path: Path, mapping: dict[str, Any], key: str, why: str) -> CorruptInputError:
    return CorruptInputError(f"{path}, line {mapping['__line__']}: {key} = {repr(mapping[key])}: {why}")
