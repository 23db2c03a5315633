"""`ivr tokens`: a text's tokens as tokenizers cut it, side by side, and how many there are."""

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivr.artifacts import ArtifactPaths
from ivr.console import LOG, say
from ivr.encoding.text.tokenizer_file import load_for_text, load_tokenizer
from ivr.errors import ConfigError, CorruptInputError, StaleInputError
from ivr.options.declared import CommandConfig, option

if TYPE_CHECKING:
    from ivr.commands.drawing import Cut

DESCRIPTION = """\
Show how a text is cut into tokens: by the run's original and remapped tokenizer, or by those you name. A token that
the other lacks is set off. On a terminal in colour (NO_COLOR: without), elsewhere with a bar between tokens.
"""
EPILOG = """\
examples:
  ivr tokens "Returns the ndarray itself."
  ivr tokens notes.txt --compare original distilled
  ivr tokens notes.txt --compare artifacts/training/final my/other/model --bits-per-byte
"""
USAGE = "ivr tokens TEXT|FILE|- [options]"
SUFFIXES = (".txt", ".md", ".json", ".jsonl", ".ndjson", ".csv", ".html", ".log")  # of what is likely a file's name
LARGEST_BYTES = 10_000_000  # held in memory more than once


@dataclass(frozen=True)
class Config(CommandConfig):
    """Options of `ivr tokens`."""

    text: str | None = option(
        None, "the text, a file of UTF-8 text, or - for standard input", metavar="TEXT|FILE|-", positional=True
    )
    compare: tuple[str, ...] | None = option(
        None,
        "original, distilled, remapped, or a directory or tokenizer.json; one or more (default: original and remapped, "
        "as far as they are there)",
        group="tokenizers",
        metavar="NAME",
    )
    bits_per_byte: bool = option(
        False, "also how well the model beside each tokenizer predicts the text (loads it: some seconds)"
    )
    lines: int = option(20, "lines drawn; all are counted", group="output", bounds="[0, 1e6]")
    json: bool = option(False, "print one JSON object (default: draw lines and a table)")


def run(config: Config) -> None:
    """Print the tokens of the text and their counts."""
    text = _read(config.text)
    places = _places(config)
    from ivr.commands.drawing import cut, draw, table

    tokenizers = {name: _load(name, path) for name, path in places.items()}
    cuts = {
        name: cut(tokenizer, text, [other for key, other in tokenizers.items() if key != name])
        for name, tokenizer in tokenizers.items()
    }
    bits = {}
    if config.bits_per_byte:
        bits = {name: _bits_per_byte(name, path, config, text) for name, path in places.items()}
    if config.json:
        _print_json(cuts, bits, text)
        return
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    drawn = draw(cuts, config.lines, colour)
    if drawn:
        _say_drawn(drawn)
    say(table(cuts, len(text.encode()), bits))


def _say_drawn(text: str) -> None:
    """Print what has its colours in it; `drawing` has made all else harmless."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(text + "\n\n")


def _read(given: str | None) -> str:
    """The text that is meant; a word that names a file is that file."""
    if given is None:
        raise ConfigError('give a text, a file or - : `ivr tokens "some text"`')
    if given != "-" and not _is_file(given):
        if _looks_like_a_file(given):
            LOG.warning("tokens: there is no file %s; the name itself is taken as the text", given)
        return given
    if given == "-":
        data = sys.stdin.buffer.read(LARGEST_BYTES + 1)
    else:
        with Path(given).open("rb") as stream:
            data = stream.read(LARGEST_BYTES + 1)
    name = "standard input" if given == "-" else given
    if len(data) > LARGEST_BYTES:
        raise ConfigError(f"{name} has more than {LARGEST_BYTES:,} bytes; `ivr analyze` counts the tokens of corpora")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorruptInputError(f"{name} is not UTF-8 ({error.reason} at byte {error.start})") from None


def _looks_like_a_file(text: str) -> bool:
    """A single word with the suffix of a text file; `3.14`, `Node.js` and `and/or` are text.

    >>> [word for word in ("a/notes.txt", "3.14", "Node.js", "and/or", "see notes.txt") if _looks_like_a_file(word)]
    ['a/notes.txt']
    """
    return len(text.split()) == 1 and Path(text).suffix.lower() in SUFFIXES


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # too long for a name, or no name at all
        return False


def _places(config: Config) -> dict[str, Path]:
    """Name -> the tokenizer's directory (or tokenizer.json)."""
    paths = ArtifactPaths(config.artifacts_dir)
    own = {
        "original": paths.original_tokenizer,
        "distilled": paths.distilled_tokenizer,
        "remapped": paths.remapped_tokenizer,
    }
    if config.compare is None:
        found = {name: own[name] for name in ("original", "remapped") if (own[name] / "tokenizer.json").is_file()}
        if not found:
            raise StaleInputError(f"no tokenizer in {paths.root}; run `ivr init` first, or name some with --compare")
        return found
    return {name: own.get(name, Path(name)) for name in config.compare}


def _file(path: Path) -> Path:
    return path / "tokenizer.json" if path.is_dir() else path


def _load(name: str, path: Path) -> Any:
    """The `tokenizers.Tokenizer`; a special token that is spelt out in a text is text."""
    file = _file(path)
    if not file.is_file():
        raise ConfigError(f"--compare {name}: {file} is not there; name original, distilled, remapped or a tokenizer")
    tokenizer = load_tokenizer(file)
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _bits_per_byte(name: str, path: Path, config: Config, text: str) -> float:
    """Of the text as one document, under the model that reads by this tokenizer."""
    paths = ArtifactPaths(config.artifacts_dir)
    models = {"original": [paths.base_model], "remapped": [paths.final_model, paths.aligned_model]}
    places = models.get(name, [path if path.is_dir() else path.parent])
    model_dir = next((place for place in places if (place / "config.json").is_file()), None)
    if model_dir is None:
        raise ConfigError(
            f"--bits-per-byte: there is no model beside {name} (looked in {', '.join(map(str, places))}); "
            "name model directories with --compare"
        )
    import torch

    from ivr.corpus.document_end import end_of_text_id
    from ivr.corpus.packing import encode_documents
    from ivr.evaluation.bits_per_byte import score_documents
    from ivr.evaluation.models import load_model

    folder = path if path.is_dir() else path.parent
    tokenizer, model = load_for_text(folder), load_model(model_dir)
    context = int(model.config.n_positions)
    encoded = list(encode_documents(tokenizer, [text]))
    end_id = end_of_text_id(tokenizer, folder)
    return float(score_documents(model, encoded, end_id, context, context // 2, torch.device("cpu")).bits_per_byte)


def _print_json(cuts: "dict[str, Cut]", bits: dict[str, float], text: str) -> None:
    import json

    rows = []
    for name, found in cuts.items():
        row: dict[str, Any] = {"tokenizer": name, "tokens": len(found.ids), "ids": found.ids, "pieces": found.pieces}
        rows.append(row | ({"bits_per_byte": bits[name]} if name in bits else {}))
    say(json.dumps({"bytes": len(text.encode()), "tokenizers": rows}, indent=2))
