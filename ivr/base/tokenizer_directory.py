"""The tokenizer files of a model directory, made into a tokenizer.json and a tokenizer_config.json that say everything.

What transformers reads besides (vocab.json and merges.txt, added_tokens.json, defaults of GPT2Tokenizer) is written
into these two, because the directories that later stages make have no others. AutoTokenizer must load the result as it
loaded what came; what would be lost or differ is refused here, before any work.
"""

import json
from pathlib import Path
from typing import Any

from ivr.base.auto_tokenizer import (
    DEFAULT_NAMES,
    GPT2_CLASSES,
    PLAIN_CLASS,
    Loaded,
    becomes_gpt2s,
    check_rows,
    differing_part,
    ids_of_processor,
    load_auto,
    processes,
    rows_of,
)
from ivr.base.tokenizer import (
    END_OF_TEXT,
    build_tokenizer,
    check_tokenizer_json,
    gpt2_config,
    read_json,
    read_vocab_and_merges,
)
from ivr.base.weights.layout import layout_of
from ivr.console import LOG
from ivr.corpus.document_end import KEY, end_of_text_id, end_token, put_in_front
from ivr.disk.writer import write_json, write_text
from ivr.encoding.text.tokenizer_file import load_tokenizer
from ivr.encoding.tokenizer_steps import steps
from ivr.errors import ConfigError, CorruptInputError

CONFIG, ADDED, SPECIAL = "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"
SAVED_WITH = ("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special")


def complete_tokenizer(folder: Path, origin: str, model_config: dict[str, Any]) -> None:
    """Complete and check the tokenizer files in `folder`, a copy; `model_config`: its config.json, or {}.

    Raises ConfigError, naming the token or field and the edit that mends it, for a tokenizer that cannot be distilled,
    CorruptInputError for a damaged one; both name `origin`, where the files came from.
    """
    given = {name: _read_object(folder / name, f"{origin}/{name}") for name in (CONFIG, ADDED, SPECIAL)}
    path, was_there = folder / "tokenizer.json", (folder / "tokenizer.json").is_file()
    if was_there:
        check_tokenizer_json(path, f"{origin}/tokenizer.json")
        spec = read_json(path, origin)
    else:
        spec = json.loads(build_tokenizer(*read_vocab_and_merges(folder, origin)).to_str())
    cut = {name: spec[name] for name in ("truncation", "padding") if spec.get(name)}
    # where more decides than tokenizer.json, or vocab.json and merges.txt, transformers is asked what comes of it
    more = bool(cut or given[ADDED] or (not was_there and any(given.values())))
    by_gpt2 = _is_gpt2s(given[CONFIG], was_there, model_config)
    invents = by_gpt2 and END_OF_TEXT not in _contents(spec)
    before = load_auto(folder, origin) if more or invents else None
    left_out = _invented(before, spec, given, model_config) if before and invents else ""
    if before is not None and not was_there:
        spec = _with_additions(spec, before, left_out, origin)
    if cut:
        _say_cut(cut, origin)
    if cut or not was_there:
        text = json.dumps({**spec, "truncation": None, "padding": None}, ensure_ascii=False)
        write_text(path, text)
        check_tokenizer_json(path, f"{origin}/tokenizer.json")
        write_text(path, load_tokenizer(path).to_str(pretty=True) + "\n")
    config = _config(given, spec, before, left_out, by_gpt2, model_config)
    if config != given[CONFIG]:
        write_json(folder / CONFIG, config)
    (folder / ADDED).unlink(missing_ok=True)  # all of it is in tokenizer_config.json now
    if before is not None:
        _check_stated(given, before, origin)
        after = load_auto(folder, origin)
        check_rows(spec, after, model_config, origin)
        _check_kept(before, after, left_out, origin)
    _name_document_end(folder, origin)


