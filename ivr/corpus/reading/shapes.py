"""What the beginning of a file says of its shape: what parts its documents, and how its JSON lies."""

import io
import re

from ivr.corpus.reading.json_stream import Broken, parse_line, parse_values

SEPARATORS = ("auto", "blank-line", "line", "special-token", "file")
# what other programs part documents with, for the same tokenizer
DELIMITERS = ("<|endoftext|>", "<|startoftext|>")
PROBE_CHARACTERS = 1 << 20
IS_JSON = "looks like JSON and is read as text, with its keys and quotes; name it .jsonl to read what is in it"
BEFORE = " \t\r\n\ufeff"  # a value of JSON
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")


def delimiter_pattern(delimiters: tuple[str, ...]) -> str:
    """A pattern of any of these tokens, for text."""
    return "|".join(re.escape(token) for token in sorted(delimiters, key=len, reverse=True))


def choose_parting(beginning: str, delimiters: tuple[str, ...]) -> str:
    """Delimiters on lines of their own (or that begin or end lines) first, then blank lines, else lines."""
    beginning = beginning.strip()
    if delimiters and any(token in beginning for token in delimiters):
        tokens = delimiter_pattern(delimiters)
        places = re.findall(rf"^[ \t]*(?:{tokens})|(?:{tokens})[ \t]*$", beginning, re.MULTILINE)
        # one in the midst of a text may be what the text is about
        begins = re.match(tokens, beginning) is not None and len(re.findall(tokens, beginning)) > 1
        if len(places) > 1 or begins or re.search(rf"(?:{tokens})\Z", beginning):
            return "special-token"
    return "blank-line" if _BLANK_LINE.search(beginning) else "line"


def choose_shape(beginning: str, suffix: str) -> str:
    """`json-lines` where every line is a value, else `json-values`: a list, or values over several lines."""
    lines = beginning.lstrip(BEFORE).split("\n", 2)
    if len(lines) == 1 and len(beginning) >= PROBE_CHARACTERS:  # the first line is not seen whole
        return "json-lines" if suffix == ".jsonl" and not lines[0].startswith("[") else "json-values"
    first = parse_line(lines[0])
    others = [line for line in lines[1:] if line.strip()]
    if isinstance(first, list):
        return "json-lines" if others else "json-values"
    if not isinstance(first, Broken):
        good_second = not others or not isinstance(parse_line(others[0]), Broken)
        return "json-lines" if suffix == ".jsonl" or good_second else "json-values"
    if suffix == ".jsonl" and not lines[0].startswith("["):
        value, _, _ = next(parse_values(io.StringIO(beginning)), (Broken(""), 0, ""))
        if isinstance(value, Broken) and lines[0].strip() != "{":
            return "json-lines"
    return "json-values"


def json_in_text(beginning: str) -> str:
    r"""What to tell of a file of text that is JSON by its looks: values that are objects, or a list of such or strings.

    >>> json_in_text('{"text": "a"}\n{"text": "b"}\n').partition(";")[0], json_in_text("{a} b")
    ('looks like JSON and is read as text, with its keys and quotes', '')
    """
    beginning = beginning.lstrip(BEFORE)
    if beginning[:1] not in ("{", "["):
        return ""
    value, _, _ = next(parse_values(io.StringIO(beginning)), (Broken(""), 0, ""))
    return IS_JSON if value and isinstance(value, dict | str) else ""
