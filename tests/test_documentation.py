"""Links and paths in the documents lead somewhere, and code stands in blocks that say what it is."""

import doctest
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import documents
import promises
import pytest
from documents import DOCUMENTS, INDENTED_CODE, ROOT, anchors, blocks, links, named_paths, prose

from ivr.artifacts import ArtifactPaths

LANGUAGES = {"diff", "python", "sh", "text"}
README_LINES, LINE_LENGTH = 220, 140
FORMULAS = {Path("ivr/tokenizer/proof/THEOREM.md")}  # its indented lines are no code

every_document = pytest.mark.parametrize("name", DOCUMENTS, ids=str)


def read(name: Path) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@every_document
def test_every_link_leads_somewhere(name: Path) -> None:
    text = read(name)
    for target in links(text):
        path, _, anchor = target.partition("#")
        there = (ROOT / name).parent / path if path else ROOT / name
        assert there.exists(), f"{name} links to {target}"
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), f"{name} links to {target}"


@every_document
def test_every_path_that_is_named_exists(name: Path) -> None:
    missing = []
    for path in named_paths(read(name)):
        if not list(ROOT.glob(path.partition("::")[0].rstrip("/"))):
            missing.append(path)
    assert missing == [], f"{name} names what is not there"


@every_document
def test_code_stands_in_blocks_of_a_known_language(name: Path) -> None:
    text = read(name)
    assert {block.language for block in blocks(text)} <= LANGUAGES
    if name not in FORMULAS:
        assert INDENTED_CODE.search(prose(text)) is None, "indented code says no language, so no test runs it"


@every_document
def test_lines_are_not_long(name: Path) -> None:
    long = [line for line in read(name).splitlines() if len(line) > LINE_LENGTH and not line.startswith("|")]
    assert name in FORMULAS or long == []


def test_the_readme_is_short() -> None:
    assert len(read(Path("README.md")).splitlines()) <= README_LINES


def test_the_table_of_artifacts_is_complete() -> None:
    """Each path of the contract is named in artifacts/README.md, or lies in a folder that is."""
    paths = ArtifactPaths(Path("/run"))
    known = [value for key in dir(ArtifactPaths) if isinstance(value := getattr(paths, key), Path)]
    table = read(Path("artifacts/README.md")).replace("{cleaned,heldout}/", "cleaned/` `corpora/general/heldout/")
    named = [Path("/run", path.replace("*.pt", "")) for path in re.findall(r"`([\w./<>*-]+)`", table)]
    missing = [path for path in known if path != paths.root and not path.name.startswith(".")]
    missing = [
        path for path in missing if not any(path == one or one in path.parents or path in one.parents for one in named)
    ]
    assert missing == []


def test_a_path_that_is_not_there_would_be_found() -> None:
    assert named_paths("`ivr/nothing.py` and `python tests/none.py --x`") == ["ivr/nothing.py", "tests/none.py"]
    assert links("[a](b/c.md) [d](https://e.f) ![g](h.svg)") == ["b/c.md", "h.svg"]


def test_pictures_are_whole_and_some_document_shows_them() -> None:
    shown = {(ROOT / name).parent.joinpath(target).resolve() for name in DOCUMENTS for target in links(read(name))}
    pictures = sorted((ROOT / "docs").glob("*.svg"))
    assert pictures
    for path in pictures:
        assert ElementTree.parse(path).getroot().find("{http://www.w3.org/2000/svg}title") is not None
        assert path in shown, f"no document shows {path.name}"


def test_every_axis_of_an_array_is_explained() -> None:
    letters = set(re.findall(r"^\| ([A-Z](?:, [A-Z])*) \|", read(Path("ivr/tokenizer/METHOD.md")), re.MULTILINE))
    explained = {letter for row in letters for letter in row.split(", ")}
    for path in sorted((ROOT / "ivr").rglob("*.py")):
        for axes in re.findall(
            r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)*_([A-Z]{1,3})[0-9]?\b", path.read_text(encoding="utf-8")
        ):
            assert set(axes) <= explained, f"{path}: _{axes}"


def test_every_promise_has_tests() -> None:
    told = promises.promises(read(Path("tests/README.md")))
    assert len(told) > 15
    for promise, places in told.items():
        assert sum(promises.count_tests(path) for place in places for path in promises.files_of(ROOT, place)), promise


@pytest.mark.parametrize("module", [documents, promises], ids=lambda module: module.__name__)
def test_the_examples_of_these_helpers_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