def _is_gpt2s(config: dict[str, Any], was_there: bool, model_config: dict[str, Any]) -> bool:
    """Whether AutoTokenizer takes GPT2Tokenizer; a tokenizer.json beside no config.json it takes as it stands."""
    kind = config.get("tokenizer_class")
    if not model_config:
        return kind in GPT2_CLASSES and (kind is not None or not was_there)
    return becomes_gpt2s(kind, str(model_config.get("model_type")))


def _contents(spec: dict[str, Any]) -> set[str]:
    """Every token of a tokenizer.json."""
    return set(spec["model"]["vocab"]) | {entry["content"] for entry in spec.get("added_tokens") or ()}


def _invented(before: Loaded, spec: dict[str, Any], given: dict[str, Any], model_config: dict[str, Any]) -> str:
    """<|endoftext|>, where GPT2Tokenizer adds it though no file names it and the model has no row for it."""
    rows, entry = rows_of(model_config), before.added.get(END_OF_TEXT)
    if entry is None or END_OF_TEXT in _strings(given) or (rows is not None and entry["id"] < rows):
        return ""
    LOG.warning(
        "transformers would add %s with the id %d: no file names it and the model has no row for it; left out",
        END_OF_TEXT, entry["id"],
    )  # fmt: skip
    return END_OF_TEXT


