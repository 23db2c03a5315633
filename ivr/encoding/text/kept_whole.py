"""Whether a pre-tokenizer keeps text as it is: one byte-level step, no character dropped, none cut in two.

The rest of the package takes a pretoken for text, and pretokens one after another for the text that was split.
"""

import json
from collections.abc import Iterator
from typing import Any

from ivr.encoding.byte_alphabet import from_alphabet
from ivr.encoding.tokenizer_steps import steps
from ivr.errors import ConfigError

TRIED = (*range(0xD800), *range(0xE000, 0x10000, 7), *range(0x10000, 0x110000, 4099))  # characters, alone and beside
AROUND = "\n a b  1 .-_ "


def check_pre_tokenizer(content: dict[str, Any]) -> None:
    """Raises ConfigError, naming the steps, for the value of a tokenizer.json whose pre-tokenizer is another."""
    found = steps(content.get("pre_tokenizer"), "pretokenizers")
    kinds = [step["type"] for step in found]
    if kinds.count("ByteLevel") != 1:
        raise ConfigError(
            f"its pre-tokenizer is {', '.join(kinds) or None}, which has not one step ByteLevel as GPT-2's; choose "
            "another model"
        )
    for step in found:
        # of an inverted pattern it is what no pretoken holds that goes, which may be nothing: that is tried later
        if str(step.get("behavior")).lower() == "removed" and not step.get("invert"):
            raise ConfigError(
                f"its pre-tokenizer drops text (behavior Removed of a step {step['type']}), so no ids stand for all of "
                'it; set behavior to "Isolated" if the model was trained so, or choose another model'
            )


def check_keeps_text(content: dict[str, Any]) -> None:
    """The same by trying, for one that `tokenizers` can load: steps of many kinds drop or cut characters.

    GPT-2's own needs no trying.
    """
    found = steps(content["pre_tokenizer"], "pretokenizers")
    kinds = ", ".join(step["type"] for step in found)
    if kinds == "ByteLevel":
        return
    for text, pieces in _tried(found):
        try:
            kept = "".join(from_alphabet(piece).decode() for piece in pieces) == text
        except KeyError as error:
            raise ConfigError(
                f"its pre-tokenizer ({kinds}) adds {error}, which stands for no byte; choose another model"
            ) from None
        except UnicodeDecodeError:
            raise ConfigError(
                f"its pre-tokenizer ({kinds}) cuts a character in two, as one of {text.strip()!r}: a step behind "
                "ByteLevel takes bytes for characters, which is not followed; choose another model"
            ) from None
        if not kept:
            raise ConfigError(
                f"its pre-tokenizer ({kinds}) drops characters, as of {text!r}, so no ids stand for all of a text; "
                "choose another model"
            )


def _tried(found: list[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Texts that together hold all kinds of characters, and their pretokens in the byte alphabet."""
    from tokenizers import Tokenizer, models

    plain = [{**step, "add_prefix_space": False} if step["type"] == "ByteLevel" else step for step in found]
    spec = json.loads(Tokenizer(models.BPE()).to_str())
    spec["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": plain}
    split = Tokenizer.from_str(json.dumps(spec)).pre_tokenizer.pre_tokenize_str
    lines = ["".join(map(chr, TRIED[start : start + 16])) for start in range(0, len(TRIED), 16)]
    for text in (AROUND, *(" \t\n-_"), *lines, *(chr(code) for code in TRIED[:0x800])):
        yield text, [piece for piece, _ in split(text)]
