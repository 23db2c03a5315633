"""Lines of held-out text as the original and the remapped tokenizer split them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ivr.artifacts import ArtifactPaths
from ivr.encoding.byte_alphabet import from_alphabet, readable
from ivr.report.page.parts import Block, Line, Lines, Missing, Note, Piece, Token

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ivr.tokenizer.remap.rules import Swap

LINES, LONGEST, SHORTEST = 6, 160, 40  # characters of a line
SEARCHED = 400  # documents in which lines with new tokens are looked for


def segmentation(paths: ArtifactPaths, swaps: "Mapping[int, Swap]") -> Block:
    """Lines under both tokenizers, first those that lost the most tokens. `swaps`: by id, what new tokens are."""
    lines = list(islice(_lines(paths.heldout_corpora), SEARCHED))
    if not lines:
        return Note("There is no held-out text.", warning=True)
    files = [directory / "tokenizer.json" for directory in (paths.original_tokenizer, paths.remapped_tokenizer)]
    if not all(file.is_file() for file in files):
        return Missing("remap")
    from ivr.encoding.text.tokenizer_file import load_tokenizer

    original, remapped = map(load_tokenizer, files)
    split = [(_tokens(original, line), _tokens(remapped, line)) for line in lines]
    gains = [len(before) - len(after) for before, after in split]
    # the other half as it comes: a reader shall also see lines of which little was gained
    best = sorted(range(len(lines)), key=lambda place: -gains[place])[: LINES // 2]
    chosen = [*best, *(place for place in range(len(lines)) if place not in best)][:LINES]
    about = {token_id: _about(original, swap) for token_id, swap in swaps.items()}
    return Lines([_line(split[place], original, about) for place in chosen])


def _line(
    split: tuple[Sequence[tuple[int, str]], Sequence[tuple[int, str]]], original: "Tokenizer", about: Mapping[int, str]
) -> Line:
    before, after = split
    told = {}
    for token_id, token in after:
        old = original.id_to_token(token_id)
        if token != old:
            told[token_id] = about.get(token_id) or f"id {token_id}, was {_quoted(old or '')}"
    return Line(pieces_of(before, {}), pieces_of(after, told), (len(before), len(after)))


def pieces_of(tokens: Sequence[tuple[int, str]], about: Mapping[int, str]) -> list[Piece]:
    """What a reader sees between two borders: tokens that end within a character are shown together.

    >>> [(piece.text, piece.tokens) for piece in pieces_of([(1, "a"), (2, "\u00ec"), (3, "\u013a\u0123")], {})]
    [('a', 1), ('영', 2)]
    """
    pieces, held = [], list[tuple[int, str]]()
    for place, (token_id, token) in enumerate(tokens):
        held.append((token_id, token))
        text = _text("".join(part for _, part in held))
        if text is None and place + 1 < len(tokens):
            continue
        shown = readable("".join(part for _, part in held)) if text is None else text
        told = "; ".join(about[part] for part, _ in held if part in about)
        pieces.append(Piece(shown, len(held), told))
        held = []
    return pieces


def _text(token: str) -> str | None:
    """None where it ends, or begins, within a character."""
    try:
        return from_alphabet(token).decode("utf-8")
    except UnicodeDecodeError:
        return None
    except KeyError:  # an added token, which is text as it is
        return token


def _about(original: "Tokenizer", swap: "Swap") -> str:
    """`id 412, was "os"; before: "␣n" "d" "array"`."""
    pieces = " ".join(_quoted(original.id_to_token(piece) or "") for piece in swap.pieces)
    return f"id {swap.id}, was {_quoted(swap.old)}; before: {pieces}"


def _quoted(token: str) -> str:
    return f"“{Token(token).shown}”"


def _tokens(tokenizer: "Tokenizer", line: str) -> list[tuple[int, str]]:
    """(id, token in the byte alphabet)."""
    tokenizer.encode_special_tokens = True
    encoding = tokenizer.encode(line, add_special_tokens=False)
    return list(zip(encoding.ids, encoding.tokens, strict=True))


def _lines(heldout: Path) -> Iterator[str]:
    """One line of each of the first documents."""
    from ivr.corpus.documents import read_documents

    for document in read_documents(heldout) if heldout.is_dir() else ():
        line = next((line for line in document.splitlines() if len(line) >= SHORTEST), None)
        if line is not None:
            yield line[:LONGEST]
