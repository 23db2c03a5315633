"""Values that no option can mean, whichever it is: refused where they enter, from a command line or a file."""

import stat
from pathlib import Path
from typing import Any

LARGEST_SHOWN = 1 << 53  # a number beyond is not shown
SHOWN_CHARACTERS = 60


def read_value(kind: type, text: str) -> Any:
    """A value of this type from its text. Raises ValueError saying what is needed.

    A number is written in ASCII digits. `~` is the home directory, which a shell leaves to the program in
    `--corpus=~/text`.

    >>> read_value(int, "1e3")
    Traceback (most recent call last):
    ValueError: '1e3': a whole number is needed
    >>> read_value(Path, "")
    Traceback (most recent call last):
    ValueError: it is empty: perhaps a variable of the shell that is not set
    """
    if kind is Path:
        return _read_path(text)
    try:
        return kind(text if kind is str or (text.isascii() and "_" not in text) else "")
    except ValueError:
        needed = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise ValueError(f"{shown(text)}: {needed} is needed") from None


def _read_path(text: str) -> Path:
    if not text:
        raise ValueError("it is empty: perhaps a variable of the shell that is not set")
    try:
        return Path(text).expanduser() if text[0] == "~" else Path(text)  # Path drops the ./ of a file called ~
    except RuntimeError:
        raise ValueError(f"{shown(text)}: there is no such user") from None


def impossible_path(path: Path) -> str:
    """What is wrong with the name of a file or directory, there or not: a device, a pipe, a link to itself, a name that
    no file can have, the root directory.

    >>> impossible_path(Path("/"))
    'is the root directory; name one below it'
    """
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, PermissionError):
        return ""  # the stage says what it needed, or whom to ask
    except OSError as error:
        return f"({error.strerror})"
    except ValueError as error:
        return f"({error})"
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        return "is neither a file nor a directory, but a device or a pipe"
    return "is the root directory; name one below it" if path.samefile("/") else ""


def shown(text: str) -> str:
    """A text as a message quotes it, not longer than a line."""
    return repr(text) if len(text) <= SHOWN_CHARACTERS else repr(text[:SHOWN_CHARACTERS]) + "..."


def shown_value(value: Any) -> str:
    """The same for a value of any type, without quotation marks."""
    text = str(value) if not isinstance(value, int) or abs(value) <= LARGEST_SHOWN else "a number beyond 2^53"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
