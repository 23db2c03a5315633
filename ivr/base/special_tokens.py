"""The special tokens of a tokenizer directory, as far as they matter to text that may hold them literally."""

import json
from pathlib import Path
from typing import Any

DELIMITER_KEYS = ("bos_token", "eos_token")


def special_tokens(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All special tokens, and those of them that begin or end a document (bos, eos); blank ones left out."""
    added = _read(folder / "tokenizer.json").get("added_tokens", [])
    special = [token["content"] for token in added if token.get("special") and token["content"].strip()]
    config = _read(folder / "tokenizer_config.json")
    named = [config.get(key) for key in DELIMITER_KEYS]
    contents = [token.get("content") if isinstance(token, dict) else token for token in named]
    return tuple(special), tuple(token for token in contents if isinstance(token, str) and token in special)


def _read(path: Path) -> dict[str, Any]:
    """A JSON object that `ivr init` has checked; nothing where the tokenizer has none."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
