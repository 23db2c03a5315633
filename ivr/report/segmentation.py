"""Lines of held-out text as the original and the remapped tokenizer split them."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ivr.artifacts import ArtifactPaths
from ivr.encoding.byte_alphabet import readable
from ivr.report.markup import escape, missing

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LINES, LONGEST, SHORTEST = 6, 160, 40  # characters of a line


def segmentation(paths: ArtifactPaths) -> str:
    """A list: each line under both tokenizers, new tokens marked."""
    if not (lines := list(islice(_lines(paths.heldout_corpora), LINES))):
        return '<p class="missing">There is no held-out text.</p>'
    files = [directory / "tokenizer.json" for directory in (paths.original_tokenizer, paths.remapped_tokenizer)]
    if not all(file.is_file() for file in files):
        return missing("remap")
    from ivr.base.tokenizer import load_tokenizer

    original, remapped = map(load_tokenizer, files)
    items = []
    for line in lines:
        sides = []
        for tokenizer in (original, remapped):
            tokens = _tokens(tokenizer, line)
            shown = [
                escape(readable(token))
                if token == original.id_to_token(number)
                else f"<b>{escape(readable(token))}</b>"
                for number, token in tokens
            ]
            sides.append(f"<p><code>{'|'.join(shown)}</code> {len(tokens):,} tokens</p>")
        items.append(f"<li>{''.join(sides)}</li>")
    return f"<ol>\n{''.join(items)}\n</ol>"


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
