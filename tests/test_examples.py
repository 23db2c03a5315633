"""The examples in the code's docstrings are run: what they show is what happens."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEAST = 60  # examples; a value that says more than words has one


def modules_with_examples() -> list[str]:
    """Modules of `ivr` whose docstrings hold an example."""
    files = sorted((ROOT / "ivr").rglob("*.py"))
    with_examples = [path for path in files if ">>> " in path.read_text(encoding="utf-8")]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in with_examples]


def examples(module: str) -> list[doctest.DocTest]:
    return doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module))


@pytest.mark.parametrize("module", modules_with_examples())
def test_examples_in_docstrings_hold(module: str) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    found = [test for test in examples(module) if test.examples]
    assert found, f"the examples of {module} stand where doctest does not look"
    said: list[str] = []
    for test in found:
        runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)


def test_there_are_enough_of_them() -> None:
    count = sum(len(test.examples) for module in modules_with_examples() for test in examples(module))
    assert count >= LEAST
