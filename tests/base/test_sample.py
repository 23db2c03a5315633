"""The built-in sample: the same text, tokenizer and weights every time, laid out as GPT-2's."""

import hashlib
import json
from pathlib import Path

import pytest

from ivr.base.sample_model import SampleRecipe, schedule, train_bpe, train_sample_model
from ivr.base.tokenizer import byte_alphabet
from ivr.corpus.sample_text import docstrings_of_file, general_texts, package_root, write_sample_text

TINY = SampleRecipe(
    num_merges=40, num_layers=1, num_heads=2, width=8, context=16, num_steps=12, batch_size=2, warmup_steps=3
)
TEXTS = [
    f"The quick brown fox number {number} jumps over <|endoftext|> the lazy dog.\n\n  naïve" for number in range(60)
]


def test_docstrings_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        f'"""Module. {"x" * 40}"""\n'
        "if True:\n"
        "    class A:\n"
        f'        """\n        Class {"x" * 40}\n            indented\n        """\n'
        f'        async def f(self):\n            """Method {"x" * 40}"""\n'
        f'            def inner(): """Inner {"x" * 40}"""\n'
        'def short():\n    """Too short."""\n'
        f'def g():\n    x = """No docstring {"x" * 40}"""\n'
        f'def s():\n    """Surrogate \\ud800 {"x" * 40}"""\n'
    )
    found = [text.replace(" " + "x" * 40, "") for text in docstrings_of_file(path)]
    assert found == ["Module.", "Class\n    indented", "Method", "Inner"]
    path.write_text("def broken(:\n")
    assert docstrings_of_file(path) == []


@pytest.mark.slow
def test_a_package_gives_the_same_text_every_time_without_being_imported(tmp_path: Path) -> None:
    assert (package_root("stdlib") / "ast.py").is_file()
    counts = [write_sample_text("numpy", tmp_path / name) for name in ("one.jsonl", "two.jsonl")]
    assert counts[0] == counts[1] > 1000
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    texts = [json.loads(line)["text"] for line in (tmp_path / "one.jsonl").open()]
    assert len(texts) == len(set(texts))
    assert any("Return evenly spaced numbers over a specified interval" in text for text in texts)


def test_the_model_never_learns_from_held_out_text(tmp_path: Path) -> None:
    (tmp_path / "general").mkdir()
    rows = [json.dumps({"text": f"document {number}"}) for number in range(300)]
    (tmp_path / "general/x.jsonl").write_text("\n".join(rows))
    everything = list(general_texts(tmp_path, 0.0, 0))
    learned = list(general_texts(tmp_path, 0.2, 0))
    assert len(everything) == 300
    assert 200 < len(learned) < 280


def test_the_vocabulary_is_laid_out_as_gpt2s() -> None:
    vocab, merges = train_bpe(TEXTS, 40)
    tokens = sorted(vocab, key=lambda token: vocab[token])
    assert list(vocab.values()) == list(range(256 + 40 + 1))
    assert tokens[:256] == byte_alphabet()
    assert tokens[:3] == ["!", '"', "#"] and tokens[255] == "\u0143"
    assert tokens[256:-1] == [left + right for left, right in merges]
    assert tokens[-1] == "<|endoftext|>"
    for number, (left, right) in enumerate(merges, start=256):
        assert vocab[left] < number and vocab[right] < number


@pytest.mark.slow
def test_two_trainings_give_the_same_bytes_and_the_loss_falls(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        figures = train_sample_model(TEXTS, TINY, tmp_path / name)
        digests.append(
            {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / name).iterdir()}
        )
    assert digests[0] == digests[1]
    assert {"config.json", "model.safetensors", "tokenizer.json", "vocab.json", "merges.txt"} <= set(digests[0])
    assert figures["final_loss"] < figures["first_loss"]
    assert figures["vocab_size"] == 297
    assert (tmp_path / "one/model.safetensors").stat().st_mode & 0o777 == (
        tmp_path / "one/config.json"
    ).stat().st_mode & 0o777


def test_training_warns_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first lines that a newcomer sees are this program's own."""
    from transformers import modeling_utils

    said: list[str] = []
    monkeypatch.setattr(modeling_utils.logger, "warning_once", said.append)
    train_sample_model(TEXTS, TINY, tmp_path)
    assert said == []


def test_schedule() -> None:
    factors = [schedule(step, 10, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == max(factors) == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert 0.05 <= factors[-1] < 0.06