def _strings(value: Any) -> set[str]:
    """Every string in a JSON value, keys too."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return set(value) | {string for child in value.values() for string in _strings(child)}
    return {string for child in value for string in _strings(child)} if isinstance(value, list) else set()


def _with_additions(spec: dict[str, Any], auto: Loaded, left_out: str, origin: str) -> dict[str, Any]:
    """What is built from vocab.json and merges.txt, with what AutoTokenizer adds to it from the other files."""
    found = steps(auto.spec["pre_tokenizer"], "pretokenizers")
    if [step["type"] for step in found] != ["ByteLevel"]:
        raise ConfigError(
            f"{origin}: it has no tokenizer.json, and {CONFIG} asks for {auto.kind}, not GPT2Tokenizer; set "
            f'"tokenizer_class": "GPT2Tokenizer" there, or bring its tokenizer.json'
        )
    prefix = {"add_prefix_space": found[0]["add_prefix_space"]}
    spec = {**spec, "pre_tokenizer": {**spec["pre_tokenizer"], **prefix}}
    spec["added_tokens"] = [entry for entry in auto.spec["added_tokens"] if entry["content"] != left_out]
    if left_out and left_out in ids_of_processor(auto.spec):
        raise ConfigError(
            f"{origin}: {CONFIG} asks for a token around every text (add_bos_token, add_eos_token) and names none that "
            "the model has a row for; name bos_token and eos_token there"
        )
    if any(processes(step) for step in steps(auto.spec["post_processor"], "processors")):
        spec["post_processor"] = auto.spec["post_processor"]
    return spec


def _say_cut(cut: dict[str, Any], origin: str) -> None:
    if "truncation" in cut:
        LOG.warning(
            "%s/tokenizer.json cuts every text after %s tokens (truncation, which transformers saves after one call); "
            "taken out, texts are read whole", origin, cut["truncation"].get("max_length"),
        )  # fmt: skip
    if "padding" in cut:
        LOG.warning("%s/tokenizer.json fills every text up (padding, which transformers saves); taken out", origin)


def _config(
    given: dict[str, Any],
    spec: dict[str, Any],
    before: Loaded | None,
    left_out: str,
    by_gpt2: bool,
    model_config: dict[str, Any],
) -> dict[str, Any]:
    """tokenizer_config.json, in which nothing is left to a default of GPT2Tokenizer or to another file."""
    # transformers may add it, at a row that the model has
    has_end = END_OF_TEXT in _contents(spec) or (before is not None and END_OF_TEXT in before.added and not left_out)
    context = layout_of(model_config, "config.json").context if model_config else None
    config = dict(given[CONFIG])
    if by_gpt2:
        config = config or gpt2_config(context, has_end)
        config.setdefault("tokenizer_class", "GPT2Tokenizer")  # other directories have no config.json to say it
        # beside added_tokens_decoder transformers does not read the other file
        others = {} if "added_tokens_decoder" in config else given[SPECIAL]
        for name in DEFAULT_NAMES:
            if name not in config and name not in others:
                config[name] = END_OF_TEXT if has_end else None
    config = config or {"tokenizer_class": PLAIN_CLASS}
    if before is None:
        return config
    if padding := spec.get("padding"):  # AutoTokenizer takes these from it
        config.setdefault("pad_token", padding["pad_token"])
        config.setdefault("padding_side", str(padding["direction"]).lower())
    if given[ADDED]:  # of no use beside added_tokens_decoder, as special_tokens_map.json
        kept = [entry for content, entry in before.added.items() if content != left_out]
        config["added_tokens_decoder"] = {
            str(entry["id"]): {name: entry[name] for name in SAVED_WITH[1:]} for entry in kept
        }
        config |= {name: token for name, token in before.special.items() if token != left_out}
        config |= {"extra_special_tokens": before.extra} if before.extra else {}
    return config


def _check_kept(before: Loaded, after: Loaded, left_out: str, origin: str) -> None:
    """What AutoTokenizer loads of the completed files must be what it loaded of those that came."""
    part = differing_part(before.spec, after.spec)
    if not part:
        added = [
            {content: entry for content, entry in one.added.items() if content != left_out} for one in (before, after)
        ]
        part = next(
            (f"the added token {content!r}" for content in added[0] if added[0][content] != added[1].get(content)), ""
        )
        part = part or next((f"the added token {content!r}" for content in added[1] if content not in added[0]), "")
    if not part:
        special = {name: token for name, token in before.special.items() if token != left_out}
        names = {**special, **after.special}
        part = next((name for name in names if special.get(name) != after.special.get(name)), "")
    part = part or next((name for name, value in before.attributes.items() if value != after.attributes[name]), "")
    if part:
        raise ConfigError(
            f"{origin}: {part} cannot be carried over as transformers loads it; load the tokenizer with AutoTokenizer, "
            "save it with save_pretrained, and give that directory"
        )


def _check_stated(given: dict[str, Any], auto: Loaded, origin: str) -> None:
    for content, stated in given[ADDED].items():
        found = auto.added.get(content, {"id": None})["id"]
        if found != stated:
            raise ConfigError(
                f"{origin}/{ADDED} gives {content!r} the id {stated}, transformers gives it {found}: its ids follow "
                "the vocabulary without gaps; correct the id, or name the ids between"
            )


def _name_document_end(folder: Path, origin: str) -> None:
    """tokenizer_config.json must say what ends a text: other directories have no config.json beside it."""
    tokenizer = load_tokenizer(folder / "tokenizer.json", origin)
    if len(before := put_in_front(tokenizer)) > 1:
        raise ConfigError(
            f"{origin}: its tokenizer puts {len(before)} tokens in front of every text, and at most one is supported; "
            "choose another model, or take them out of post_processor in tokenizer.json"
        )
    try:
        end = tokenizer.id_to_token(end_of_text_id(tokenizer, folder))
    except CorruptInputError:
        named = end_token(folder)
        told = f"eos_token is {named!r}, which is not in tokenizer.json" if named else "no file names an eos_token"
        raise ConfigError(
            f"{origin}: {told}, so nothing separates documents; set eos_token in {CONFIG} to a token that "
            'tokenizer.json has and the model was trained with, such as "</s>"'
        ) from None
    if end_token(folder) != end:
        config = _read_object(folder / CONFIG, f"{origin}/{CONFIG}")
        write_json(folder / CONFIG, {**config, KEY: end})


def _read_object(path: Path, origin: str) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = read_json(path, origin)
    if not isinstance(content, dict):
        raise CorruptInputError(f"{origin} is no JSON object; fetch it again")
    return content
