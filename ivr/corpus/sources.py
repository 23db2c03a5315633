"""Which files of a corpora directory are read, and what each is called after cleaning."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

FORMATS = (".txt", ".jsonl", ".json")
COMPRESSIONS = (".gz", ".xz")
READABLE = "/".join(FORMATS) + ", each also " + " or ".join(COMPRESSIONS)
PLACEHOLDERS = frozenset({".gitkeep", ".gitignore", ".keep"})


@dataclass(frozen=True, slots=True)
class Source:
    """One file to read. `name` is its path inside the corpora directory, with `/`."""

    path: Path
    name: str

    @property
    def format(self) -> str:
        """`.txt`, `.jsonl` or `.json`; empty for a file type that is not read."""
        return _split_suffixes(self.name)[1]

    @property
    def stem(self) -> str:
        """The file's name without folders and without its known suffixes."""
        return _split_suffixes(self.name)[0].rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something in a corpora directory that is not read, and why."""

    name: str
    reason: str


def find_sources(root: Path) -> tuple[list[Source], list[LeftOut]]:
    """The readable files at or below `root`, sorted by name, and everything else with a reason.

    Links to files and directories are followed, each directory once, so that a loop of links ends.
    """
    if root.is_file():
        source = Source(root, root.name)
        return ([source], []) if source.format else ([], [LeftOut(root.name, _unknown_type(root.name))])
    sources: list[Source] = []
    left_out: list[LeftOut] = []
    if root.is_dir():
        _walk(root, "", {_identity(root)}, sources, left_out)
    return sorted(sources, key=lambda source: source.name), sorted(left_out, key=lambda item: item.name)


def _walk(
    folder: Path, prefix: str, visited: set[tuple[int, int]], sources: list[Source], left_out: list[LeftOut]
) -> None:
    # real directories first: a link to one of them is then the second way in, whatever its name
    for entry in sorted(os.scandir(folder), key=lambda entry: (entry.is_symlink(), entry.name)):
        name = prefix + entry.name
        if not _is_text(name):
            left_out.append(LeftOut(os.fsencode(name).decode("utf-8", "backslashreplace"), "file name is not UTF-8"))
        elif entry.name.startswith("."):
            if entry.name not in PLACEHOLDERS:
                left_out.append(LeftOut(name, "hidden file"))
        elif entry.is_dir():
            if _identity(Path(entry.path)) in visited:
                left_out.append(LeftOut(name, "link to a directory that is read already"))
            else:
                visited.add(_identity(Path(entry.path)))
                _walk(Path(entry.path), name + "/", visited, sources, left_out)
        elif not Path(entry.path).exists():
            left_out.append(LeftOut(name, "broken link"))
        elif not stat.S_ISREG(entry.stat().st_mode):
            left_out.append(LeftOut(name, "not a regular file"))  # a FIFO would be waited on for ever
        elif (source := Source(Path(entry.path), name)).format:
            sources.append(source)
        else:
            left_out.append(LeftOut(name, _unknown_type(name)))


def cleaned_names(sources: Sequence[Source]) -> dict[Source, str]:
    """A distinct `<name>.txt` for each source: its stem where that is free, else with its folders, else in full.

    `x.txt` -> `x.txt`; `a/x.txt` and `b/x.jsonl` -> `a__x.txt` and `b__x.txt`; `x.txt` and `x.json` ->
    `x.txt.txt` and `x.json.txt`. Names that differ in case only count as equal: some file systems say so.
    """
    names: dict[Source, str] = {}
    taken: set[str] = set()
    waiting = list(sources)
    spellings: tuple[Callable[[Source], str], ...] = (
        lambda source: source.stem,
        lambda source: _split_suffixes(source.name)[0].replace("/", "__"),
        lambda source: source.name.replace("/", "__"),
    )
    for spell in spellings:
        wanted = Counter(spell(source).casefold() for source in waiting)
        for source in list(waiting):
            key = spell(source).casefold()
            if wanted[key] == 1 and key not in taken:
                names[source] = spell(source) + ".txt"
                taken.add(key)
                waiting.remove(source)
    for source in waiting:  # names that differ in case only, `a/b.txt` beside `a__b.txt`
        spelling, number = spellings[-1](source), 1
        while (name := spelling if number == 1 else f"{spelling}-{number}").casefold() in taken:
            number += 1
        names[source] = name + ".txt"
        taken.add(name.casefold())
    return names


def _split_suffixes(name: str) -> tuple[str, str]:
    """`a/x.jsonl.gz` -> (`a/x`, `.jsonl`); the second is empty where the type is not read."""
    base = name
    for suffix in COMPRESSIONS:
        if base.lower().endswith(suffix):
            base = base[: -len(suffix)]
            break
    for suffix in FORMATS:
        if base.lower().endswith(suffix) and not base.lower().endswith("/" + suffix):
            return base[: -len(suffix)], suffix
    return name, ""


def _unknown_type(name: str) -> str:
    suffix = "".join(Path(name).suffixes[-2:]) or "without a suffix"
    return f"file type is not read: {suffix}"


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
