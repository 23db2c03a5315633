"""A tokenizer as transformers' AutoTokenizer loads its directory, put beside its tokenizer.json.

AutoTokenizer takes GPT2Tokenizer beside a gpt2 config, and that builds pre-tokenizer, decoder and added tokens anew
instead of reading them from tokenizer.json; it adds tokens that tokenizer_config.json or another file names. So what
the two give can differ, and people load a model both ways.
"""

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.base.tokenizer import read_json
from ivr.base.weights.layout import layout_of
from ivr.console import LOG
from ivr.encoding.text.tokenizer_file import load_tokenizer
from ivr.encoding.tokenizer_steps import steps
from ivr.errors import ConfigError

DEFAULT_NAMES = ("bos_token", "eos_token", "unk_token")  # <|endoftext|> to GPT2Tokenizer where nothing is said
GPT2_CLASSES = (None, "GPT2Tokenizer", "GPT2TokenizerFast")  # beside a gpt2 config None is GPT2Tokenizer
PLAIN_CLASS = "PreTrainedTokenizerFast"  # takes tokenizer.json as it stands
PLAIN_CLASSES = (PLAIN_CLASS, "TokenizersBackend")
FLAGS = ("single_word", "lstrip", "rstrip", "special")


@dataclass(frozen=True)
class Loaded:
    """What AutoTokenizer makes of a directory."""

    spec: dict[str, Any]  # as tokenizer.json has it
    special: dict[str, str]  # eos_token and the like, and tokens of other names: name -> content
    extra: list[str]  # special tokens without a name
    kind: str  # its class
    attributes: dict[str, Any]  # what else decides how it encodes and decodes

    @property
    def added(self) -> dict[str, dict[str, Any]]:
        """content -> entry of every added token."""
        return {entry["content"]: entry for entry in self.spec["added_tokens"]}


def load_auto(folder: Path, origin: str) -> Loaded:
    """Raises ConfigError, naming `origin`, where AutoTokenizer cannot load it. Runs no code from the directory."""
    from transformers import AutoTokenizer, GPT2Tokenizer

    try:
        if names_its_class(folder):
            found = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        else:
            found = GPT2Tokenizer.from_pretrained(folder, local_files_only=True)
        spec = json.loads(found.backend_tokenizer.to_str())
        found("a b")  # some options are looked at here first: a token that the post-processor lacks, a length
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a PanicException of `tokenizers` is no Exception
        kind = PLAIN_CLASS if (folder / "tokenizer.json").is_file() else "GPT2Tokenizer"
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigError(
            f"{origin}: transformers cannot load its tokenizer ({reason}); mend the tokenizer files in a copy, or set "
            f'"tokenizer_class": "{kind}" in tokenizer_config.json'
        ) from None
    special = {name: str(token) for name, token in found.special_tokens_map.items() if isinstance(token, str)}
    names = ("clean_up_tokenization_spaces", "split_special_tokens", "padding_side", "truncation_side")
    attributes = {name: getattr(found, name, None) for name in names}
    extra = [str(token) for token in found.extra_special_tokens]
    return Loaded(spec, special, extra, type(found).__name__, attributes)


def becomes_gpt2s(declared: str | None, kind: str) -> bool:
    """Whether AutoTokenizer makes a GPT2Tokenizer for this tokenizer_class beside a model of this model_type."""
    if kind == "gpt2" or declared not in GPT2_CLASSES:
        return declared in GPT2_CLASSES
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    registered = TOKENIZER_MAPPING_NAMES.get(kind)
    if declared is None or registered in PLAIN_CLASSES:
        return registered in GPT2_CLASSES[1:]
    return True


def keeps_plain_class(kind: str) -> bool:
    """Whether AutoTokenizer loads tokenizer.json as it stands beside a model of this model_type, when the files ask so.

    Beside some (qwen2) it builds a tokenizer of its own whatever tokenizer_config.json says. Found out by trying.
    """
    from tokenizers import Tokenizer, models
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": PLAIN_CLASS}))
        Tokenizer(models.Unigram([("a", 0.0)])).save(str(folder / "tokenizer.json"))
        try:
            found = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception:  # a class of its own that needs other files, or a package that is not here
            return False
        return json.loads(found.backend_tokenizer.to_str())["model"]["type"] == "Unigram"


