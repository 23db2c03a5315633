"""`ivr tokens`: what it draws, counts and refuses."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from ivr.cli import main
from ivr.commands.drawing import cut, draw, table

HEAVY = {"torch", "transformers", "numpy", "numba", "pyarrow", "matplotlib"}


def byte_level(*merges: tuple[str, str]) -> Tokenizer:
    """A byte-level BPE with these merges."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    strings = dict.fromkeys([*letters, *("".join(merge) for merge in merges)])
    tokenizer = Tokenizer(models.BPE({string: number for number, string in enumerate(strings)}, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


FEW = byte_level(("a", "b"))
MORE = byte_level(("a", "b"), ("Ġ", "c"), ("ab", "Ċ"))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    for name, tokenizer in (("few", FEW), ("more", MORE)):
        (tmp_path / name).mkdir()
        tokenizer.save(str(tmp_path / name / "tokenizer.json"))
    return str(tmp_path / "few"), str(tmp_path / "more")


def test_borders_are_drawn_and_what_the_other_lacks_is_set_off() -> None:
    cuts = {"few": cut(FEW, "ab c\nab", [MORE]), "more": cut(MORE, "ab c\nab", [FEW])}
    assert draw(cuts, 9, colour=False) == (
        "few      4  ab│ │c│⏎\nmore     3  ab│[ c]│⏎\n\nfew      1  ab\nmore     1  ab"
    )
    assert draw(cuts, 1, colour=False).endswith("\n... and 1 more lines (--lines)")
    assert table(cuts, 7, {}) == (
        "      tokens  bytes a token   saved\nfew        5           1.40\nmore       4           1.75  20.0 %"
    )


def test_colour_shows_two_shades_and_a_third_and_text_cannot_steer_the_terminal() -> None:
    drawn = draw({"more": cut(MORE, "ab c\x1b[2J", [FEW])}, 9, colour=True)
    assert "\x1b[48;5;254" in drawn and "\x1b[48;5;250" in drawn and "\x1b[48;5;114" in drawn
    assert "\x1b[2J" not in drawn and "\\x1b" in drawn


def test_a_character_in_several_tokens_is_written_in_bytes() -> None:
    assert cut(FEW, "한", []).pieces == ["\\xed", "\\x95", "\\x9c"]


def test_a_text_a_file_and_standard_input_are_the_same(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.txt").write_text("ab c", encoding="utf-8")
    said = []
    for word in ("ab c", str(tmp_path / "text.txt"), "-"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab c")))
        assert main(["tokens", word, "--compare", *pair]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] == said[2] and "\x1b" not in said[0] and "[ c]" in said[0]


def test_json(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokens", "ab c", "--json", "--compare", *pair]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] == 4
    assert [row["pieces"] for row in found["tokenizers"]] == [["ab", " ", "c"], ["ab", " c"]]


def test_what_cannot_be_shown_is_refused(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    (tmp_path / "broken.json").write_text("{}")
    spec = json.loads((Path(pair[0]) / "tokenizer.json").read_text())
    spec["model"] = {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [["a", "b"]]}  # the library panics on it
    (tmp_path / "panic.json").write_text(json.dumps(spec))
    cases: list[tuple[list[str], int, str]] = [
        ([], 2, "give a text, a file or -"),
        (["a", "--artifacts-dir", str(tmp_path)], 3, "run `ivr init` first"),
        (["a", "--compare", str(tmp_path / "none")], 2, "none is not there"),
        (["a", "--compare", str(tmp_path / "broken.json")], 4, "not a tokenizer.json that `tokenizers` can load"),
        (["a", "--compare", str(tmp_path / "panic.json")], 4, "not a tokenizer.json that `tokenizers` can load"),
        ([str(tmp_path / "latin"), "--compare", pair[0]], 4, "is not UTF-8"),
        (["a", "--compare", pair[0], "--bits-per-byte"], 2, "there is no model beside"),
    ]
    for words, code, said in cases:
        assert main(["tokens", *words]) == code
        assert said in capsys.readouterr().err


def test_nothing_heavy_is_imported(pair: tuple[str, str]) -> None:
    script = "import sys; from ivr.cli import main; main(sys.argv[1:]); print(*sys.modules)"
    words = ["tokens", "ab c", "--compare", *pair]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.splitlines()[-1].split()) == set()


@pytest.mark.slow
def test_bits_per_byte_of_a_run(aligned_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokens", "a b", "--json", "--bits-per-byte", "--artifacts-dir", str(aligned_world)]) == 0
    rows = json.loads(capsys.readouterr().out)["tokenizers"]
    assert all(row["bits_per_byte"] > 0 for row in rows)


def test_the_name_of_a_file_that_is_not_there_is_not_taken_as_text_unsaid(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for text, said in (("nosuch.txt", True), ("a/b", False), ("Node.js", False), ("ab", False), ("a. b.txt", False)):
        assert main(["tokens", text, "--compare", *pair]) == 0
        assert ("there is no file" in capsys.readouterr().err) == said, text
