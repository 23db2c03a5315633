"""remap_rules.yaml is read strictly: what YAML would quietly take for something else is refused, with its place."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import TinyRun

from ivr.encoding.byte_alphabet import CHARACTER_TO_BYTE
from ivr.errors import CorruptInputError
from ivr.tokenizer.remap.rules import RemapRules, Swap, read_rules, write_rules

GOOD = """\
format: 2
original_tokenizer_sha256: "aa"
distilled_tokenizer_sha256: "bb"
swaps:
- id: 300
  old: "\\u0120Leilan"
  new: "no"
  pieces: [12, 5]
  score: 12345
  old_score: 7
- id: 301
  old: "~"
  new: "010"
  pieces: [1]
  score: -3
  old_score: -9
"""
TOKENS = st.text(st.sampled_from(sorted(CHARACTER_TO_BYTE)), min_size=1)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "remap_rules.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_file(tmp_path: Path) -> None:
    rules = read_rules(written(tmp_path, GOOD))
    assert rules.swaps == (Swap(300, "ĠLeilan", "no", (12, 5), 12345, 7), Swap(301, "~", "010", (1,), -3, -9))
    write_rules(tmp_path / "again.yaml", rules)
    assert (tmp_path / "again.yaml").read_text() == GOOD


@given(st.lists(st.tuples(TOKENS, TOKENS, st.lists(st.integers(0, 2**31), min_size=1), st.integers(-(2**53), 2**53))))
def test_any_tokens_come_back(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, str, list[int], int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any_rules.yaml"
    swaps = tuple(Swap(place, old, new, tuple(pieces), score) for place, (old, new, pieces, score) in enumerate(drawn))
    write_rules(path, RemapRules("a", "b", swaps))
    assert read_rules(path) == RemapRules("a", "b", swaps)


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ('  new: "no"', "  new: no", "line 5: new = False: a token is needed, in double quotes"),
        ('  old: "~"', "  old: ~", "line 11: old = None: a token is needed, in double quotes"),
        ('  new: "010"', "  new: 010", "line 11: new = 010: a token is needed, in double quotes"),
        ('  new: "010"', "  new: 12:30:45", "new = 12:30:45: a token"),
        ('  new: "010"', '  new: "a b"', "line 11: new = 'a b': not a token in the byte alphabet"),
        ('  new: "010"', '  new: ""', "line 11: new = '': not a token in the byte alphabet"),
        ("  score: -3", "  score: -3\n  score: 4", "line 16: the key 'score' stands twice"),
        ("format: 2", "format: 2\nformat: 2", "line 2: the key 'format' stands twice"),
        ("\n  score: -3\n", "\n", "line 11: lacks key score"),
        ("  score: -3", "  score: -3\n  note: x", "line 11: has the unknown key note"),
        ("swaps:", "more: 1\nswaps:", "has the unknown key more"),
        ("  score: -3", "  score: 1.5", "line 11: score = 1.5: a whole number is needed"),
        ("- id: 301", "- id: true", "line 11: id = True: a whole number is needed"),
        ("- id: 301", '- id: "301"', "line 11: id = '301': a whole number is needed"),
        ("- id: 301", "- id: 010", "line 11: id = 010: a whole number is needed, in plain digits"),
        ("- id: 301", "- id: 0x12d", "line 11: id = 0x12d: a whole number is needed, in plain digits"),
        ("  score: -3", "  score: 1_000", "line 11: score = 1_000: a whole number is needed, in plain digits"),
        ("  score: -3", "  score: +3", "line 11: score = +3: a whole number is needed, in plain digits"),
        ("  pieces: [1]", "  pieces: [1, 010]", "line 11: pieces = [1, 010]: a list of ids is needed"),
        ("- id: 301", "- id: 300", "id 300 is swapped twice"),
        ("  pieces: [1]", "  pieces: []", "line 11: pieces = []: a list of ids is needed"),
        ("  pieces: [1]", "  pieces: [a]", "line 11: pieces = ['a']: a list of ids is needed"),
        ("  pieces: [1]", "  pieces: 1", "line 11: pieces = 1: a list of ids is needed"),
        ("  pieces: [1]", "  ? [a, b]\n  : 1\n  pieces: [1]", "the key ['a', 'b'] is not a name"),
        ("- id: 301", "- 7\n- id: 301", "7 is not a swap"),
        ("format: 2", "format: 1", "format 1, this version reads 2"),
        ('original_tokenizer_sha256: "aa"', "original_tokenizer_sha256: 12", "a quoted hash is needed"),
        ("  score: -3", "  score: !!python/object/apply:os.getcwd []", "is not YAML"),
        ("  score: -3", "  score: [", "is not YAML"),
        ("  score: -3", "  score: -3\n---\nformat: 1", "is not YAML"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, good: str, bad: str, said: str) -> None:
    assert good in GOOD
    path = written(tmp_path, GOOD.replace(good, bad))
    with pytest.raises(CorruptInputError) as refused:
        read_rules(path)
    assert str(path) in str(refused.value)
    assert said in str(refused.value)
    assert refused.value.exit_code == 4


@pytest.mark.parametrize("text", ["", "[]", "just text", "[" * 5000], ids=["empty", "list", "text", "deep"])
def test_a_file_that_is_no_rules(tmp_path: Path, text: str) -> None:
    with pytest.raises(CorruptInputError, match=r"remap_rules\.yaml"):
        read_rules(written(tmp_path, text))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "remap_rules.yaml"
    path.write_bytes(GOOD.encode() + b"\xff")
    with pytest.raises(CorruptInputError, match="not UTF-8"):
        read_rules(path)


def test_the_written_file_is_sorted_and_quoted(remapped: TinyRun) -> None:
    rules = read_rules(remapped.paths.remap_rules)
    assert [swap.id for swap in rules.swaps] == sorted(swap.id for swap in rules.swaps)
    for line in remapped.paths.remap_rules.read_text(encoding="utf-8").splitlines():
        if line.startswith(("  old:", "  new:")):
            assert line[7] == line[-1] == '"'


def test_rules_of_another_tokenizer_are_stale(fresh: TinyRun, tmp_path: Path, said: Callable[[], str]) -> None:
    rules = read_rules(fresh.paths.remap_rules)
    for field in ("original", "distilled"):
        hashes = {
            f"{name}_tokenizer_sha256": getattr(rules, f"{name}_tokenizer_sha256") for name in ("original", "distilled")
        }
        hashes[f"{field}_tokenizer_sha256"] = "0" * 64
        path = tmp_path / f"{field}.yaml"
        write_rules(path, RemapRules(**hashes, swaps=rules.swaps))
        assert fresh("remap", "--rules", str(path)) == 3
        message = said()
        assert f"is for an {field} tokenizer with sha256 0000000000000000" in message.replace(
            "a distilled", "an distilled"
        )
        assert "run `ivr select` and `ivr remap`" in message