def names_its_class(folder: Path) -> bool:
    """Whether AutoTokenizer knows what to make of a directory: of vocab.json and merges.txt alone it does not."""
    if any((folder / name).is_file() for name in ("config.json", "tokenizer.json")):
        return True
    config = folder / "tokenizer_config.json"
    return config.is_file() and "tokenizer_class" in read_json(config, str(config))


def parts_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a tokenizer's ids, offsets and decoding, by the field of tokenizer.json; equal where these are.

    Added tokens apart. Left out is what changes nothing: how merges are written, options for symbols without an id
    (every byte has one), options of ByteLevel that its place does not read.
    """
    from ivr.encoding.tokenizer_steps import normalizes

    model = spec["model"]
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model.get("merges", ())]
    pre_tokenizers = [
        {name: value for name, value in step.items() if not (step["type"] == "ByteLevel" and name == "trim_offsets")}
        for step in steps(spec.get("pre_tokenizer"), "pretokenizers")
    ]
    return {
        "model.vocab": model["vocab"],
        "model.merges": merges,
        "model.dropout": model.get("dropout") or None,
        "model.ignore_merges": bool(model.get("ignore_merges")),
        "model.continuing_subword_prefix": model.get("continuing_subword_prefix") or None,
        "model.end_of_word_suffix": model.get("end_of_word_suffix") or None,
        "normalizer": normalizes(dict(spec)) and spec["normalizer"],
        "pre_tokenizer": pre_tokenizers,
        "post_processor": [step for step in steps(spec.get("post_processor"), "processors") if processes(step)],
        "decoder": [_decoder(step) for step in steps(spec.get("decoder"), "decoders")],
    }


def processes(step: Mapping[str, Any]) -> bool:
    """Whether a step of a post-processor does anything: adds tokens, or trims offsets."""
    if step["type"] == "ByteLevel":
        return bool(step.get("trim_offsets", True))
    if step["type"] == "TemplateProcessing":
        plain = [[("A", 0)], [("A", 0), ("B", 1)]]
        return plain != [
            [
                (piece["Sequence"]["id"], piece["Sequence"]["type_id"]) if "Sequence" in piece else None
                for piece in step[name]
            ]
            for name in ("single", "pair")
        ]
    return True


def _decoder(step: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "ByteLevel"} if step["type"] == "ByteLevel" else step


def ids_of_processor(spec: Mapping[str, Any]) -> dict[str, int]:
    """token -> id of everything that the post-processor may add.

    >>> ids_of_processor({"post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}})
    {'</s>': 2, '<s>': 0}
    """
    found: dict[str, int] = {}
    for step in steps(spec.get("post_processor"), "processors"):
        if step["type"] == "TemplateProcessing":
            for entry in step["special_tokens"].values():
                found |= dict(zip(entry["tokens"], entry["ids"], strict=True))
        found |= dict(step[name] for name in ("sep", "cls") if name in step)
    return found


def differing_part(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The first field in which two tokenizers differ, added tokens apart; empty where none does."""
    first, second = parts_of(one), parts_of(other)
    return next((name for name in first if first[name] != second[name]), "")


def differing_token(file: Iterable[Mapping[str, Any]], auto: Iterable[Mapping[str, Any]]) -> str:
    """Of added tokens in the file and as transformers has them: the first that is not the same, in words; or ''.

    transformers may have more. `normalized` tells only which of two tokens that share characters is looked for first.
    """
    known = {entry["content"]: entry for entry in auto}
    contents = list(known)
    for entry in file:
        content = entry["content"]
        other = known.get(content)
        if other is None:
            return f"{content!r} (id {entry['id']}) is in tokenizer.json alone"
        for name in ("id", *FLAGS):
            if entry[name] != other[name]:
                return f"{content!r} has {name} = {entry[name]!r} in tokenizer.json, {other[name]!r} in transformers"
        if entry["normalized"] != other["normalized"] and any(
            overlap(content, another) for another in contents if another != content
        ):
            return f"{content!r} has normalized = {entry['normalized']!r} in tokenizer.json and not in transformers"
    return ""


def overlap(one: str, other: str) -> bool:
    """Whether two strings can share characters of a text.

    >>> overlap("<a>", ">b"), overlap("<a>", "<b>")
    (True, False)
    """
    if one in other or other in one:
        return True
    sizes = range(1, min(len(one), len(other)))
    return any(one[-size:] == other[:size] or other[-size:] == one[:size] for size in sizes)


def check_auto_tokenizer(folder: Path, origin: str) -> None:
    """AutoTokenizer must give what tokenizer.json gives, at the ids that the files state and the model has rows for.

    Raises ConfigError, naming the field or token, where it does not.
    """
    # as the library has it: files of elsewhere, GPT-2's own too, leave out what it takes for granted
    spec, auto = json.loads(load_tokenizer(folder / "tokenizer.json", origin).to_str()), load_auto(folder, origin)
    config, model_config = (
        read_json(folder / name, origin) if (folder / name).is_file() else {}
        for name in ("tokenizer_config.json", "config.json")
    )
    part, kind = differing_part(spec, auto.spec), model_config.get("model_type")
    if part and kind and config.get("tokenizer_class") in PLAIN_CLASSES and not keeps_plain_class(kind):
        LOG.warning(
            "%s: beside a %s AutoTokenizer loads %s whatever tokenizer_config.json says; load this tokenizer, and what "
            "is made of it, with %s", origin, kind, auto.kind, PLAIN_CLASS,
        )  # fmt: skip
        return
    if part:
        raise ConfigError(
            f"{origin}: {part} of its tokenizer.json is not what AutoTokenizer loads (as {auto.kind}, which builds its "
            f'own); set "tokenizer_class": "{PLAIN_CLASS}" in tokenizer_config.json if tokenizer.json is right, or '
            "make the two files agree"
        )
    if found := differing_token(spec.get("added_tokens") or (), auto.spec["added_tokens"]):
        raise ConfigError(
            f"{origin}: the added token {found}; make added_tokens of tokenizer.json and added_tokens_decoder of "
            "tokenizer_config.json agree"
        )
    for stated, entry in (config.get("added_tokens_decoder") or {}).items():
        given = auto.added.get(entry["content"], {"id": None})["id"]
        if str(given) != str(stated):
            raise ConfigError(
                f"{origin}: tokenizer_config.json gives {entry['content']!r} the id {stated}, AutoTokenizer {given}: "
                "ids of added tokens follow the vocabulary without gaps; correct added_tokens_decoder"
            )
    check_rows(spec, auto, model_config, origin)


def rows_of(model_config: Mapping[str, Any]) -> int | None:
    """The rows of the model's embedding matrix; None where no config.json says."""
    return layout_of(model_config, "config.json").rows if model_config else None


def check_rows(spec: Mapping[str, Any], auto: Loaded, model_config: Mapping[str, Any], origin: str) -> None:
    """Every id that some file can bring about needs a row of the model. Raises ConfigError, naming the token."""
    rows = rows_of(model_config)
    if rows is None:
        return
    names = {token: name for name, token in auto.special.items()}
    found = {content: (names.get(content, "an added token"), entry["id"]) for content, entry in auto.added.items()}
    found |= {token: ("what post_processor adds", token_id) for token, token_id in ids_of_processor(spec).items()}
    for token, (what, token_id) in found.items():
        if token_id >= rows:
            raise ConfigError(
                f"{origin}: {what} is {token!r} with the id {token_id}, the model only {rows} rows (vocab_size); name "
                "a token that the model has in tokenizer_config.json, or bring the tokenizer that belongs to the model"
            )
