"""The project's documents as tests read them: code blocks, commands, links, and the paths that they name."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    Path(name)
    for name in (
        "README.md",
        "artifacts/README.md",
        "slurm/README.md",
        "tests/README.md",
        "tests/benchmarks/RESULTS.md",
        "tests/benchmarks/TRIED.md",
        "ivr/HOWTO.md",
        "ivr/tokenizer/METHOD.md",
        "ivr/tokenizer/proof/THEOREM.md",
    )
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INDENTED_CODE = re.compile(r"(?:^|\n\n) {4}\S.*")
INLINE_CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
OPERATORS = {";", "&&", "||", "|"}


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its fence."""

    language: str
    code: str
    line: int


def blocks(text: str) -> list[Block]:
    """
    >>> blocks("Do\\n\\n```sh\\nls\\n```\\n")
    [Block(language='sh', code='ls\\n', line=3)]
    """
    return [Block(match[1], match[2], text.count("\n", 0, match.start()) + 1) for match in FENCE.finditer(text)]


def commands(block: Block) -> Iterator[list[str]]:
    """The simple commands of a block, as words; comments are left out.

    >>> list(commands(Block("sh", "make a  # why\\nls \\\\\\n  -l; pwd\\n", 1)))
    [['make', 'a'], ['ls', '-l'], ['pwd']]
    """
    for line in block.code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if word in OPERATORS:
                yield words
                words = []
            else:
                words.append(word)
        if words:
            yield words


def prose(text: str) -> str:
    """The text without its fenced blocks; lines keep their numbers."""
    return FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)


def anchors(text: str) -> set[str]:
    """What `#...` of a link may name, as GitHub makes it from headings.

    >>> sorted(anchors("# One word, worked through\\n## `ivr` and make"))
    ['ivr-and-make', 'one-word-worked-through']
    """
    headings = re.findall(r"^#+ +(.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(text: str) -> list[str]:
    """The targets of links and pictures that lie in this repository."""
    return [target for target in LINK.findall(prose(text)) if "://" not in target]


def named_paths(text: str) -> list[str]:
    """Inline code that names a file or folder of this repository by its path from the root.

    >>> named_paths("see `ivr/stage.py`, `tests/`, `.jsonl` and `slurm/profiles/NAME.toml`")
    ['ivr/stage.py', 'tests/']
    """
    words = (word for code in INLINE_CODE.findall(prose(text)) for word in code.split())
    tops = ("ivr/", "tests/", "slurm/", "docs/", ".ci/")
    return [word.rstrip(",;:") for word in words if word.startswith(tops) and "NAME" not in word and "<" not in word]
