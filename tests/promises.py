"""How many tests stand behind each promise of tests/README.md: reads its table, counts `def test_` in what it names.

    python tests/promises.py

A function with parameters is one here and many when it runs: `pytest --collect-only -q` counts those.
"""

import ast
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROW = re.compile(r"^\| ([^|]+) \| ([^|]*`tests/[^|]+) \|$", re.MULTILINE)


def promises(text: str) -> dict[str, list[str]]:
    """What is promised -> the files and folders of tests for it, as they are named in the table.

    >>> promises("| it works | `tests/a/`, `tests/test_b.py` |")
    {'it works': ['tests/a/', 'tests/test_b.py']}
    """
    return {promise.strip(): re.findall(r"`(tests/[^`]+)`", places) for promise, places in ROW.findall(text)}


def files_of(root: Path, place: str) -> list[Path]:
    path = root / place
    return sorted(path.rglob("test_*.py")) if path.is_dir() else [path]


def count_tests(path: Path) -> int:
    """Functions that pytest would collect, in classes too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return sum(isinstance(node, ast.FunctionDef) and node.name.startswith("test_") for node in ast.walk(tree))


def main() -> None:
    told = promises((HERE / "README.md").read_text(encoding="utf-8"))
    counted: set[Path] = set()
    for promise, places in told.items():
        files = [path for place in places for path in files_of(HERE.parent, place)]
        counted.update(files)
        print(f"{sum(map(count_tests, files)):5}  {promise}")
    rest = [path for path in sorted(HERE.rglob("test_*.py")) if path not in counted]
    for path in rest:
        print(f"{count_tests(path):5}  named in no row: {path.relative_to(HERE.parent)}")
    print(f"{sum(count_tests(path) for path in {*counted, *rest}):5}  in all")


if __name__ == "__main__":
    main()
