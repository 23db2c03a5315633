"""Which files of a corpora directory are read, and what each is called after cleaning."""

import errno
import hashlib
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

FORMATS = (".txt", ".jsonl", ".json", ".ndjson")
COMPRESSIONS = (".gz", ".xz")
READABLE = ".txt/.jsonl/.json" + ", each also " + " or ".join(COMPRESSIONS)
# of a file name are 255 bytes allowed, and other programs put something before and behind it
MOST_NAME_BYTES = 200
NAME_HASH_DIGITS = 16
_UNFIT = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|\u2028\u2029]|^[-.~]')
ADVICE = {  # for file types that people bring and that are not read
    **dict.fromkeys((".csv", ".tsv", ".parquet", ".arrow", ".xlsx"), "write its text column as .jsonl"),
    **dict.fromkeys((".html", ".xml", ".pdf", ".docx", ".doc", ".hwp", ".epub"), "turn it into .txt"),
    **dict.fromkeys((".md", ".text", ".rst"), "name it .txt"),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".bz2", ".zst"), "unpack it"),
}
PLACEHOLDERS = frozenset({".gitkeep", ".gitignore", ".keep"})


@dataclass(frozen=True, slots=True)
class Source:
    """One file to read. `name` is its path inside the corpora directory, with `/`."""

    path: Path
    name: str

    @property
    def format(self) -> str:
        """`.txt`, `.jsonl` or `.json`; empty for a file type that is not read."""
        suffix = _split_suffixes(self.name)[1]
        return ".jsonl" if suffix == ".ndjson" else suffix

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
        elif _is_directory(entry):
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
            if entry.is_symlink() and _identity(source.path) in visited:
                left_out.append(LeftOut(name, "link to a file that is read already"))
            else:
                visited.add(_identity(source.path))
                sources.append(source)
        else:
            left_out.append(LeftOut(name, _unknown_type(name)))


def _is_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False  # a link to itself leads nowhere, as a broken one
        raise


def cleaned_names(sources: Sequence[Source]) -> dict[Source, str]:
    """A distinct `<name>.txt` for each source: its stem where that is free, else with its folders, else in full.

    `x.txt` -> `x.txt`; `a/x.txt` and `b/x.jsonl` -> `a__x.txt` and `b__x.txt`; `x.txt` and `x.json` ->
    `x.txt.txt` and `x.json.txt`. Names that differ only in case, or in how an accent is composed, count as equal:
    some file systems say so. What a name must not hold becomes `_`; a long name is cut and told by a hash.
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
        wanted = Counter(_key(spell(source)) for source in waiting)
        for source in list(waiting):
            key = _key(spell(source))
            if wanted[key] == 1 and key not in taken:
                names[source] = _fit(spell(source)) + ".txt"
                taken.add(key)
                waiting.remove(source)
    for source in waiting:  # names that differ in case only, `a/b.txt` beside `a__b.txt`
        spelling, number = spellings[-1](source), 1
        while _key(name := spelling if number == 1 else f"{spelling}-{number}") in taken:
            number += 1
        names[source] = _fit(name) + ".txt"
        taken.add(_key(name))
    return names


def _key(name: str) -> str:
    """Equal for names that some file system takes for the same file."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", _fit(name)).casefold())


def _fit(name: str) -> str:
    """The name as every file system takes it: composed, of limited length, nothing in it that means something else.

    >>> _fit("-r f\\n")
    '_r f_'
    """
    fit = unicodedata.normalize("NFC", _UNFIT.sub("_", name))
    if len(fit.encode()) <= MOST_NAME_BYTES:
        return fit
    digest = hashlib.sha256(name.encode()).hexdigest()[:NAME_HASH_DIGITS]
    beginning = fit.encode()[: MOST_NAME_BYTES - len(digest) - 1].decode("utf-8", "ignore")
    return f"{beginning}-{digest}"


def shown(name: str) -> str:
    """A name for a log: what would move the cursor or end the line is spelled out."""
    return name if name.isprintable() else name.encode("unicode_escape", "backslashreplace").decode()


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
    advice = ADVICE.get(Path(name).suffix.lower())
    return f"file type is not read: {suffix}" + (f" ({advice})" if advice else "")


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
