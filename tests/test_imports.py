"""The house has one direction: a room imports only rooms to its left. And its modules stay short."""

import ast
import warnings
from collections import Counter
from pathlib import Path

import pytest

import ivr

PACKAGE = Path(ivr.__file__).parent
TESTS = Path(__file__).parent
# a module imports from its own room and from those above it; the first dotted name that fits a module is its room
ROOMS = [
    "encoding",
    "corpus",
    "base",
    "analysis",
    "tokenizer.unigram_file",
    "tokenizer.scores",
    "tokenizer.proof",
    "tokenizer.repeats",
    "tokenizer.fit",
    "tokenizer.verify",
    "tokenizer.distill",
    "tokenizer.superwords",
    "tokenizer.select",
    "tokenizer.remap",
    "embedding",
    "evaluation",
    "card",
    "training",
    "export",
    "report",
    "cluster",
    "commands",
]
# what judges another part imports nothing of it: room or module -> the only rooms it may import besides itself
INDEPENDENT = {
    "tokenizer.verify": {"encoding", "corpus", "base", "analysis"},
    "tokenizer.proof.checker": {"tokenizer.proof.checker_bpe"},
    "tokenizer.proof.checker_bpe": {"encoding.compiler"},
}
FOUNDATION = {  # what every room stands on
    "errors",
    "console",
    "artifacts",
    "disk",
    "inputs",
    "machine",
    "manifest",
    "options",
    "results",
    "schema",
    "stage",
    "versions",
    "workers",
}
ENTRANCE = {"api", "cli", "__main__", "__init__"}  # may know every room
LONG_LINES, TOO_LONG_LINES, FUNCTION_LINES, MOST_FILES = 300, 400, 60, 14


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


def place_of(name: str) -> str:
    """The room, or the module of the foundation or entrance, that a dotted name below `ivr` belongs to.

    >>> place_of("tokenizer.select.stage.Config"), place_of("stage.open_stage"), place_of("tokenizer")
    ('tokenizer.select', 'stage', '')
    """
    within = [room for room in (*ROOMS, *FOUNDATION, *ENTRANCE) if f"{name}.".startswith(f"{room}.")]
    return within[0] if within else ""


def back_edges(sources: dict[str, str]) -> list[str]:
    """'importer -> imported' for every import against the direction; keys are paths below the package."""
    wrong = []
    for path, source in sorted(sources.items()):
        importer = path.removesuffix(".py").replace("/", ".")
        room = place_of(importer)
        for name in sorted(imported_modules(source)):
            target = place_of(name.removeprefix("ivr."))
            if room in ENTRANCE or target in {"", "__init__", *FOUNDATION}:
                continue
            if room in FOUNDATION or target in ENTRANCE or ROOMS.index(target) > ROOMS.index(room):
                wrong.append(f"{path} -> {name}")
    return wrong


def prejudiced(sources: dict[str, str]) -> list[str]:
    """'importer -> imported' for every import of a part that is to be independent of what it judges."""
    wrong = []
    for path, source in sorted(sources.items()):
        importer = path.removesuffix(".py").replace("/", ".")
        for part, allowed in INDEPENDENT.items():
            if not f"{importer}.".startswith(f"{part}."):
                continue
            for name in sorted(imported_modules(source)):
                inner = name.removeprefix("ivr.")
                if place_of(inner) in FOUNDATION:
                    continue
                if not any(f"{inner}.".startswith(f"{room}.") for room in (part, *allowed)):
                    wrong.append(f"{path} -> {name}")
    return wrong


def long_functions(sources: dict[str, str]) -> list[str]:
    """'path: function, lines' for every function of more than FUNCTION_LINES lines, from `def` to its last one."""
    return [
        f"{path}: {node.name}, {lines} lines"
        for path, source in sorted(sources.items())
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := node.end_lineno - node.lineno + 1) > FUNCTION_LINES
    ]


def sources() -> dict[str, str]:
    return {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}


@pytest.mark.parametrize(
    ("path", "planted"),
    [
        ("corpus/planted.py", "from ivr.tokenizer.remap.stage import run"),
        ("analysis/planted.py", "import ivr.training.train"),
        ("tokenizer/fit/planted.py", "def late():\n    from ivr.report import page"),
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
    modules = {path.removesuffix(".py").replace("/", ".") for path in sources()}
    homeless = {name for name in modules if not place_of(name) and not name.endswith("__init__")}
    assert homeless == set()


def test_what_judges_imports_nothing_that_it_judges() -> None:
    assert prejudiced({"tokenizer/verify/a.py": "import ivr.tokenizer.fit.fitter"}) != []
    assert prejudiced({"tokenizer/proof/checker.py": "from ivr.tokenizer.proof import closure"}) != []
    assert prejudiced({"tokenizer/verify/a.py": "from ivr.tokenizer.verify import pair\nimport ivr.errors"}) == []
    assert prejudiced(sources()) == []


def test_rooms_stay_small() -> None:
    rooms = Counter(str(Path(path).parent) for path in sources())
    assert {room: files for room, files in rooms.items() if files > MOST_FILES} == {}


def test_modules_stay_short() -> None:
    lengths = {path: len(source.splitlines()) for path, source in sources().items()}
    for path, length in sorted(lengths.items()):
        if length > LONG_LINES:
            warnings.warn(f"ivr/{path} has {length} lines, more than {LONG_LINES}", stacklevel=1)
    assert {path: length for path, length in lengths.items() if length > TOO_LONG_LINES} == {}


def test_functions_stay_short() -> None:
    body = "    x = 1\n" * FUNCTION_LINES
    assert long_functions({"a.py": f"class A:\n    async def f():\n{body.replace('    ', '        ')}"}) != []
    assert long_functions({"a.py": f"def f():\n{body[:-10]}"}) == []
    ours = {str(path.relative_to(TESTS)): path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py")}
    # what a benchmark compares with stays as it was measured
    ours = {path: source for path, source in ours.items() if not path.startswith("benchmarks/baselines/")}
    assert long_functions(sources() | ours) == []


def test_no_two_test_files_share_a_name():
    """pytest imports them by their bare names: a second of one name ends the whole run before its first test."""
    shared = {
        name: count for name, count in Counter(path.name for path in TESTS.rglob("test_*.py")).items() if count > 1
    }
    assert not shared
