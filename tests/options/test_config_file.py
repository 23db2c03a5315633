"""`--config run.toml`: the command line over the file over the default, and every slip of the file named."""

import os
import tomllib
from pathlib import Path

import pytest

from ivr.cli import choose_config, main, parse
from ivr.errors import ConfigError
from ivr.options.config_file import COMMAND_LINE, DEFAULT, Chosen

RUN = """
artifacts-dir = "runs/x"
[select]
swaps = "auto"
min_gain = 3
exclude = "a\\tb"
[train]
epochs = 2
resume = false
[evaluate]
model = ["a=b", "c=d"]
[verify]
corpus = ["text"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(RUN, encoding="utf-8")
    return path


def chosen(*words: str) -> Chosen:
    module, options = parse(words)
    assert module is not None
    return choose_config(module, options)


def test_the_command_line_goes_before_the_file_and_the_file_before_the_default(file: Path) -> None:
    found = chosen("select", "--config", str(file), "--min-gain", "4", "--artifacts-dir", "a")
    config = found.config
    assert (config.swaps, config.min_gain, config.exclude, config.max_words) == ("auto", 4.0, "a\tb", 1)
    assert config.artifacts_dir == Path("a")
    origins = {name: found.origins[name] for name in ("swaps", "min_gain", "max_words", "artifacts_dir")}
    assert origins == {
        "swaps": str(file), "min_gain": COMMAND_LINE, "max_words": DEFAULT, "artifacts_dir": COMMAND_LINE,
    }  # fmt: skip


def test_values_have_the_types_of_their_options(file: Path) -> None:
    assert chosen("evaluate", "--config", str(file)).config.model == ("a=b", "c=d")
    assert chosen("verify", "--config", str(file)).config.corpus == (Path("text"),)
    assert isinstance(chosen("train", "--config", str(file)).config.epochs, float)
    assert chosen("report", "--config", str(file)).config.artifacts_dir == Path("runs/x")


def test_an_option_of_the_command_line_displaces_those_that_exclude_it(file: Path) -> None:
    config = chosen("train", "--config", str(file), "--max-tokens", "50").config
    assert (config.max_tokens, config.epochs, config.resume) == (50, None, False)


@pytest.mark.parametrize("stage", ["select", "train", "evaluate", "verify"])
def test_what_is_shown_is_a_file_that_gives_the_same(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    assert main([stage, "--config", str(file), "--show-config"]) == 0
    shown = capsys.readouterr().out
    tomllib.loads(shown)
    assert f"# {file}" in shown and "# default" in shown and not Path("runs/x").exists()
    again = tmp_path / "again.toml"
    again.write_text(shown, encoding="utf-8")
    assert chosen(stage, "--config", str(again)).config == chosen(stage, "--config", str(file)).config


def test_what_submit_sends_carries_the_values_of_the_file(file: Path) -> None:
    found = chosen("submit", "train", "--lr", "0.1", "--config", str(file), "--dry-run").config
    assert found.arguments == ("--epochs=2.0", "--lr=0.1", "--no-resume")
    assert found.artifacts_dir == Path("runs/x") and found.sent_config.epochs == 2.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("swaps = 3", ", swaps: no such option; it belongs in [select]"),
        ("[select]\nlr = 1", ", [select] lr: no such option; it belongs in [train]"),
        ("[selct]\nswaps = 1", ": there is no stage [selct]; the nearest is select"),
        ("[select]\nswap = 3", ", [select] swap: no such option; the nearest is swaps"),
        ("[select]\nqqq = 3", ", [select] qqq: no such option; there are swaps, min-gain, "),
        ("[select]\nswaps = 0", ", [select] swaps = 0: must be a number from 1 to 10,000,000"),
        ("[select]\nswaps = true", ": a whole number or auto is needed"),
        ("[train]\nlr = 'fast'", ', [train] lr = "fast": a number is needed'),
        ("[train]\nbatch-size = 1.5", ", [train] batch-size = 1.5: a whole number is needed"),
        ("[train]\nresume = 1", ", [train] resume = 1: true or false is needed"),
        ("[train]\nlr = nan", ", [train] lr = nan: must be a number above 0"),
        ("[train]\ndevice = 'tpu'", ": must be one of auto, cpu, cuda"),
        ("[train]\nepochs = 1\nmax-tokens = 3", ", [train]: epochs and max-tokens exclude each other; leave one out"),
        ("[verify]\ncorpus = 'a'", ', [verify] corpus = "a": a list is needed'),
        ("[select]\nmin_gain = 1\nmin-gain = 2", ", [select] min-gain: it stands there twice"),
        ("[init]\nencoding = {a = 1}", ": a text is needed"),
        ("[[select]]\nswaps = 1", ", select: no such option"),
        ("[submit]\nsent = 'train'", ", [submit] sent: no such option"),
        ("force = true", ", force: no such option"),
        ("[train]\nseed = 1" + "0" * 4999, " is not TOML: "),
        (f"[train]\nlr = {10**400}", "below 1e308"),
        (f"[train]\nseed = {2**63}", ": must be a number from 0 to 9,007,199,254,740,992"),
        ("[x", " is not TOML: "),
        ("a" * 3000 + " = " + "[" * 3000, " is not TOML"),
    ],
)
def test_slips_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        chosen("report", "--config", str(path))  # of another stage, too
    assert said in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(("content", "said"), [(None, "no such file"), (b"\xff\xfe\x00", "is not TOML")])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        chosen("report", "--config", str(path))
    with pytest.raises(ConfigError, match="that is a directory"):
        chosen("report", "--config", str(tmp_path))
    os.mkfifo(tmp_path / "pipe")  # to which nobody writes: reading it would never end
    with pytest.raises(ConfigError, match="a device or a pipe"):
        chosen("report", "--config", str(tmp_path / "pipe"))
