"""The house has one direction: a room imports only rooms to its left. And its modules stay short."""

import ast
import warnings
from pathlib import Path

import pytest

import ivr

PACKAGE = Path(ivr.__file__).parent
ROOMS = ["corpus", "encoding", "analysis", "tokenizer", "embedding", "training", "report", "cluster"]
FOUNDATION = {
    "errors",
    "console",
    "artifacts",
    "exchange",
    "manifest",
    "options",
    "stage",
    "workers",
}  # what every room stands on
ENTRANCE = {"cli", "__main__", "__init__"}  # may know every room
LONG_LINES, TOO_LONG_LINES = 300, 400


def imported_modules(source: str) -> set[str]:
    """Dotted names below `ivr` that a module imports, anywhere in it, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute in this package"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("ivr.")}


def back_edges(sources: dict[str, str]) -> list[str]:
    """'importer -> imported' for every import against the direction; keys are paths below the package."""
    wrong = []
    for path, source in sorted(sources.items()):
        room = path.split("/")[0].removesuffix(".py")
        for name in sorted(imported_modules(source)):
            target = name.split(".")[1]
            if room in ENTRANCE or target not in {*ROOMS, *ENTRANCE}:
                continue
            if room in FOUNDATION or target in ENTRANCE - {"__init__"} or ROOMS.index(target) > ROOMS.index(room):
                wrong.append(f"{path} -> {name}")
    return wrong


def sources() -> dict[str, str]:
    return {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}


@pytest.mark.parametrize(
    ("path", "planted"),
    [
        ("corpus/planted.py", "from ivr.tokenizer.remap import run"),
        ("analysis/planted.py", "import ivr.training.train"),
        ("tokenizer/planted.py", "def late():\n    from ivr.report import page"),
        ("stage.py", "from ivr.corpus.documents import read_documents"),
        ("report/planted.py", "from ivr.cli import main"),
    ],
)
def test_a_planted_back_edge_is_found(path: str, planted: str) -> None:
    assert len(back_edges({path: planted})) == 1


def test_allowed_directions_are_not_reported() -> None:
    assert (
        back_edges({"report/a.py": "from ivr.corpus.documents import read_documents\nimport ivr.errors\nimport ivr"})
        == []
    )
    assert back_edges({"cli.py": "import ivr.report.status", "corpus/a.py": "from ivr.corpus import b"}) == []


def test_no_room_imports_one_to_its_right() -> None:
    found = sources()
    assert "stage.py" in found and "corpus/documents.py" in found
    assert back_edges(found) == []


def test_every_module_has_its_place() -> None:
    places = {path.split("/")[0].removesuffix(".py") for path in sources()}
    assert places <= {*ROOMS, *FOUNDATION, *ENTRANCE}


def test_modules_stay_short() -> None:
    lengths = {path: len(source.splitlines()) for path, source in sources().items()}
    for path, length in sorted(lengths.items()):
        if length > LONG_LINES:
            warnings.warn(f"ivr/{path} has {length} lines, more than {LONG_LINES}", stacklevel=1)
    assert {path: length for path, length in lengths.items() if length > TOO_LONG_LINES} == {}
