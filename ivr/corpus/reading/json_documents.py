"""The documents in one JSON value, whatever its shape: a string, an object with a text, a list of them, a chat.

`--text-key a.b` reaches into objects; where a list is on the way, each of its elements is a document. A list of chat
messages is one document: what was said, in order, with blank lines between; who said it is left out.
"""

from collections.abc import Iterator
from typing import Any

from ivr.corpus.reading.items import Document, Reject, make_reject
from ivr.corpus.reading.json_stream import Broken, Twice

CHAT_KEYS = ("messages", "conversations", "conversation")
SAID_KEYS = ("content", "value", "text")
MOST_KEYS, MOST_DEPTH = 20, 4
KINDS = {dict: "an object", list: "a list", float: "a number", bool: "true or false", type(None): "null"}


def documents_of(value: Any, line: int, text_key: str, written: str) -> Iterator[Document | Reject]:
    """The documents in `value`, which stands on `line` and begins as `written`; a Reject where there is none."""
    if isinstance(value, Broken):
        yield make_reject(line, value.reason, written)
    elif isinstance(value, str):
        yield Document(value, line)
    elif isinstance(value, dict):
        yield from _of_object(value, line, text_key, written)
    elif isinstance(value, list) and (chat := _chat(value)) is not None:
        yield Document(chat, line)
    elif isinstance(value, list) and value and all(isinstance(item, dict | str) for item in value):
        for item in value:
            yield from documents_of(item, line, text_key, written)
    else:
        yield make_reject(line, f"{KINDS[type(value)]}, not an object or a string", written)


def _of_object(value: dict[str, Any], line: int, text_key: str, written: str) -> Iterator[Document | Reject]:
    if (twice := _twice(value, text_key)) is not None:
        yield make_reject(line, f"key {twice!r} stands twice in one object", written)
        return
    texts = _look_up(value, text_key)
    if not texts:
        for key in CHAT_KEYS:
            chat = _chat(value.get(key))
            if chat is not None:
                yield Document(chat, line)
                return
        yield make_reject(line, f"no key {text_key!r}", written, tuple(text_keys(value).items()))
        return
    for text in texts:
        if isinstance(text, str):
            yield Document(text, line)
        elif isinstance(text, list) and (chat := _chat(text)) is not None:
            yield Document(chat, line)
        else:
            yield make_reject(line, f"{text_key!r} is {KINDS[type(text)]}, not a string", written)


def _look_up(value: Any, text_key: str) -> list[Any]:
    """What `a.b` leads to: the key `a.b` where there is one, else the key `b` of the object under `a`, or of each
    object in the list there."""
    if not isinstance(value, dict):
        return []
    if text_key in value:
        return [value[text_key]]
    for cut in range(len(text_key)):
        if text_key[cut] == "." and text_key[:cut] in value:
            inner, rest = value[text_key[:cut]], text_key[cut + 1 :]
            found = [text for item in (inner if isinstance(inner, list) else [inner]) for text in _look_up(item, rest)]
            if found:
                return found
    return []


def _twice(value: dict[str, Any], text_key: str) -> str | None:
    """The key on the way to the text that stands twice in its object: which of the two is meant cannot be known."""
    found: Any = value
    for key in (text_key, *text_key.split(".")):
        if isinstance(found, Twice) and key in found.twice:
            return key
        if key != text_key and isinstance(found, dict):
            found = found.get(key)
    return None


def _chat(value: Any) -> str | None:
    """What is said in a list of messages, one after another; None where it is no such list."""
    if not (isinstance(value, list) and value and all(_is_message(item) for item in value)):
        return None
    said = [text for item in value for text in _said(item)]
    return "\n\n".join(said)


def _is_message(item: Any) -> bool:
    return isinstance(item, dict) and ("role" in item or "from" in item) and any(key in item for key in SAID_KEYS)


def _said(message: dict[str, Any]) -> list[str]:
    """The texts of a message: its content, or those parts of its content that are text."""
    content = next(message[key] for key in SAID_KEYS if key in message)
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return [text for text in texts if isinstance(text, str) and text.strip()]


def text_keys(value: Any, prefix: str = "", depth: int = 0) -> dict[str, int]:
    """The keys, as `--text-key` takes them, that lead to strings, and how many characters they lead to.

    >>> text_keys({"id": 3, "title": "A", "body": {"text": "Words."}, "rows": [{"text": "abc"}, {"text": "de"}]})
    {'title': 1, 'body.text': 6, 'rows.text': 5}
    """
    found: dict[str, int] = {}
    if isinstance(value, dict) and depth < MOST_DEPTH:
        for key, inner in value.items():
            path = f"{prefix}{key}"
            if isinstance(inner, str):
                found[path] = found.get(path, 0) + len(inner)
                continue
            for item in inner[:MOST_KEYS] if isinstance(inner, list) else [inner]:
                for name, size in text_keys(item, path + ".", depth + 1).items():
                    found[name] = found.get(name, 0) + size
    return dict(list(found.items())[:MOST_KEYS])
