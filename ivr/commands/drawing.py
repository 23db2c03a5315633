"""Tokens drawn as text: borders between them, those set off that the other tokenizers lack, lines below each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ivr.console import printable

# backgrounds of two neighbours, of a token that is set off, and the end; 256 colours of a terminal
SHADES, SET_OFF, PLAIN = ("\x1b[48;5;254;38;5;16m", "\x1b[48;5;250;38;5;16m"), "\x1b[48;5;114;38;5;16m", "\x1b[0m"
BORDER, OPEN, CLOSE = "│", "[", "]"


@dataclass(frozen=True)
class Cut:
    """A text in tokens. pieces: what each covers; what is no whole character is written in bytes, `\\xe2`.

    lone: whether the other tokenizers lack this token.
    """

    ids: list[int]
    pieces: list[str]
    lone: list[bool]


def cut(tokenizer: Any, text: str, others: Sequence[Any]) -> Cut:
    """Encode a text with one tokenizer, beside others."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    lacked = {
        token: bool(others) and all(other.token_to_id(token) is None for other in others)
        for token in dict.fromkeys(encoding.tokens)
    }
    lone = [lacked[token] for token in encoding.tokens]
    return Cut(encoding.ids, [_piece(token) for token in encoding.tokens], lone)


def _piece(token: str) -> str:
    """The text of a token of a byte-level tokenizer.

    >>> _piece("Ġndarray"), _piece("âĤ")
    (' ndarray', '\\\\xe2\\\\x82')
    """
    from ivr.encoding.byte_alphabet import from_alphabet

    try:
        return from_alphabet(token).decode("utf-8", "backslashreplace")
    except KeyError:  # an added token, written as it is
        return token


def draw(cuts: Mapping[str, Cut], lines: int, colour: bool) -> str:
    """The first `lines` lines of the text under each tokenizer, below each other, each with its number of tokens."""
    width = max(map(len, cuts))
    split = {name: _in_lines(found) for name, found in cuts.items()}
    longest = max(map(len, split.values()))
    rows = []
    for number in range(min(lines, longest)):
        for name, parts in split.items():
            tokens = parts[number] if number < len(parts) else []
            rows.append(f"{name:<{width}}  {len(tokens):>4}  {_line(tokens, colour)}")
        if len(cuts) > 1:
            rows.append("")
    if lines and longest > lines:
        rows.append(f"... and {longest - lines:,} more lines (--lines)")
    return "\n".join(rows).rstrip("\n")


def _in_lines(found: Cut) -> list[list[tuple[str, bool]]]:
    """(piece, whether it is set off) line by line; a piece with a line end in it ends its line."""
    lines: list[list[tuple[str, bool]]] = [[]]
    for piece, lone in zip(found.pieces, found.lone, strict=True):
        lines[-1].append((piece, lone))
        if "\n" in piece:
            lines.append([])
    return lines if lines[-1] or len(lines) == 1 else lines[:-1]


def _line(tokens: Sequence[tuple[str, bool]], colour: bool) -> str:
    """One line of a text.

    >>> _line([("The", False), (" ndarray", True), (".\\n", False)], colour=False)
    'The│[ ndarray]│.⏎'
    """
    drawn = []
    for number, (piece, lone) in enumerate(tokens):
        shown = printable(piece.replace("\n", "⏎").replace("\t", "→"))
        if colour:
            drawn.append(f"{SET_OFF if lone else SHADES[number % 2]}{shown}{PLAIN}")
        else:
            drawn.append(f"{OPEN}{shown}{CLOSE}" if lone else shown)
    return ("" if colour else BORDER).join(drawn)


def table(cuts: Mapping[str, Cut], num_bytes: int, bits: Mapping[str, float]) -> str:
    """Counts of each tokenizer, and what it saves beside the first."""
    head = ["", "tokens", "bytes a token", "saved", *(["bits per byte"] if bits else [])]
    first = len(next(iter(cuts.values())).ids)
    rows = [head]
    for name, found in cuts.items():
        count = len(found.ids)
        saved = "" if name == next(iter(cuts)) or not first else f"{100 * (first - count) / first:.1f} %"
        each = f"{num_bytes / count:.2f}" if count else ""
        rows.append([name, f"{count:,}", each, saved, *([f"{bits[name]:.4f}"] if bits else [])])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
