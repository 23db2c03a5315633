"""The text of the built-in sample: docstrings of the standard library and of packages the lock pins.

Source files are parsed, never imported. One docstring is one document; the same version gives the same text.
"""

import ast
import importlib.util
import inspect
import json
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from ivr.console import LOG
from ivr.corpus.cleaning import clean_text, is_heldout
from ivr.disk.writer import atomic_directory, atomic_file, files_below
from ivr.errors import ConfigError
from ivr.workers import end_with_parent

STANDARD_LIBRARY = "stdlib"
GENERAL_PACKAGES = (STANDARD_LIBRARY, "transformers")
DOMAIN_PACKAGES = ("numpy", "torch")
MIN_DOCSTRING_CHARACTERS = 40
NUM_PROCESSES = 2
FILES_PER_TASK = 32
# not the text of the package itself, or not there on every machine
SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"})
_HOLDERS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def package_root(package: str) -> Path:
    """Where a package's source files lie, found without importing it."""
    if package == STANDARD_LIBRARY:
        return Path(sysconfig.get_paths()["stdlib"])
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"the built-in sample needs the package {package}, which is not installed; run `make setup`")
    return Path(spec.submodule_search_locations[0])


def write_sample_text(package: str, target: Path) -> int:
    """Write a package's docstrings as .jsonl, one `{"text": ...}` a line; returns how many there are."""
    seen: set[str] = set()
    with atomic_file(target) as stream:
        for text in docstrings_below(package_root(package)):
            if text not in seen:
                seen.add(text)
                stream.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    LOG.info("sample: %s docstrings of %s", f"{len(seen):,}", package)
    return len(seen)


def write_sample_corpora(folder: Path, packages: Sequence[str]) -> None:
    """Write the sample's text of `packages` into `folder`, one file a package; what else lay there goes."""
    with atomic_directory(folder) as staging:
        for package in packages:
            write_sample_text(package, staging / f"{package}.jsonl")


def general_texts(sample: Path, heldout_fraction: float, seed: int) -> Iterator[str]:
    """The general documents below `sample` a model may learn from: cleaned, those that are held out left out."""
    for path in files_below(sample / "general"):
        with path.open(encoding="utf-8", newline="\n") as stream:
            for line in stream:
                text = clean_text(json.loads(line)["text"])
                if text and not is_heldout(text.encode(), heldout_fraction, seed):
                    yield text


def docstrings_below(root: Path) -> Iterator[str]:
    """The docstrings of every .py file below `root`, in the order of the files' names."""
    files = sorted(path for path in root.rglob("*.py") if not SKIPPED_FOLDERS & set(path.relative_to(root).parts))
    with ProcessPoolExecutor(NUM_PROCESSES, initializer=end_with_parent) as pool:
        for found in pool.map(docstrings_of_file, files, chunksize=FILES_PER_TASK):
            yield from found


def docstrings_of_file(path: Path) -> list[str]:
    """The docstrings of one file: module, classes, functions, in their order. None from a file that is not Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes and such are not ours to mend
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError):
            return []
    return list(_docstrings(tree))


def _docstrings(node: ast.AST) -> Iterator[str]:
    """As `ast.walk` would find them, without the walk through every expression."""
    if isinstance(node, _HOLDERS) and (text := ast.get_docstring(node, clean=False)) is not None:
        text = inspect.cleandoc(text)
        if len(text) >= MIN_DOCSTRING_CHARACTERS and _is_unicode(text):
            yield text
    for name in ("body", "orelse", "finalbody", "handlers"):
        children = getattr(node, name, None)
        if isinstance(children, list):
            for child in children:
                yield from _docstrings(child)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
